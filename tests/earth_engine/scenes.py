"""Scenes as small frozen data: where, when, and how each band's pixels come about.

A band's values are an array, a file, or a `Pattern`: a function of native row and column that
is known by hand, so that a whole Sentinel-2 tile costs no memory. Patterns are data classes,
not lambdas, so that scenes can be pickled to the server's process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np


class Pattern(Protocol):
    """Values at native rows and columns, integer arrays that broadcast."""

    def __call__(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """The values."""


def _shape(rows: np.ndarray, cols: np.ndarray) -> tuple[int, ...]:
    return np.broadcast_shapes(rows.shape, cols.shape)


@dataclass(frozen=True, slots=True)
class Constant:
    """The same value everywhere."""

    value: float

    def __call__(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        return np.broadcast_to(np.float64(self.value), _shape(rows, cols))


@dataclass(frozen=True, slots=True)
class Ramp:
    """``base + per_row * row + per_col * col``, wrapped at `modulo` if given."""

    base: float = 0.0
    per_row: float = 0.0
    per_col: float = 1.0
    modulo: float | None = None

    def __call__(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        values = self.base + self.per_row * rows + self.per_col * cols
        return values if self.modulo is None else np.mod(values, self.modulo)


@dataclass(frozen=True, slots=True)
class Checkerboard:
    """`first` where the squares' coordinates add up to an even number, else `second`."""

    first: float
    second: float
    size: int = 1

    def __call__(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        return np.where((rows // self.size + cols // self.size) % 2 == 0, self.first, self.second)


@dataclass(frozen=True, slots=True)
class Stripes:
    """`on` in the first `width` columns (or rows) of every `period`, else `off`."""

    period: int = 4
    width: int = 1
    on: float = 0.0
    off: float = 1.0
    along_rows: bool = False

    def __call__(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        index = np.broadcast_to(rows if self.along_rows else cols, _shape(rows, cols))
        return np.where(index % self.period < self.width, self.on, self.off)


@dataclass(frozen=True, slots=True)
class Block:
    """`inside` for rows and columns in half-open ranges, else `outside`."""

    outside: float
    inside: float
    rows: tuple[int, int]
    cols: tuple[int, int]

    def __call__(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        hit = (rows >= self.rows[0]) & (rows < self.rows[1])
        hit = hit & (cols >= self.cols[0]) & (cols < self.cols[1])
        return np.where(hit, self.inside, self.outside)


@dataclass(frozen=True, slots=True)
class FileBand:
    """One band (counted from 1) of a raster file, read whole on first use."""

    path: str
    band: int

    def __call__(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        return _file_pixels(self.path, self.band)[rows, cols]


@lru_cache(maxsize=64)
def _file_pixels(path: str, band: int) -> np.ndarray:
    import rasterio

    with rasterio.open(path) as dataset:
        return dataset.read(band)


Values = Pattern | np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One band of a scene on its own lattice.

    Parameters
    ----------
    values, valid
        Arrays over the scene or patterns; `valid` is non-zero where there is data.
    pixel
        Pixel size in units of the scene's CRS, or (width, height).
    pyramid
        How coarser levels arise: "mean", "mode" or "sample" (upper left).
    """

    name: str
    values: Values
    dtype: str = "uint16"
    pixel: float | tuple[float, float] = 10.0
    valid: Values | None = None
    pyramid: str = "mean"

    @property
    def pixel_size(self) -> tuple[float, float]:
        """(width, height) of a pixel in CRS units, both positive."""
        return self.pixel if isinstance(self.pixel, tuple) else (self.pixel, self.pixel)


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """An image of a collection: `left`, `top` is its outer corner, sizes are in CRS units."""

    collection: str
    index: str
    start: str
    crs: str
    left: float
    top: float
    width: float
    height: float
    layers: tuple[Layer, ...]
    properties: Mapping[str, object] = field(default_factory=dict)
    end: str | None = None

    @property
    def id(self) -> str:
        """The asset id."""
        return f"{self.collection}/{self.index}" if self.collection else self.index

    def transform(self, layer: Layer) -> tuple[float, float, float, float, float, float]:
        """The affine transform of a layer, in Earth Engine's order."""
        dx, dy = layer.pixel_size
        return (dx, 0.0, self.left, 0.0, -dy, self.top)

    def shape(self, layer: Layer) -> tuple[int, int]:
        """(rows, columns) of a layer."""
        dx, dy = layer.pixel_size
        return round(self.height / dy), round(self.width / dx)


def array_scene(
    collection: str,
    index: str,
    start: str,
    bands: Mapping[str, np.ndarray],
    *,
    crs: str = "EPSG:32631",
    corner: tuple[float, float] = (500000.0, 4600000.0),
    pixel: float | tuple[float, float] = 10.0,
    valid: np.ndarray | None = None,
    pyramid: str = "mean",
    properties: Mapping[str, object] | None = None,
    end: str | None = None,
) -> Scene:
    """A scene from arrays of one shape, each keeping its dtype.

    Examples
    --------
    >>> scene = array_scene("MY/S2", "one", "2022-06-01", {"B4": np.ones((4, 8), "uint16")})
    >>> scene.width, scene.height
    (80.0, 40.0)
    """
    rows, cols = next(iter(bands.values())).shape
    dx, dy = pixel if isinstance(pixel, tuple) else (pixel, pixel)
    layers = tuple(
        Layer(name, data, str(data.dtype), (dx, dy), valid, pyramid) for name, data in bands.items()
    )
    left, top = corner
    return Scene(
        collection,
        index,
        start,
        crs,
        left,
        top,
        cols * dx,
        rows * dy,
        layers,
        properties or {},
        end,
    )


def tif_scene(
    collection: str,
    index: str,
    start: str,
    path: str | Path,
    *,
    names: Sequence[str] | None = None,
    properties: Mapping[str, object] | None = None,
    end: str | None = None,
) -> Scene:
    """A scene from a north-up GeoTIFF; band names default to the file's descriptions."""
    import rasterio

    with rasterio.open(path) as dataset:
        grid, shape, dtypes = dataset.transform, dataset.shape, dataset.dtypes
        names = names or [str(name) for name in dataset.descriptions]
        crs = dataset.crs.to_string()
    pixel = (grid.a, -grid.e)
    layers = tuple(
        Layer(name, FileBand(str(path), i + 1), dtypes[i], pixel) for i, name in enumerate(names)
    )
    width, height = shape[1] * pixel[0], shape[0] * pixel[1]
    return Scene(
        collection, index, start, crs, grid.c, grid.f, width, height, layers, properties or {}, end
    )
