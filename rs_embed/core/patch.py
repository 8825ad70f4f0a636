"""Pixels with what they mean: bands, units, grid and dates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from rs_embed.core.grid import Grid
from rs_embed.core.units import convert

Interval = tuple[str, str]
"""A half-open window of dates, ``("YYYY-MM-DD", "YYYY-MM-DD")``."""


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
    frames : tuple of Frame
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

    def valid(self) -> np.ndarray:
        """``(H, W)`` bool: whether any band of any date is there."""
        return np.asarray(np.isfinite(self.data).any(axis=(0, 1)))

    def select(self, indices: Sequence[int], units: Sequence[str]) -> Patch:
        """The bands at ``indices``, in that order and in those units, which must be convertible."""
        data = in_units(self.data, self.units, indices, units)
        bands = tuple(self.bands[i] for i in indices)
        return replace(self, data=data, bands=bands, units=tuple(units))


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


def stack_patches(patches: Sequence[Patch]) -> Patch:
    """Patches of one grid and the same frames as one, bands side by side.

    A patch of a static layer (one T, no frames) is repeated along the others' T.
    """
    if len(patches) == 1:
        return patches[0]
    length = max(p.data.shape[0] for p in patches)
    timed = next((p for p in patches if p.intervals), patches[0])
    data = [np.broadcast_to(p.data, (length, *p.data.shape[1:])) for p in patches]
    return Patch(
        np.concatenate(data, axis=1),
        tuple(band for p in patches for band in p.bands),
        tuple(unit for p in patches for unit in p.units),
        patches[0].grid,
        timed.intervals,
        {"sources": [dict(p.meta) for p in patches]},
    )
