"""What a model is: data, and the names of the functions that run it.

A `ModelSpec` states the facts of one family; `rs_embed.core.choice` turns the caller's choice (id,
variant, modality, options) into a `Model`, the concrete thing that every later step reads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Generic, Literal, TypeVar

from rs_embed.core.errors import ModelError
from rs_embed.core.scalars import python_scalar

Scalar = str | int | float | bool | None
Value = TypeVar("Value")


class FrozenMap(Mapping[str, Value], Generic[Value]):
    """A mapping that cannot be changed and, unlike a mapping proxy, can be copied and pickled."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, Value]) -> None:
        self._items = dict(items)

    def __getitem__(self, key: str) -> Value:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return repr(self._items)

    def __hash__(self) -> int:
        return hash(tuple(sorted(self._items.items(), key=lambda item: item[0])))


@dataclass(frozen=True, slots=True)
class WeightRecord:
    """Where one file of published weights lies, and how to know it.

    Parameters
    ----------
    filename : str
        Path inside the hub repository, or the name to keep a downloaded URL under.
    repo, revision : str or None
        Hub repository and the commit that fixes the file; a revision of None is unpinned.
    url : str or None
        For files outside the hub.
    size : int or None
        Exact bytes.
    sha256 : str or None
        Of the whole file; None where no source states it.
    licence : str
        As the publisher states it.
    restricted : bool
        True where the licence limits use or is not stated: said once on first use.
    approx_size : int or None
        Bytes, where only a rounded size is known; used to ask before large downloads.
    source : str
        Where these facts were read.
    md5 : str or None
        Of the whole file, where its publisher states that and no SHA-256, as Zenodo does.
    """

    filename: str
    repo: str | None = None
    revision: str | None = None
    url: str | None = None
    size: int | None = None
    sha256: str | None = None
    licence: str = "not stated"
    restricted: bool = False
    approx_size: int | None = None
    source: str = ""
    md5: str | None = None

    @property
    def hashed(self) -> bool:
        """Whether a hash of the bytes is known."""
        return self.sha256 is not None or self.md5 is not None

    @property
    def pinned(self) -> bool:
        """Whether a revision or a hash fixes the bytes."""
        return self.revision is not None or self.hashed


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One kind of imagery that a model takes.

    Parameters
    ----------
    name : str
        Short name, such as "s2".
    bands : tuple of str
        In the model's order; any alias of `rs_embed.core.bands`.
    units : str
        Units that ``prepare`` expects; see `rs_embed.core.units`.
    collection : str or None
        Earth Engine collection of the default path; None where there is none.
    collection_bands : tuple of str
        The names there, same order; empty means ``bands``.
    cloudy_pct : int
        Default cloud filter, per cent.
    static : bool
        True for layers without time, such as elevation.
    optional : bool
        True where the model runs without it.
    scale_m : float or None
        Metres a pixel that the model sees of it; None where that is the family's.
    """

    name: str
    bands: tuple[str, ...]
    units: str
    collection: str | None = None
    collection_bands: tuple[str, ...] = ()
    cloudy_pct: int = 30
    static: bool = False
    optional: bool = False
    scale_m: float | None = None


@dataclass(frozen=True, slots=True)
class Option:
    """A declared option of a model.

    Parameters
    ----------
    name : str
    kind : type
        int, float, bool or str.
    default : Scalar
    meaning : str
        One sentence for people.
    choices : tuple
        Allowed values; empty means any of the kind.
    least, most : float
        Inclusive bounds of a number.
    sets : str or None
        The field of `Model` that the value replaces: "window_px", "token_px", "frames" or
        "scale_m"; "bands": a text such as "nir=0.842, red=0.665", whose names are then the bands
        of the modality's first input.
    builds : bool
        True if it changes the network itself, so that another one has to be built.
    adds : tuple of InputSpec
        Inputs that a true value puts beside those of the modality.
    widens : tuple of (Scalar, int)
        (value, how many times the variant's features a token then has).
    """

    name: str
    kind: type
    default: Scalar
    meaning: str
    choices: tuple[Scalar, ...] = ()
    minimum: float = -math.inf
    maximum: float = math.inf
    sets: Literal["window_px", "token_px", "frames", "scale_m", "bands"] | None = None
    builds: bool = False
    adds: tuple[InputSpec, ...] = ()
    widens: tuple[tuple[Scalar, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Variant:
    """One size of a model; fields left None are the family's.

    ``config`` holds what ``build`` needs: widths, depths, heads. ``image_vector`` is False where
    the authors define no vector of an image for this one, though they do for others.
    """

    name: str
    dim: int
    config: Mapping[str, Any] = field(default_factory=dict)
    weights: WeightRecord | None = None
    window_px: int | None = None
    token_px: int | None = None
    params_m: float | None = None
    image_vector: bool = True

    def __hash__(self) -> int:
        return hash((self.name, self.dim, self.weights))


@dataclass(frozen=True, slots=True)
class Cadence:
    """How a model sees time.

    Parameters
    ----------
    kind : {"single", "months", "equal", "none"}
        "single": one composite of the window. "months": one per calendar month. "equal":
        ``frames`` bins of equal length. "none": no time at all.
    frames : int
        Number of bins for "equal"; most bins allowed for "months".
    """

    kind: Literal["single", "months", "equal", "none"] = "single"
    frames: int = 1


ROLES = ("prepare", "build", "encode", "forward", "checkpoint_filter", "check")
"""What the functions of a family are called."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The facts of one model family, and the names of its functions.

    Parameters
    ----------
    id : str
        Canonical id.
    title, summary : str
        For people.
    modalities : mapping of str to tuple of InputSpec
        What each choice of ``modality`` needs; the first is the default.
    variants : tuple of Variant
        The first is not special; ``default_variant`` names the default.
    scale_m : float
        Ground sampling distance that the model was trained at, metres.
    window_px, token_px : int
        Pixels a side of the square the model sees, and of the cell that one token covers.
    module : str or None
        Where the functions below are found by their names, ``module=__name__`` in the family's
        file; so is ``KEYS``, the table of published keys (`rs_embed.embedders.keys`), or
        ``keys(model)`` where variants are networks of several kinds. A function can also be named
        in full, as ``"package.module:function"``, which counts first.
    prepare : str or None
        ``prepare(windows, model) -> {name: array}``, pure numpy.
    build : str or None
        ``build(model) -> network``. A torch network is built on the meta device and then filled
        from the weights; where the variant has no weights, the result is used as it is.
    forward : str or None
        ``forward(network, **tensors) -> {"grid": (B, h, w, D), "image": (B, D')}`` of what
        `prepare` gave as tensors; without "image" where the authors define no such vector.
    encode : str or None
        ``encode(network, arrays, model) -> Tokens``, for models that do not run on torch.
    checkpoint_filter : str or None
        ``(state, model) -> state``: published keys to the network's own, where ``KEYS`` is not
        enough; it gets what ``KEYS`` made.
    check : str or None
        ``(model, frames) -> None``: raises ModelError where the options and the dates of the
        pixels (none, where they have no time) do not go together. Asked before any fetch.
    allowed_key_mismatches : tuple of (str, str)
        (pattern of a key that may be missing or left over, reason).
    cadence : Cadence
    pad : {"mirror", "reflect"}
        How an array smaller than a window is filled, right and bottom.
    device : bool
        True where the network runs on torch.
    image_vector : str or None
        What ``pooling="model"`` gives; None where the authors define no image-level vector.
    official_crop : float
        Share of an image's side that the authors' evaluation keeps when it crops the middle of
        what it has resized; for models with an option ``prepare``.
    modality_builds : bool
        True where the network depends on the modality, so that another one has to be built.
    masks_missing : bool
        True where the authors' own code leaves a band out that is missing everywhere.
    own_rules : tuple of str
        What the authors leave open and this project decided; ``meta`` says it.
    aliases, licence, citation, links : see names
    """

    id: str
    title: str
    summary: str
    modalities: Mapping[str, tuple[InputSpec, ...]]
    variants: tuple[Variant, ...]
    default_variant: str
    scale_m: float
    window_px: int
    token_px: int
    module: str | None = None
    prepare: str | None = None
    build: str | None = None
    forward: str | None = None
    encode: str | None = None
    checkpoint_filter: str | None = None
    check: str | None = None
    allowed_key_mismatches: tuple[tuple[str, str], ...] = ()
    cadence: Cadence = Cadence()
    options: tuple[Option, ...] = ()
    pad: Literal["mirror", "reflect"] = "mirror"
    device: bool = True
    image_vector: str | None = None
    shows_windows: bool = False
    official_crop: float = 1.0
    modality_builds: bool = False
    masks_missing: bool = False
    assumptions: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    licence: str = "not stated"
    citation: str = ""
    links: tuple[str, ...] = ()

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def functions(self) -> tuple[str, ...]:
        """The functions that are named in full."""
        return tuple(name for role in ROLES if (name := getattr(self, role)) is not None)


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
