"""Networks in memory: loaded once, kept, and run on a batch."""

from __future__ import annotations

import importlib
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from returns.result import Failure, Success

from rs_embed.core import registry
from rs_embed.core.errors import ModelError, RsEmbedError
from rs_embed.core.extras import EXTRAS, import_problem, missing_text
from rs_embed.core.model import ROLES, Model, ModelSpec, WeightRecord
from rs_embed.core.patch import Interval
from rs_embed.core.prepare import Windows
from rs_embed.core.result import Outcome, caused
from rs_embed.core.tokens import Tokens
from rs_embed.embedders import store
from rs_embed.embedders.guarded import guarded
from rs_embed.embedders.keys import Keys
from rs_embed.embedders.precision import full_precision


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A network ready to run, and where its numbers came from."""

    model: Model
    network: Any
    device: str
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def prepare(self, windows: Windows) -> dict[str, np.ndarray]:
        """What the network takes for a batch of windows."""
        return prepare(self.model, windows)

    def encode(self, arrays: Mapping[str, np.ndarray]) -> Tokens:
        """The tokens of what `prepare` gave, without gradients."""
        return encode(self, arrays)


_CACHE: dict[tuple[Any, ...], LoadedModel] = {}
_LOCKS: dict[tuple[Any, ...], threading.Lock] = {}
_GUARD = threading.Lock()


def load(model: Model, device: str = "auto") -> Outcome[LoadedModel]:
    """The network of a model on a device, from memory where it is there already.

    Threads that ask for one network at once share one load. Fails with ModelError for a device
    that is not there, a missing extra, or weights that cannot be had.
    """
    return (
        _device(model, device)
        .bind(lambda place: _cached(model, place))
        .map(lambda found: replace(found, model=model))
    )


def unload_models() -> None:
    """Let go of every network in memory."""
    with _GUARD:
        for loaded in _CACHE.values():
            registry.note_unloaded(loaded.model.id)
        _CACHE.clear()
        _LOCKS.clear()


def check_dates(model: Model, intervals: Sequence[Interval]) -> Outcome[None]:
    """Failure(ModelError) where the family refuses the model's options with these dates."""
    return _functions(model.spec).bind(lambda _: _checked(model, tuple(intervals)))


def _checked(model: Model, intervals: tuple[Interval, ...]) -> Outcome[None]:
    check = function(model.spec, "check")
    if check is None:
        return Success(None)
    return guarded(model, "check", lambda: check(model, intervals)).map(lambda _: None)


def prepare(model: Model, windows: Windows) -> dict[str, np.ndarray]:
    """What the network takes for a batch of windows: the family's own pure ``prepare``."""
    arrays: dict[str, np.ndarray] = _needed(model.spec, "prepare")(windows, model)
    return arrays


def encode(
    loaded: LoadedModel, arrays: Mapping[str, np.ndarray], model: Model | None = None
) -> Tokens:
    """The tokens of a batch: the family's ``encode`` or ``forward``, without gradients."""
    chosen = model or loaded.model
    own = function(chosen.spec, "encode")
    if own is not None and not chosen.spec.device:
        tokens: Tokens = own(loaded.network, arrays, chosen)
        return tokens
    import torch

    with torch.inference_mode(), full_precision():
        if own is not None:
            tokens = own(loaded.network, arrays, chosen)
            return tokens
        from rs_embed.embedders.blocks import as_array

        found = forward(chosen.spec, loaded.network, arrays)
        image = found.get("image")
        return Tokens(as_array(found["grid"]), None if image is None else as_array(image))


def forward(spec: ModelSpec, network: Any, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The family's ``forward`` on arrays, as tensors of the network's own device and dtype."""
    from rs_embed.embedders.blocks import as_tensor

    tensors = {name: as_tensor(network, array) for name, array in arrays.items()}
    found: dict[str, Any] = _needed(spec, "forward")(network, **tensors)
    return found


def function(spec: ModelSpec, role: str) -> Callable[..., Any] | None:
    """A function of a family, named in full or found in its module; None where it has none."""
    named = getattr(spec, role)
    if named is not None:
        return attribute(named)
    if spec.module is None:
        return None
    found: Callable[..., Any] | None = getattr(importlib.import_module(spec.module), role, None)
    return found


def keys(model: Model) -> Keys:
    """The family's table of published keys; one that changes nothing where it has none.

    ``KEYS``, or ``keys(model)`` where variants are networks of several kinds.
    """
    spec = model.spec
    module = importlib.import_module(spec.module) if spec.module else None
    choose = getattr(module, "keys", None)
    found: Keys | None = choose(model) if choose else getattr(module, "KEYS", None)
    return found or Keys()


def own_state(model: Model, state: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors of a published file under the network's own keys.

    Raises
    ------
    RsEmbedError
        What the family's ``checkpoint_filter`` refuses.
    """
    loaded = keys(model).load(state)
    clean = function(model.spec, "checkpoint_filter")
    return loaded if clean is None else dict(clean(loaded, model))


def attribute(name: str) -> Callable[..., Any]:
    """The function that ``"package.module:function"`` names."""
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def _needed(spec: ModelSpec, role: str) -> Callable[..., Any]:
    found = function(spec, role)
    if found is None:
        raise ModelError(f"{spec.id} has no function {role}; its module has to define one")
    return found


def _cached(model: Model, device: str) -> Outcome[LoadedModel]:
    key = (*model.network_key, _stamp(model.weights), device)
    with _GUARD:
        found = _CACHE.get(key)
        lock = _LOCKS.setdefault(key, threading.Lock())
    if found is not None:
        return Success(found)
    with lock:
        with _GUARD:
            found = _CACHE.get(key)
        if found is not None:
            return Success(found)
        outcome = _build(model, device)
        if isinstance(outcome, Success):
            with _GUARD:
                _let_go_of_earlier(key)
                _CACHE[key] = outcome.unwrap()
            registry.note_loaded(model.id)
        return outcome


def _let_go_of_earlier(key: tuple[Any, ...]) -> None:
    """Drop the networks of a local file as it was before it changed; `_GUARD` is held."""
    stale = [old for old in _CACHE if old != key and old[:-2] + old[-1:] == key[:-2] + key[-1:]]
    for old in stale:
        _CACHE.pop(old)
        _LOCKS.pop(old, None)


def _stamp(weights: str | None) -> tuple[int, ...] | None:
    """Tells a local file from another that took its place."""
    path = None if weights is None else Path(weights).expanduser()
    if path is None or not path.is_file():
        return None
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _build(model: Model, device: str) -> Outcome[LoadedModel]:
    return _functions(model.spec).bind(lambda _: _built(model, device))


def _functions(spec: ModelSpec) -> Outcome[None]:
    """Failure(ModelError) where a function that the spec names is not there."""
    for role in ROLES:
        name = getattr(spec, role) or f"{spec.module}:{role}"
        try:
            found = function(spec, role)
            other = role == "forward" and function(spec, "encode") is not None
        except (ImportError, AttributeError) as error:
            needed = import_problem(spec.id, error) if isinstance(error, ImportError) else None
            text = needed or f"{spec.id} names the function {name!r}, which cannot be had: {error}"
            return Failure(caused(ModelError(text), by=error))
        if found is None and role in ("prepare", "forward") and not other:
            text = f"{spec.id} needs a function {role}, and {spec.module} has none of that name"
            return Failure(ModelError(text))
    return Success(None)


def _built(model: Model, device: str) -> Outcome[LoadedModel]:
    spec = model.spec
    build = function(spec, "build")
    if build is None:
        return Success(LoadedModel(model, None, device, _local(model)))
    if not spec.device:
        return guarded(model, "build", lambda: build(model)).map(
            lambda network: LoadedModel(model, network, device, _local(model))
        )
    if model.variant.weights is None and model.weights is None:
        return guarded(model, "build", lambda: build(model)).map(
            lambda network: LoadedModel(
                model, network.eval().to(device), device, {"weights": "none"}
            )
        )
    return _filled(model, build, device)


def _filled(model: Model, build: Callable[[Model], Any], device: str) -> Outcome[LoadedModel]:
    """The network built without storage and given the tensors of its weights file."""
    from rs_embed.embedders import weights

    record = model.variant.weights or WeightRecord("")
    spec = model.spec
    if model.weights is None:
        store.note_licence(record)

    def loaded(path: Path) -> Outcome[LoadedModel]:
        described = store.provenance(record, path) if model.weights is None else _local(model)
        return (
            weights.read_state(path, mapped=model.weights is None)
            .bind(
                lambda state: (
                    guarded(model, "checkpoint_filter", lambda: own_state(model, state))
                    .bind(lambda own: _network(model, build, own))
                    .alt(lambda error: _misfit(model, record, state, error))
                )
            )
            .map(
                lambda network: LoadedModel(
                    model, network.requires_grad_(False).to(device), device, described
                )
            )
        )

    name = f"{spec.id}:{model.variant.name}"
    return store.locate(record, local=model.weights, model=name).bind(loaded)


def _network(model: Model, build: Callable[[Model], Any], state: Any) -> Outcome[Any]:
    """The network that ``build`` makes without storage, with the tensors of ``state``."""
    from rs_embed.embedders import weights

    return guarded(model, "build", lambda: weights.build_on_meta(lambda: build(model))).bind(
        lambda network: weights.fill(
            network,
            state,
            allowed_key_mismatches=model.spec.allowed_key_mismatches,
            names=keys(model).published_names,
        )
    )


def _misfit(
    model: Model, record: WeightRecord, state: Mapping[str, Any], error: RsEmbedError
) -> RsEmbedError:
    """The error with the model's name, what the file holds and what was published."""
    found = sorted(state)
    rest = f" and {len(found) - 4} more" if len(found) > 4 else ""
    published = record.url or f"{record.repo}/{record.filename}"
    text = (
        f"{model.id}:{model.variant.name}: {error}. The file has the keys "
        f"{', '.join(found[:4])}{rest}; it must have those of {published}"
    )
    return caused(ModelError(text), by=error)


def _local(model: Model) -> dict[str, Any]:
    """A user's path stays out of the description; that there was one is said."""
    return {"weights": "none" if model.weights is None else "local file"}


def _device(model: Model, device: str) -> Outcome[str]:
    if not isinstance(device, str) or not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        return Failure(ModelError(f"device must be 'auto', 'cpu' or 'cuda', not {device!r}"))
    if not model.spec.device:
        if device.startswith("cuda"):
            return Failure(
                ModelError(f"{model.id} runs on the CPU alone; use device='cpu' or 'auto'")
            )
        return Success("cpu")
    # Before any weights are fetched; what another's family needs beside torch is not known.
    ours = str(model.spec.module or model.spec.encode).startswith("rs_embed.")
    missing = store.missing_packages(*(EXTRAS["torch"] if ours else ("torch",)))
    if missing:
        return Failure(ModelError(missing_text(model.id, "torch", *missing)))
    import torch

    if device == "auto":
        return Success("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        return Failure(
            ModelError(
                f"device {device!r} was asked for, but torch {torch.__version__} sees no CUDA "
                "device; use device='cpu' or 'auto'"
            )
        )
    return Success(device)
