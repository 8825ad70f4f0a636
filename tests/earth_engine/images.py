"""Images as functions of a target grid: nothing is computed outside the requested window.

A band is a name, a dtype, its own lattice and a function Target -> Pixels. Values and masks
travel side by side; a value under a false mask means nothing and is never looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from shapely.geometry.base import BaseGeometry

from .errors import ServiceError
from .geometry import DEFAULT_PROJECTION, Projection, transformer


class Pixels(NamedTuple):
    """Values `(h, w)` and where they are valid `(h, w)` bool."""

    values: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True, slots=True)
class Grid:
    """A pixel lattice with a size; `anchor` is where the true pixel size is measured.

    Strips of a grid keep its anchor, so that all read the same pyramid level.
    """

    projection: Projection
    width: int
    height: int
    anchor: tuple[float, float]

    @classmethod
    def of(cls, projection: Projection, width: int, height: int) -> Grid:
        """The grid anchored at its centre."""
        a, b, c, d, e, f = projection.transform
        i, j = width / 2, height / 2
        return cls(projection, width, height, (a * i + b * j + c, d * i + e * j + f))

    def window(self, row: int, col: int, height: int, width: int) -> Grid:
        """The part that starts at a row and column; it may reach outside."""
        a, b, c, d, e, f = self.projection.transform
        moved = (a, b, c + a * col + b * row, d, e, f + d * col + e * row)
        return Grid(Projection(self.projection.crs, moved), width, height, self.anchor)

    def strips(self, max_pixels: int) -> Iterator[tuple[int, Grid]]:
        """(first row, strip) over the whole grid, each of at most `max_pixels` or one row."""
        rows = max(1, max_pixels // self.width)
        for top in range(0, self.height, rows):
            yield top, self.window(top, 0, min(rows, self.height - top), self.width)


class Target:
    """A grid being computed, with what its bands share: coordinates and bands read before."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.shape = (grid.height, grid.width)
        self._bands: dict[Band, Pixels] = {}
        self._coordinates: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._nested: dict[Grid, Target] = {}
        self._steps: dict[str, float] = {}

    def read(self, band: Band) -> Pixels:
        """The band's pixels, computed once."""
        if band not in self._bands:
            self._bands[band] = band.pixels(self)
        return self._bands[band]

    def nested(self, grid: Grid) -> Target:
        """The target of another grid, shared by all bands that go through it."""
        return self._nested.setdefault(grid, Target(grid))

    def coordinates(self, crs: str) -> tuple[np.ndarray, np.ndarray]:
        """Pixel centres in `crs`: `(1, w)` and `(h, 1)` where separable, else both `(h, w)`."""
        if crs not in self._coordinates:
            own = self.grid.projection
            a, b, c, d, e, f = own.transform
            i = np.arange(self.grid.width)[None, :] + 0.5
            j = np.arange(self.grid.height)[:, None] + 0.5
            x, y = (a * i + c, e * j + f) if b == d == 0 else (a * i + b * j + c, d * i + e * j + f)
            if crs != own.crs:
                x, y = transformer(own.crs, crs).transform(*np.broadcast_arrays(x, y))
            self._coordinates[crs] = (x, y)
        return self._coordinates[crs]

    def pixel_size(self, crs: str) -> float:
        """The side, in units of `crs`, of a square as large as the pixel at the anchor."""
        if crs not in self._steps:
            own = self.grid.projection
            a, b, _, d, e, _ = own.transform
            x0, y0 = self.grid.anchor
            x, y = np.array([x0, x0 + a, x0 + b]), np.array([y0, y0 + d, y0 + e])
            if crs != own.crs:
                x, y = transformer(own.crs, crs).transform(x, y)
            area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
            self._steps[crs] = float(np.sqrt(abs(area))) if np.isfinite(area) else 0.0
        return self._steps[crs]

    def empty(self, dtype: str) -> Pixels:
        """Nothing but masked pixels."""
        return Pixels(np.zeros(self.shape, dtype), np.zeros(self.shape, bool))


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """One band: `size` is (columns, rows) of its own lattice where it has an end."""

    name: str
    dtype: str
    pixels: Callable[[Target], Pixels]
    projection: Projection = DEFAULT_PROJECTION
    size: tuple[int, int] | None = None
    pyramid: str = "mean"

    def named(self, name: str) -> Band:
        """The same pixels, read once for both, under another name."""
        if name == self.name:
            return self
        return replace(self, name=name, pixels=lambda target: target.read(self))

    def mapped(
        self, function: Callable[[Pixels, Target], Pixels], dtype: str | None = None
    ) -> Band:
        """The band computed pixel by pixel from this one."""
        return replace(
            self,
            dtype=dtype or self.dtype,
            pixels=lambda target: function(target.read(self), target),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """Bands with properties; no `footprint` means everywhere."""

    bands: tuple[Band, ...]
    properties: Mapping[str, object] = field(default_factory=dict)
    footprint: tuple[BaseGeometry, ...] | None = None
    id: str | None = None

    @property
    def names(self) -> list[str]:
        """Band names in order."""
        return [band.name for band in self.bands]

    def band(self, name: str) -> Band | None:
        """The band of that name."""
        return next((band for band in self.bands if band.name == name), None)

    def get(self, name: str) -> object:
        """A property, None when absent."""
        return self.id if name in ("system:id", "id") else self.properties.get(name)

    def each(self, function: Callable[[Pixels, Target], Pixels], dtype: str | None = None) -> Image:
        """The image with every band computed from itself; properties stay."""
        return replace(self, bands=tuple(band.mapped(function, dtype) for band in self.bands))


def constant_band(name: str, value: float | bool, dtype: str | None = None) -> Band:
    """A band of one value; integers get the smallest type that holds them."""
    if dtype is None:
        whole = isinstance(value, (bool, int))
        dtype = str(np.min_scalar_type(int(value))) if whole else "float64"

    def pixels(target: Target) -> Pixels:
        values = np.broadcast_to(np.asarray(value, dtype), target.shape)
        return Pixels(values, np.broadcast_to(np.True_, target.shape))

    return Band(name, dtype, pixels)


def constant(value: object) -> Image:
    """`ee.Image(number)` or one band per number of a list."""
    if isinstance(value, list):
        return Image(tuple(constant_band(f"constant_{i}", v) for i, v in enumerate(value)))
    if not isinstance(value, (bool, int, float)):
        raise ServiceError(f"Image.constant: Invalid type for value: {type(value).__name__}.")
    return Image((constant_band("constant", value),))


def select(image: Image, selectors: Sequence[object], names: Sequence[str] | None) -> Image:
    """Bands by name, regular expression or index, in the order of the selectors."""
    chosen: list[Band] = []
    for selector in selectors:
        chosen += _matching(image, selector)
    if names is not None:
        if len(names) != len(chosen):
            raise ServiceError(
                f"Image.select: Expected {len(chosen)} new names for the selected bands, "
                f"got {len(names)}."
            )
        chosen = [band.named(name) for band, name in zip(chosen, names, strict=True)]
    return replace(image, bands=tuple(unique_names(chosen)))


def _matching(image: Image, selector: object) -> list[Band]:
    if isinstance(selector, (int, float)):
        if not 0 <= int(selector) < len(image.bands):
            raise ServiceError(
                f"Image.select: Band index {int(selector)} is out of range: the image has "
                f"{len(image.bands)} bands."
            )
        return [image.bands[int(selector)]]
    if not image.bands:
        raise ServiceError(
            f"Image.select: Band pattern '{selector}' was applied to an Image with no bands. "
            "See https://developers.google.com/earth-engine/guides/debugging#no-bands"
        )
    exact = image.band(str(selector))
    found = [exact] if exact else [b for b in image.bands if re.fullmatch(str(selector), b.name)]
    if not found:
        raise ServiceError(
            f"Image.select: Band pattern '{selector}' did not match any bands. "
            f"Available bands: [{', '.join(image.names)}]"
        )
    return found


def unique_names(bands: Sequence[Band]) -> list[Band]:
    """The same bands, a repeated name getting _1, _2, … as the service does."""
    seen: set[str] = set()
    result = []
    for band in bands:
        name, number = band.name, 0
        while name in seen:
            number += 1
            name = f"{band.name}_{number}"
        seen.add(name)
        result.append(band.named(name))
    return result


def add_bands(
    image: Image, other: Image, names: Sequence[str] | None = None, overwrite: bool = False
) -> Image:
    """All bands of `image`, then those of `other`; properties and footprint are the first's."""
    added = list((select(other, names, None) if names is not None else other).bands)
    if overwrite:
        fresh = {band.name: band for band in added}
        kept = [fresh.pop(band.name, band) for band in image.bands]
        return replace(image, bands=(*kept, *fresh.values()))
    return replace(image, bands=tuple(unique_names([*image.bands, *added])))


def rename(image: Image, names: Sequence[str]) -> Image:
    """The bands under new names."""
    if len(names) != len(image.bands):
        raise ServiceError(
            f"Image.rename: The number of names ({len(names)}) must match the number of bands "
            f"({len(image.bands)})."
        )
    return replace(
        image, bands=tuple(b.named(name) for b, name in zip(image.bands, names, strict=True))
    )


def paired(name: str, first: Image, second: Image) -> list[tuple[Band, Band]]:
    """The band pairs of a binary operation: one against all, by name, else by position."""
    left, right = first.bands, second.bands
    if bool(left) != bool(right):
        raise ServiceError(
            f"{name}: If one image has no bands, the other must also have no bands. "
            f"Got {len(left)} and {len(right)}."
        )
    if len(right) == 1:
        return [(band, right[0]) for band in left]
    if len(left) == 1:
        return [(left[0], band) for band in right]
    if len(left) != len(right):
        raise ServiceError(
            f"{name}: Images must contain the same number of bands or one of them must have one. "
            f"Got {len(left)} and {len(right)}."
        )
    if set(first.names) == set(second.names):
        by_name = {band.name: band for band in right}
        return [(band, by_name[band.name]) for band in left]
    return list(zip(left, right, strict=True))


def binary(
    name: str,
    first: Image,
    second: Image,
    function: Callable[[np.ndarray, np.ndarray], np.ndarray],
    dtype: Callable[[str, str], str],
) -> Image:
    """A computed image; only system:index outlives arithmetic, and masks intersect."""

    def combined(left: Band, right: Band) -> Band:
        kind = dtype(left.dtype, right.dtype)

        def pixels(target: Target) -> Pixels:
            a, b = target.read(left), target.read(right)
            return finite(function(a.values, b.values), a.mask & b.mask, kind)

        lattice = left if left.projection != DEFAULT_PROJECTION else right
        longer = right if len(second.bands) > len(first.bands) else left
        return Band(longer.name, kind, pixels, lattice.projection, lattice.size, lattice.pyramid)

    bands = tuple(combined(left, right) for left, right in paired(name, first, second))
    index = first.properties.get("system:index")
    properties = {} if index is None else {"system:index": index}
    footprint = second.footprint if first.footprint is None else first.footprint
    return Image(bands, properties, footprint)


def finite(values: np.ndarray, mask: np.ndarray, dtype: str) -> Pixels:
    """Pixels in `dtype` with what is not a finite number masked."""
    if values.dtype.kind == "f":
        good = np.isfinite(values)
        if not good.all():
            values, mask = np.where(good, values, 0), mask & good
    return Pixels(values.astype(dtype, copy=False), mask)
