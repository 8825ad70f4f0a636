"""The pixels of an xarray object, loaded part by part."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr

from rs_embed.core.result import Outcome, collect
from rs_embed.raster.dims import DimRoles
from rs_embed.raster.scaling import Scaling, find_scaling

# Bytes of chunks kept, so that windows that share a chunk compute it once. A row of chunks is
# kept whole up to _MAX_KEPT, since windows are read row by row.
_KEPT = 64 * 2**20
_MAX_KEPT = 512 * 2**20
# Chunks smaller than this, pixels a side, are computed several at a time.
_MIN_BLOCK = 256
# A number beyond this is a fill or a fault: no quantity that is measured is as large.
BEYOND = 1e30


Chunks = tuple[tuple[int, ...], tuple[int, ...]]
"""Sizes of chunks along rows and along columns."""


@dataclass(frozen=True)
class PixelVariable:
    """One variable: its values, ordered (time, band, rows, columns), and how to read them."""

    variable: xr.Variable
    time: str | None
    band: str | None
    scaling: Scaling

    @property
    def count(self) -> int:
        """Bands in it."""
        return int(self.variable.sizes[self.band]) if self.band is not None else 1


def find_planes(
    layout: DimRoles, units: Sequence[str], by_date: Sequence[Sequence[str]]
) -> Outcome[tuple[PixelVariable, ...]]:
    """The variables of a layout as planes, their values in ``units``, one for each band.

    ``by_date`` holds the units that the numbers of each band have on each date.
    """
    planes, first = [], 0
    for array in layout.arrays:
        last = first + (array.sizes[layout.band] if layout.band is not None else 1)
        planes.append(_plane(layout, array, units[first:last], by_date[first:last]))
        first = last
    return collect(planes)


def _plane(
    layout: DimRoles, array: xr.DataArray, units: Sequence[str], by_date: Sequence[Sequence[str]]
) -> Outcome[PixelVariable]:
    time = layout.time if layout.time in array.dims else None
    band = layout.band if layout.band in array.dims else None
    order = [dim for dim in (time, band, layout.y, layout.x) if dim is not None]
    variable = array.variable.transpose(*order)
    return find_scaling(layout, array, units, by_date).map(
        lambda scaling: PixelVariable(variable, time, band, scaling)
    )


@dataclass(frozen=True, eq=False)
class Loader:
    """``loader(row, column, height, width)``: ``(T, C, height, width)`` float32, NaN for missing.

    Rows are counted from the north. ``steps`` and ``bands`` choose and order what is loaded; None
    is all. The chunks of dask or of a file are computed or decoded for the part that is asked for,
    and the last ones are kept.
    """

    planes: tuple[PixelVariable, ...]
    layout: DimRoles
    south_up: bool
    steps: tuple[int, ...] | None = None
    bands: tuple[int, ...] | None = None
    _kept: BlockCache = field(default_factory=lambda: BlockCache(), repr=False, compare=False)

    def __call__(self, row: int, col: int, height: int, width: int) -> np.ndarray:
        """The part of the grid that begins at ``row, col``; it must lie inside."""
        if self.south_up:
            rows = self.planes[0].variable.sizes[self.layout.y]
            row = rows - row - height
        parts = [self._part(i, own, row, col, height, width) for i, own in self._chosen()]
        steps = max(part.shape[0] for part in parts)
        parts = [np.broadcast_to(part, (steps, *part.shape[1:])) for part in parts]
        out = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        return out[..., ::-1, :] if self.south_up else out

    def narrow(self, bands: Sequence[int], steps: Sequence[int]) -> Loader:
        """The same pixels with these bands and steps of time alone."""
        return Loader(self.planes, self.layout, self.south_up, tuple(steps), tuple(bands))

    def _chosen(self) -> Iterator[tuple[int, tuple[int, ...] | None]]:
        """Planes, each with the bands to take of it; neighbouring ones in one go."""
        if self.bands is None:
            yield from ((i, None) for i in range(len(self.planes)))
            return
        if len(self.planes) == 1:
            yield 0, self.bands
            return
        yield from ((band, None) for band in self.bands)

    def _part(
        self, index: int, bands: tuple[int, ...] | None, row: int, col: int, height: int, width: int
    ) -> np.ndarray:
        plane = self.planes[index]
        picks: dict[Any, Any] = {}
        if plane.band is not None and bands is not None:
            picks[plane.band] = _slice(bands)
        if plane.time is not None and self.steps is not None:
            picks[plane.time] = _slice(self.steps)
        variable = plane.variable.isel(picks)
        chunks = _chunks(variable)
        if chunks is None:
            window = {
                self.layout.y: slice(row, row + height), self.layout.x: slice(col, col + width),
            }  # fmt: skip
            values = variable.isel(window).values
        else:
            values = self._kept.read(index, variable, chunks, row, col, height, width)
        if plane.band is None:
            values = values[..., None, :, :]
        if plane.time is None:
            values = values[None]
        scaling = plane.scaling.pick(self.steps, bands if plane.band is not None else None)
        return _as_float(values, scaling)


def _slice(indices: tuple[int, ...]) -> Any:
    """Indices as a slice where they run on, which lazy arrays read in one piece."""
    if indices and indices == tuple(range(indices[0], indices[0] + len(indices))):
        return slice(indices[0], indices[0] + len(indices))
    return list(indices)


def _as_float(values: np.ndarray, scaling: Scaling) -> np.ndarray:
    """float32 with NaN for missing values, scaled; the same array where nothing changes."""
    missing = _missing(values, scaling)
    if scaling.identity:
        with np.errstate(over="ignore"):
            out = values.astype(np.float32, copy=False)
    else:
        scale, offset = (a[..., None, None] for a in (scaling.scale, scaling.offset))
        out = (values.astype(np.float64) * scale + offset).astype(np.float32)
    if missing is not None and missing.any():
        out = np.where(missing, np.float32(np.nan), out)
    return out


def _missing(values: np.ndarray, scaling: Scaling) -> np.ndarray | None:
    found = None
    for nodata in scaling.nodata:
        # Text rounds the lowest float32, so a number of that size need not be met to the bit.
        same = values * np.sign(nodata) > BEYOND if abs(nodata) > BEYOND else values == nodata
        found = same if found is None else found | same
    low, high = scaling.valid
    if np.isfinite(low) or np.isfinite(high):
        same = (values < low) | (values > high)
        found = same if found is None else found | same
    if np.isfinite(scaling.missing).any():
        same = values == scaling.missing[..., None, None]
        found = same if found is None else found | same
    return found


class BlockCache:
    """The last blocks of chunks that were computed or decoded, in their own dtype."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks: OrderedDict[tuple[int, int, int], np.ndarray] = OrderedDict()
        self._edges: dict[int, tuple[np.ndarray, np.ndarray, int]] = {}
        self._bytes = 0

    def read(
        self,
        index: int,
        variable: xr.Variable,
        chunks: Chunks,
        row: int,
        col: int,
        height: int,
        width: int,
    ) -> np.ndarray:
        """Rows and columns of the last two axes of a chunked variable."""
        *lead, _, _ = variable.shape
        size = int(np.prod(lead, dtype=np.int64)) * height * width * variable.dtype.itemsize
        if size > _KEPT:
            part = (..., slice(row, row + height), slice(col, col + width))
            return np.asarray(variable[part].values)
        with self._lock:
            rows, cols, maximum = self._edges.setdefault(index, _edges(variable, chunks))
            out = np.empty((*lead, height, width), dtype=variable.dtype)
            for i, top, bottom in _touched(rows, row, row + height):
                for j, left, right in _touched(cols, col, col + width):
                    key = (index, i, j)
                    block = self._block(key, variable, rows, cols, maximum)
                    out[..., top - row : bottom - row, left - col : right - col] = block[
                        ..., top - rows[i] : bottom - rows[i], left - cols[j] : right - cols[j]
                    ]
            return out

    def _block(
        self, key: tuple[int, int, int], variable: xr.Variable,
        rows: np.ndarray, cols: np.ndarray, maximum: int,
    ) -> np.ndarray:  # fmt: skip
        if key in self._blocks:
            self._blocks.move_to_end(key)
            return self._blocks[key]
        _, i, j = key
        part = (..., slice(rows[i], rows[i + 1]), slice(cols[j], cols[j + 1]))
        block = np.asarray(variable[part].values)
        self._blocks[key] = block
        self._bytes += block.nbytes
        while self._bytes > maximum and len(self._blocks) > 1:
            self._bytes -= self._blocks.popitem(last=False)[1].nbytes
        return block


def _chunks(variable: xr.Variable) -> Chunks | None:
    """Sizes of the chunks along rows and columns; None for values in memory, or without chunks.

    Chunks are dask's, or those of the file: a file decodes a chunk, and xee asks for one, whole.
    """
    if variable.chunks is not None:
        return variable.chunks[-2], variable.chunks[-1]
    if isinstance(getattr(variable, "_data", None), np.ndarray):
        return None
    wanted = variable.encoding.get("preferred_chunks") or {}
    sides: list[tuple[int, ...]] = []
    for dim in variable.dims[-2:]:
        each, size = wanted.get(dim), variable.sizes[dim]
        if not isinstance(each, int | np.integer) or each < 1:
            return None
        sides.append(tuple(min(int(each), size - i) for i in range(0, size, int(each))))
    return sides[0], sides[1]


def _edges(variable: xr.Variable, chunks: Chunks) -> tuple[np.ndarray, np.ndarray, int]:
    """Where blocks begin along rows and columns, and the bytes to keep."""
    *lead, _, width = variable.shape
    each = int(np.prod(lead, dtype=np.int64)) * variable.dtype.itemsize
    cols = _joined(chunks[1], max(_MIN_BLOCK, width))
    widest = int(np.diff(cols).max())
    rows = _joined(chunks[0], max(_MIN_BLOCK, _KEPT // (each * widest)))
    strip = int(np.diff(rows).max()) * width * each
    return rows, cols, max(_KEPT, min(strip, _MAX_KEPT))


def _joined(chunks: Sequence[int], maximum: int) -> np.ndarray:
    """Edges of blocks: small chunks joined up to _MIN_BLOCK, those above ``maximum`` cut."""
    edges = [0]
    for size in chunks:
        end = edges[-1] + size
        if len(edges) > 1 and end - edges[-2] <= _MIN_BLOCK:
            edges[-1] = end
            continue
        edges.extend(range(edges[-1] + maximum, end, maximum))
        edges.append(end)
    return np.array(edges)


def _touched(edges: np.ndarray, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Blocks that a range touches: (block, first, last + 1) of the common part."""
    first = int(np.searchsorted(edges, start, side="right")) - 1
    for i, (low, high) in enumerate(pairwise(edges[first:].tolist()), first):
        if low >= stop:
            return
        yield i, max(start, low), min(stop, high)


def in_memory(layout: DimRoles) -> bool:
    """Whether every value is at hand, so that a look at them costs no reading."""
    return all(isinstance(getattr(a.variable, "_data", None), np.ndarray) for a in layout.arrays)
