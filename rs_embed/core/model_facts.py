"""The facts that a model's spec is made of: weights, inputs, options, variants."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

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
