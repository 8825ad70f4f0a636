"""What a model is: data, and the names of the functions that run it.

A `ModelSpec` states the facts of one family; `rs_embed.core.choice` turns the caller's choice (id,
variant, modality, options) into a `Model`, the concrete thing that every later step reads. What a
spec is made of stands in `model_facts`, the spec in `model_spec`; all of it is imported from here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from rs_embed.core.errors import ModelError
from rs_embed.core.model_facts import (
    FrozenMap,
    InputSpec,
    Option,
    Scalar,
    Variant,
    WeightRecord,
)
from rs_embed.core.model_spec import ROLES, Cadence, ModelSpec
from rs_embed.core.scalars import python_scalar

__all__ = [
    "ROLES",
    "Cadence",
    "FrozenMap",
    "InputSpec",
    "Model",
    "ModelChoice",
    "ModelSpec",
    "Option",
    "Scalar",
    "Variant",
    "WeightRecord",
]


@dataclass(frozen=True)
class ModelChoice:
    """Which model to run, and how.

    Parameters
    ----------
    id : str
        A model id or alias, or ``"id:variant"``. Case and surrounding space do not count.
    variant, modality : str or None
        None takes the family's default.
    options : mapping
        Declared options of the model, by name.
    weights : str or None
        A local file to load instead of the published one.
    backend : str or None
        Overrides the backend of the call.

    Raises
    ------
    ModelError
        Where options is no mapping, or ``id`` and ``variant`` name different variants.
    """

    id: str
    variant: str | None = None
    modality: str | None = None
    options: Mapping[str, Scalar] = field(default_factory=dict)
    weights: str | None = None
    backend: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.options, Mapping):
            raise ModelError(f"options is a mapping, such as {{'seed': 1}}, not {self.options!r}")
        object.__setattr__(
            self,
            "options",
            FrozenMap({name: python_scalar(value) for name, value in self.options.items()}),
        )
        self._tidy_names()
        if self.weights is not None:
            object.__setattr__(self, "weights", str(self.weights))

    def _tidy_names(self) -> None:
        """``ModelChoice("id:variant")`` and ``ModelChoice("id", "variant")`` are the same."""
        if not isinstance(self.id, str):
            return
        name, _, inside = (part.strip().lower() for part in self.id.partition(":"))
        given = str(self.variant or "").strip().lower()
        if inside and given and inside != given:
            raise ModelError(
                f"ModelChoice({self.id!r}, {self.variant!r}) names two variants; give one of them"
            )
        object.__setattr__(self, "id", name)
        object.__setattr__(self, "variant", given or inside or None)

    def __hash__(self) -> int:
        options = tuple(sorted(self.options.items()))
        return hash((self.id, self.variant, self.modality, options, self.weights, self.backend))


@dataclass(frozen=True, slots=True)
class Model:
    """A model as it will run: every default filled in, every option applied."""

    spec: ModelSpec
    variant: Variant
    modality: str
    inputs: tuple[InputSpec, ...]
    options: Mapping[str, Scalar]
    window_px: int
    token_px: int
    cadence: Cadence
    weights: str | None = None
    backend: str | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # A read-only view of the options cannot be pickled; what it shows can.
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        return _model, ({**own, "options": dict(self.options)},)

    def __hash__(self) -> int:
        return hash((self.spec.id, self.variant.name, self.modality, tuple(self.options.items())))

    @property
    def id(self) -> str:
        """Canonical id of the family."""
        return self.spec.id

    @property
    def dim(self) -> int:
        """Width of a token, the length of the feature axis."""
        wide = (dict(o.widens).get(self.options[o.name], 1) for o in self.spec.options if o.widens)
        return self.variant.dim * math.prod(wide)

    @property
    def scale_m(self) -> float:
        """Metres a pixel that the model sees: the option that sets it, else as it was trained."""
        setting = next((o.name for o in self.spec.options if o.sets == "scale_m"), None)
        given = self.options[setting] if setting else None
        return float(given or self.inputs[0].scale_m or self.spec.scale_m)

    @property
    def image_px(self) -> int:
        """Pixels a side that a whole image is resized to, the window being its middle."""
        if self.options.get("prepare", "native") == "native":
            return self.window_px
        return int(self.window_px / self.spec.official_crop)

    @property
    def bands(self) -> tuple[str, ...]:
        """Every band of every input, in order."""
        return tuple(band for item in self.inputs for band in item.bands)

    @property
    def units(self) -> tuple[str, ...]:
        """Units of each band of `bands`."""
        return tuple(item.units for item in self.inputs for _ in item.bands)

    @property
    def network_key(self) -> tuple[Any, ...]:
        """What tells one built network from another, device apart."""
        builds = tuple((o.name, self.options[o.name]) for o in self.spec.options if o.builds)
        modality = self.modality if self.spec.modality_builds else None
        return (self.spec.id, self.variant.name, modality, self.weights, builds)


def _model(own: dict[str, Any]) -> Model:
    """The model that was pickled."""
    return Model(**{**own, "options": MappingProxyType(own["options"])})
