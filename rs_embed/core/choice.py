"""From the caller's choice of a model to the `Model` that every later step reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from returns.result import Failure, Success

from rs_embed.core.bands import parse_band_values
from rs_embed.core.errors import ModelError
from rs_embed.core.model import (
    Cadence,
    FrozenMap,
    InputSpec,
    Model,
    ModelChoice,
    ModelSpec,
    Option,
    Scalar,
    Variant,
)
from rs_embed.core.result import Outcome


def parse_choice(choice: str | ModelChoice) -> Outcome[ModelChoice]:
    """``"id"``, ``"id:variant"`` or a ModelChoice as a ModelChoice with a tidy id."""
    asked = choice.id if isinstance(choice, ModelChoice) else choice
    if not isinstance(asked, str) or not asked.strip():
        return Failure(
            ModelError(f"a model is an id, 'id:variant' or a ModelChoice, not {choice!r}")
        )
    return Success(choice if isinstance(choice, ModelChoice) else ModelChoice(choice))


def resolve(spec: ModelSpec, choice: ModelChoice) -> Outcome[Model]:
    """The model that a choice asks for. Fails with ModelError that lists what is allowed."""
    wanted = (choice.variant or spec.default_variant).lower()
    variant = next((v for v in spec.variants if v.name.lower() == wanted), None)
    if variant is None:
        return _unknown(spec, "variant", choice.variant, [v.name for v in spec.variants])
    modality = choice.modality or next(iter(spec.modalities))
    if modality not in spec.modalities:
        return _unknown(spec, "modality", choice.modality, list(spec.modalities))
    return _options(spec, choice.options).bind(
        lambda options: _sized(spec, variant, modality, options, choice)
    )


def _sized(
    spec: ModelSpec,
    variant: Variant,
    modality: str,
    options: Mapping[str, Scalar],
    choice: ModelChoice,
) -> Outcome[Model]:
    setting = {o.sets: o for o in spec.options if o.sets in ("window_px", "token_px", "frames")}

    def size(name: Literal["window_px", "token_px", "frames"], own: int | None, all_: int) -> int:
        """What the caller gave, else the variant's own, else the option's default, else all's."""
        option = setting.get(name)
        given = choice.options.get(option.name) if option else None
        return int(given or own or (option.default if option else None) or all_)

    token = size("token_px", variant.token_px, spec.token_px)
    window = size("window_px", variant.window_px, spec.window_px)
    frames = size("frames", None, spec.cadence.frames)
    sizes = {"token_px": token, "window_px": window, "frames": frames}
    # The description tells what was used, a variant's own size too.
    told = {option.name: sizes[name] for name, option in setting.items()}
    options = FrozenMap({**options, **told})
    if window % token or window < token:
        return Failure(
            ModelError(
                f"{spec.id}: window_px {window} must be a multiple of the {token} px that a "
                f"token covers; {max(token, window // token * token)} would do"
            )
        )
    cadence = Cadence(spec.cadence.kind, frames)
    return Success(
        Model(
            spec, variant, modality, _inputs(spec, modality, options), options,
            window, token, cadence, choice.weights, choice.backend,
        )
    )  # fmt: skip


def _inputs(spec: ModelSpec, modality: str, options: Mapping[str, Scalar]) -> tuple[InputSpec, ...]:
    """The inputs of the modality, with bands of the caller's own; then what options add, once."""
    items = spec.modalities[modality]
    naming = next((options[o.name] for o in spec.options if o.sets == "bands"), None)
    if naming is not None:
        own = tuple(parse_band_values(str(naming)).unwrap())
        items = (replace(items[0], bands=own, collection_bands=()), *items[1:])
    added = (item for option in spec.options if options[option.name] for item in option.adds)
    return tuple(dict.fromkeys((*items, *added)))


def _options(spec: ModelSpec, given: Mapping[str, Scalar]) -> Outcome[Mapping[str, Scalar]]:
    known = {option.name: option for option in spec.options}
    for name, value in given.items():
        if name not in known:
            listing = "; ".join(f"{o.name} ({o.meaning})" for o in spec.options) or "none"
            return Failure(ModelError(f"{spec.id} has no option {name!r}. Its options: {listing}"))
        problem = _option_problem(known[name], value)
        if problem:
            return Failure(ModelError(f"{spec.id}: option {problem}"))
    full = {name: given.get(name, option.default) for name, option in known.items()}
    return Success(FrozenMap(full))


def _option_problem(option: Option, value: Scalar) -> str | None:
    if value == option.default and type(value) is type(option.default):
        return None
    kinds = (int, float) if option.kind is float else (option.kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and option.kind is not bool):
        return f"{option.name} takes {option.kind.__name__}, not {value!r}: {option.meaning}"
    if option.sets == "bands" and isinstance(parsed := parse_band_values(str(value)), Failure):
        return f"{option.name}: {parsed.failure()}"
    if option.choices and value not in option.choices:
        return f"{option.name} must be one of {', '.join(map(repr, option.choices))}, not {value!r}"
    if isinstance(value, int | float) and not option.minimum <= value <= option.maximum:
        return f"{option.name} must be {option.minimum:g}..{option.maximum:g}, not {value!r}"
    return None


def _unknown(spec: ModelSpec, what: str, given: object, allowed: list[str]) -> Outcome[Model]:
    return Failure(
        ModelError(f"{spec.id} has no {what} {given!r}; choose from {', '.join(allowed)}")
    )
