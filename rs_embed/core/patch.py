"""Pixels with what they mean: bands, units, grid and dates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rs_embed.core.grid import Grid
from rs_embed.core.units import convert
from rs_embed.core.values import ValueLook

Interval = tuple[str, str]
"""A half-open window of dates, ``("YYYY-MM-DD", "YYYY-MM-DD")``."""

ReadWindow = Callable[[int, int, int, int], np.ndarray]
"""``read(row, column, height, width)``: ``(T, C, height, width)`` of a part of a grid."""


@dataclass(frozen=True)
class Patch:
    """The pixels fetched for a ROI.

    Parameters
    ----------
    data : ndarray
        ``(T, C, H, W)`` float32; NaN marks missing pixels. Never written to.
    bands : tuple of str
        Names, along C.
    units : tuple of str
        Units of each band; see `rs_embed.core.units`.
    grid : Grid
        Where the pixels are; north-up.
    intervals : tuple of Interval
        The dates of each T; empty where the source has no time.
    meta : mapping
        What the source says of itself: scenes, dates, filters.
    """

    data: np.ndarray
    bands: tuple[str, ...]
    units: tuple[str, ...]
    grid: Grid
    intervals: tuple[Interval, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def chw(self) -> np.ndarray:
        """``(C, H, W)`` of a patch of one date. A series has no such view: ValueError."""
        if self.data.shape[0] != 1:
            raise ValueError(f"a series of {self.data.shape[0]} dates has no single (C, H, W)")
        return np.asarray(self.data[0])

    def reader(self) -> PatchReader:
        """The patch as pixels that are read window by window."""
        look = ValueLook(self.units)

        def read(row: int, col: int, height: int, width: int) -> np.ndarray:
            return look.see(self.data[..., row : row + height, col : col + width])

        return PatchReader(
            lambda: read, self.bands, self.units, self.grid, self.intervals, self.meta, (look,)
        )


@dataclass(frozen=True)
class PatchReader:
    """The pixels of a plan, read window by window; a `Patch` is all of them at once.

    Parameters
    ----------
    open : callable
        ``open()`` begins to read: it gives ``read(row, column, height, width)``, the pixels there,
        ``(T, C, height, width)`` float32 counted from the grid's first pixel, inside the grid. What
        is kept between windows is let go of with ``read``.
    bands, units, grid, intervals, meta
        As those of `Patch`.
    looks : tuple of ValueLook
        What was met in the values that were read so far.
    """

    open: Callable[[], ReadWindow]
    bands: tuple[str, ...]
    units: tuple[str, ...]
    grid: Grid
    intervals: tuple[Interval, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    looks: tuple[ValueLook, ...] = ()

    def patch(self) -> Patch:
        """All pixels."""
        data = self.open()(0, 0, *self.grid.shape)
        return Patch(data, self.bands, self.units, self.grid, self.intervals, self.meta)


def any_valid(data: np.ndarray, rows: int = 64) -> bool:
    """Whether any value of ``(..., H, W)`` is there; looks at a few rows at a time."""
    starts = range(0, data.shape[-2], rows)
    return any(bool(np.isfinite(data[..., i : i + rows, :]).any()) for i in starts)


def in_units(
    data: np.ndarray, given: Sequence[str], indices: Sequence[int], wanted: Sequence[str]
) -> np.ndarray:
    """Bands of ``(..., C, H, W)`` at ``indices`` in the wanted units; or the array itself."""
    pairs = [(given[i], unit) for i, unit in zip(indices, wanted, strict=True)]
    in_order = list(indices) == list(range(data.shape[-3]))
    if in_order and all(have == need for have, need in pairs):
        return data
    picked = data if in_order else data[..., list(indices), :, :]
    if all(have == need for have, need in pairs):
        return picked
    if len(set(pairs)) == 1:
        return convert(picked, *pairs[0])
    bands = [convert(picked[..., i, :, :], *pair) for i, pair in enumerate(pairs)]
    return np.stack(bands, axis=-3)


def stack_readers(readers: Sequence[PatchReader]) -> PatchReader:
    """Readers of one grid and the same intervals as one, bands side by side.

    A static layer (one T, no intervals) is repeated along the others' T; the order of the rows of
    the source is that of the first reader with dates.
    """
    if len(readers) == 1:
        return readers[0]
    timed = next((one for one in readers if one.intervals), readers[0])

    def opened() -> ReadWindow:
        reads = [one.open() for one in readers]
        return lambda *window: _side_by_side([read(*window) for read in reads])

    return PatchReader(
        opened,
        tuple(band for one in readers for band in one.bands),
        tuple(unit for one in readers for unit in one.units),
        timed.grid,
        timed.intervals,
        {
            "sources": [dict(one.meta) for one in readers],
            **{key: timed.meta[key] for key in ("south_up",) if key in timed.meta},
        },
        tuple(look for one in readers for look in one.looks),
    )


def _side_by_side(parts: Sequence[np.ndarray]) -> np.ndarray:
    length = max(part.shape[0] for part in parts)
    return np.concatenate(
        [np.broadcast_to(part, (length, *part.shape[1:])) for part in parts], axis=1
    )
