"""The models there are: data only, so that looking a model up loads no torch."""

from __future__ import annotations

import difflib
import importlib
import re
import threading
from collections.abc import Iterator, Mapping

from returns.result import Failure, Success

from rs_embed.core.choice import parse_choice, resolve
from rs_embed.core.errors import ModelError
from rs_embed.core.model import Model, ModelChoice, ModelSpec
from rs_embed.core.result import Outcome
from rs_embed.embedders import families
from rs_embed.plugins.entry_points import load_entry_points
from rs_embed.plugins.notices import warn_once

ENTRY_POINTS = "rs_embed.models"


def specs_of(family: str) -> tuple[ModelSpec, ...]:
    """The models of a family's file: ``SPECS``, or its one ``SPEC``."""
    module = importlib.import_module(f"{families.__name__}.{family}")
    specs: tuple[ModelSpec, ...] = getattr(module, "SPECS", None) or (module.SPEC,)
    return specs


_BUILT_IN = tuple(spec for family in families.FAMILIES for spec in specs_of(family))
_REGISTERED: dict[str, ModelSpec] = {spec.id: spec for spec in _BUILT_IN}
_PLUGGED = False
_PLUGGING = threading.RLock()


class _Catalog(Mapping[str, ModelSpec]):
    """A read-only view of every model: built in, registered, and of installed packages."""

    def __getitem__(self, key: str) -> ModelSpec:
        _load_plugged()
        return _REGISTERED[key]

    def __iter__(self) -> Iterator[str]:
        _load_plugged()
        return iter(sorted(_REGISTERED))

    def __len__(self) -> int:
        _load_plugged()
        return len(_REGISTERED)

    def __repr__(self) -> str:
        return f"MODEL_SPECS({', '.join(self)})"


MODEL_SPECS: Mapping[str, ModelSpec] = _Catalog()


def add_model(spec: ModelSpec) -> Outcome[ModelSpec]:
    """Put a model in the catalogue. Fails with ModelError where its id or an alias is taken."""
    if not isinstance(spec, ModelSpec):
        return Failure(ModelError(f"register_model takes a ModelSpec, not {type(spec).__name__}"))
    known = _REGISTERED.get(spec.id)
    if known is spec or known == spec:
        return Success(spec)
    taken = {name for other in _REGISTERED.values() for name in (other.id, *other.aliases)}
    clash = taken & {spec.id, *spec.aliases}
    if clash:
        return Failure(
            ModelError(f"the model id {sorted(clash)[0]!r} is taken; choose another id or alias")
        )
    problem = _problem(spec)
    if problem:
        return Failure(ModelError(f"{spec.id!r} cannot be a model: {problem}"))
    _REGISTERED[spec.id] = spec
    return Success(spec)


def _problem(spec: ModelSpec) -> str | None:
    """What a spec contradicts itself in."""
    for name in (spec.id, *spec.aliases):
        if not name or name != name.strip().lower() or ":" in name:
            return f"ids and aliases are lower case, without ':', not {name!r}"
    if spec.default_variant not in {variant.name for variant in spec.variants}:
        return f"default_variant {spec.default_variant!r} is none of its variants"
    if not spec.modalities or not all(spec.modalities.values()):
        return "it has no modalities, or one without inputs"
    if any(variant.dim < 1 for variant in spec.variants):
        return "a variant has no features (dim)"
    if spec.token_px < 1 or spec.window_px < 1 or spec.window_px % spec.token_px:
        return f"window_px {spec.window_px} is no multiple of token_px {spec.token_px}"
    if spec.module is None and (spec.prepare is None or not (spec.encode or spec.forward)):
        return "it names neither module= nor its functions prepare and encode (or forward) in full"
    for name in spec.functions:
        if not re.fullmatch(r"\w+(\.\w+)*:\w+", name):
            return f"{name!r} does not name a function as 'package.module:function'"
    return None


def find_model(choice: str | ModelChoice) -> Outcome[Model]:
    """The model that a choice means. Fails with ModelError that names the nearest ids."""
    return parse_choice(choice).bind(
        lambda parsed: find_spec(parsed.id).bind(lambda spec: resolve(spec, parsed))
    )


def find_spec(name: str) -> Outcome[ModelSpec]:
    """The spec of an id or alias, case and surrounding space ignored."""
    key = name.strip().lower()
    found = _by_name(key)
    if found is None:
        _load_plugged()
        found = _by_name(key)
    if found is not None:
        return Success(found)
    names = [n for spec in _REGISTERED.values() for n in (spec.id, *spec.aliases)]
    near = difflib.get_close_matches(key, names, n=3, cutoff=0.0)
    return Failure(
        ModelError(
            f"there is no model {name!r}; the nearest are {', '.join(near)}. "
            "All: rs_embed.embedders.catalog.MODEL_SPECS"
        )
    )


def _by_name(key: str) -> ModelSpec | None:
    if key in _REGISTERED:
        return _REGISTERED[key]
    return next((spec for spec in _REGISTERED.values() if key in spec.aliases), None)


def _load_plugged() -> None:
    """Take in the models that installed packages offer, once; one that fails is told."""
    global _PLUGGED
    with _PLUGGING:
        if _PLUGGED:
            return
        _PLUGGED = True
        for name, problem in load_entry_points(
            ENTRY_POINTS, "model", ModelError, lambda _, found: add_model(found)
        ):
            warn_once((ENTRY_POINTS, name), problem)
