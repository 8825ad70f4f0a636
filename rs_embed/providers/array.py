"""Pixels that lie in a raster, read window by window; and an array as a source of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from returns.result import Success

from rs_embed.core.area import averaged_pixels
from rs_embed.core.errors import ProviderError
from rs_embed.core.fetch import FetchPlan, SourceInfo
from rs_embed.core.model import InputSpec
from rs_embed.core.patch import Patch, PatchReader, ReadWindow
from rs_embed.core.result import Outcome, caused
from rs_embed.core.specs import SensorSpec
from rs_embed.core.times import composite
from rs_embed.core.units import NEVER_AVERAGED
from rs_embed.core.values import ValueLook
from rs_embed.providers.source import Provider
from rs_embed.raster.raster import Raster, in_decibel

# Values of the raster read at once to make a window: 8 MB of float32.
_STRIP_VALUES = 2_000_000
# Values of rows that are kept while windows walk over them: 32 MB.
_ROW_VALUES = 8_000_000


@dataclass(frozen=True)
class ArrayProvider(Provider):
    """An array as a source of pixels; the grid of its plans is its own.

    Parameters
    ----------
    raster : Raster
    groups : tuple of tuple of int
        The times of the array that are composited into each interval of a plan.
    notes : mapping
        What was decided on the way to the working grid.
    """

    raster: Raster
    groups: tuple[tuple[int, ...], ...]
    notes: Mapping[str, Any] = field(default_factory=dict)
    name: str = "array"
    workers: int = 1

    def describe(self, item: InputSpec, sensor: SensorSpec | None) -> Outcome[SourceInfo]:
        """The array's bands for one input, stand-ins in their places. It has no collection."""
        raster = self.raster
        return raster.places_of(item.bands).map(
            lambda places: SourceInfo(
                "",
                tuple(raster.bands[i] for i in places),
                tuple(raster.units[i] for i in places),
                dated=bool(raster.intervals) and not item.static,
                grid=raster.grid,
            )
        )

    def fetch(self, plan: FetchPlan) -> Outcome[Patch]:
        """All pixels of a plan."""
        return self.open(plan).map(PatchReader.patch)

    def open(self, plan: FetchPlan) -> Outcome[PatchReader]:
        """The pixels of a plan; of the array only what a window needs is computed."""
        return Success(raster_reader(self.raster, plan, self.groups, self.notes))


def raster_reader(
    raster: Raster,
    plan: FetchPlan,
    groups: Sequence[Sequence[int]],
    notes: Mapping[str, Any] | None = None,
) -> PatchReader:
    """The pixels of a plan in a raster.

    ``groups`` are the times of the raster, oldest first, that each T is composited of. Beside a
    window, no more of the raster is held at once than a strip that becomes part of it.
    """
    bands = [raster.bands.index(name) for name in plan.bands]
    used = sorted({i for own in groups for i in own})
    indices = [[used.index(i) for i in own] for own in groups]
    look = ValueLook([raster.units[i] for i in bands])
    classes = [i for i, place in enumerate(bands) if raster.units[place] in NEVER_AVERAGED]
    coarser = raster.coarser_by(plan.grid)
    values = math.ceil(max(1, len(used)) * len(bands) * coarser[0] * coarser[1])

    # Decibels are averaged as the power that they stand for; single pixels stay as they are.
    radar = [i for i, place in enumerate(bands) if raster.units[place] == "db"]
    averaging = coarser != (1.0, 1.0) or any(len(own) > 1 for own in groups)
    powered = radar if averaging else []

    def opened() -> ReadWindow:
        part = raster.only(bands, used).looked_at(look).in_power(powered)

        def read_strip(row: int, col: int, height: int, width: int) -> np.ndarray:
            try:
                dates = part.read(plan.grid.window(row, col, height, width))
            except OSError as error:
                raise caused(
                    ProviderError(f"the pixels of the source cannot be read: {error}"), by=error
                ) from error
            return in_decibel(composite(dates, indices, plan.sensor.composite, classes), powered)

        def read(row: int, col: int, height: int, width: int) -> np.ndarray:
            rows = max(1, _STRIP_VALUES // (values * width))
            if rows >= height:
                return read_strip(row, col, height, width)
            out = np.empty((len(groups), len(bands), height, width), dtype=np.float32)
            for top in range(0, height, rows):
                each = min(rows, height - top)
                out[..., top : top + each, :] = read_strip(row + top, col, each, width)
            return out

        return _Rows(read, plan.grid.width, len(groups) * len(bands))

    meta = {**raster.notes, **(notes or {})}
    meta["scenes"] = [len(own) if raster.intervals else 1 for own in groups]
    if raster.intervals:
        meta["dates"] = [[raster.intervals[i][0] for i in own] for own in groups]
    averaged = averaged_pixels(coarser)
    if averaged is not None:
        meta["area_averaged"] = averaged
    if powered:
        meta["averaged_in"] = "linear power"
    return PatchReader(opened, plan.bands, plan.units, plan.grid, plan.intervals, meta, (look,))


class _Rows:
    """Whole rows as they are read, kept while windows walk over them from north to south.

    Windows lie side by side, and with overlap each pixel is in many of them. Rows that would be
    too much to keep are read window by window.
    """

    def __init__(self, read: ReadWindow, width: int, depth: int) -> None:
        self._read = read
        self._width = width
        self._depth = depth
        self._top = 0
        self._kept: np.ndarray | None = None

    def __call__(self, row: int, col: int, height: int, width: int) -> np.ndarray:
        """The window whose first pixel is at ``row, col``."""
        if height * self._width * self._depth > _ROW_VALUES:
            return self._read(row, col, height, width)
        kept = self._rows(row, row + height)
        first = row - self._top
        return kept[..., first : first + height, col : col + width]

    def _rows(self, top: int, bottom: int) -> np.ndarray:
        """All that is kept, which then reaches from ``top`` or above to ``bottom`` or below."""
        kept = self._kept
        end = self._top if kept is None else self._top + kept.shape[-2]
        if kept is not None and self._top <= top and bottom <= end:
            return kept
        going_on = kept is not None and self._top <= top < end
        start = end if going_on else top
        fresh = self._read(start, 0, bottom - start, self._width)
        if kept is not None and going_on:
            fresh = np.concatenate([kept[..., top - self._top :, :], fresh], axis=-2)
        self._top, self._kept = top, fresh
        return fresh
