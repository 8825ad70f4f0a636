"""Windows of pixels at hand on their way through a model, and the cells that they make."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from returns.result import Failure, Success

from rs_embed.core.errors import RsEmbedError
from rs_embed.core.model import Model
from rs_embed.core.patch import (
    Interval,
    ReadWindow,
    any_valid,
    in_units,
)
from rs_embed.core.plan import RoiPlan
from rs_embed.core.prepare import (
    TokenMask,
    Windows,
    padded,
    tokens_of_padding,
    valid_tokens,
)
from rs_embed.core.resample import resize, resize_bands
from rs_embed.core.result import Outcome, unwrap_or_raise
from rs_embed.core.token_grid import TokenGrid, TokenMosaic
from rs_embed.core.tokens import Tokens
from rs_embed.core.values import ValueLook
from rs_embed.core.windows import window_centres
from rs_embed.embedders.runtime import LoadedModel
from rs_embed.pipeline.options import Progress
from rs_embed.pipeline.tokens_of import absent_bands, stack_windows, tokens_of

# Windows a batch, by kind of device.
BATCH = {"cpu": 8, "cuda": 64}


@dataclass(frozen=True)
class TiledInput:
    """A planned ROI with its pixels at hand.

    ``open()`` begins to read them: it gives the model's bands in its order, counted from the ROI's
    first pixel. The source calls these ``bands`` and holds them in ``units``. ``looks`` have seen
    the values that were read.
    """

    plan: RoiPlan
    open: Callable[[], ReadWindow]
    bands: tuple[str, ...]
    units: tuple[str, ...]
    intervals: tuple[Interval, ...]
    meta: dict[str, Any]
    looks: tuple[ValueLook, ...] = ()

    def value_problems(self) -> list[str]:
        """What was odd in the values read so far, each once."""
        return list(dict.fromkeys(text for look in self.looks for text in look.problems()))


def windows(tiled: TiledInput) -> Iterator[Windows]:
    """The windows of a ROI one by one, ``B = 1``, in the model's bands and units."""
    return (seen.window for seen in seen_windows(tiled))


@dataclass(frozen=True)
class SeenWindow:
    """A window with what is there of its pixels before any fill.

    ``present`` says of each interval whether it has any valid pixel, in bands that have time;
    ``bands`` of each band whether it has any.
    """

    window: Windows
    valid: TokenMask
    present: np.ndarray
    bands: np.ndarray


def seen_windows(tiled: TiledInput) -> Iterator[SeenWindow]:
    """The windows of a ROI one by one, in the model's bands and units, as they are read."""
    planned, model = tiled.plan, tiled.plan.model
    tiling, whole = planned.tiling, planned.input_prep == "resize"
    read = padded(planned, tiled.open())
    side = planned.roi.height if whole else tiling.window_px
    places = [(0, 0)] if whole else tiling.windows()
    lonlat = (
        np.array([planned.roi.centre_lonlat()])
        if whole
        else np.stack(window_centres(tiling, planned.roi), axis=-1)
    )
    timed = [i for i, static in enumerate(_static_bands(model)) if not static]
    invented = tokens_of_padding(planned)

    def shown(raw: np.ndarray) -> np.ndarray:
        pixels = in_units(raw, tiled.units, range(len(model.bands)), model.units)
        if not whole or _own_resize(model):
            return pixels
        return resize_bands(pixels, tiling.window_px, model.units)

    for i, (row, col) in enumerate(places):
        raw = read(row, col, side, side)
        pixels = shown(raw)
        valid = valid_tokens(_tokens_ground(pixels, model)[None], tiling.token_px)
        if invented is not None:
            there = ~invented[None] if valid.tokens is None else valid.tokens & ~invented
            valid = TokenMask(there, valid.missing)
        if planned.fill is not None and valid.missing:
            pixels = shown(np.where(np.isfinite(raw), raw, np.float32(planned.fill)))
        # Resampled pixels are larger or smaller on the ground than those of the grid.
        scale = planned.roi.resolution[0] * side / pixels.shape[-1]
        window = Windows(pixels[None], model.bands, (tiled.intervals,), lonlat[i : i + 1], scale)
        present = np.ones(len(tiled.intervals), dtype=bool)
        if valid.missing and len(present):
            present = np.array([any(any_valid(date[i]) for i in timed) for date in raw])
        bands = np.ones(len(model.bands), dtype=bool)
        if valid.missing:
            bands = np.array([any_valid(raw[:, i]) for i in range(len(bands))])
        yield SeenWindow(window, valid, present, bands)


def _static_bands(model: Model) -> list[bool]:
    return [item.static for item in model.inputs for _ in item.bands]


def encode_inputs(
    loaded: LoadedModel,
    inputs: Sequence[TiledInput],
    *,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> list[TokenGrid]:
    """The cells of every ROI, run in batches that cross from one ROI to the next."""
    batches = _Batches(loaded, inputs, batch_size, progress)
    for index, tiled in enumerate(inputs):
        for i, seen in enumerate(seen_windows(tiled)):
            batches.add(index, i, seen)
    return batches.finish()


def encoded(
    loaded: LoadedModel,
    inputs: Sequence[TiledInput],
    *,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> list[Outcome[TokenGrid]]:
    """As `encode_inputs`: pixels that cannot be read fail their own ROI, the family's word all."""
    batches = _Batches(loaded, inputs, batch_size, progress)
    failed: dict[int, RsEmbedError] = {}
    try:
        for index, tiled in enumerate(inputs):
            walk = enumerate(seen_windows(tiled))
            while index not in failed:
                try:
                    i, seen = next(walk)
                except StopIteration:
                    break
                except RsEmbedError as error:
                    failed[index] = error
                    batches.skip(index)
                else:
                    batches.add(index, i, seen)
        grids = batches.finish()
    except RsEmbedError as error:
        return [Failure(error) for _ in inputs]
    for index in range(len(inputs)):
        absent = absent_bands(inputs[index].plan, batches.bands_seen[index])
        if index not in failed and absent is not None:
            failed[index] = absent
    return [
        Failure(failed[index]) if index in failed else Success(grid)
        for index, grid in enumerate(grids)
    ]


def encode_input(
    loaded: LoadedModel,
    tiled: TiledInput,
    *,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Outcome[TokenGrid]:
    """The cells of one ROI; what its source or the family refuses on the way is a Failure."""
    return encoded(loaded, [tiled], batch_size=batch_size, progress=progress)[0]


class _Batches:
    """Windows on their way through the network, and the mosaics that their tokens make."""

    def __init__(
        self,
        loaded: LoadedModel,
        inputs: Sequence[TiledInput],
        batch_size: int | None,
        progress: Progress | None,
    ) -> None:
        self._loaded = loaded
        self._inputs = inputs
        self._size = batch_size_of(loaded, batch_size)
        self._progress = progress
        self._mosaics = [TokenMosaic(one.plan.tiling, one.plan.model.dim) for one in inputs]
        self._counts = [0 for _ in inputs]
        self.bands_seen = [np.zeros(len(one.plan.model.bands), dtype=bool) for one in inputs]
        self._total = sum(len(one.plan.tiling) for one in inputs)
        self._queue: list[tuple[int, int, SeenWindow]] = []

    def add(self, index: int, i: int, seen: SeenWindow) -> None:
        """Window ``i`` of an input, run when a batch is full."""
        self._mosaics[index].note(seen.valid.missing, seen.present)
        self.bands_seen[index] |= seen.bands
        if seen.valid.tokens is not None and not seen.valid.tokens.any():
            self._count([index])  # nothing to see: not run, and its cells stay missing
            return
        queue = self._queue
        if queue and (len(queue) >= self._size or not alike(queue[0][2].window, seen.window)):
            self._flush()
        queue.append((index, i, seen))

    def skip(self, index: int) -> None:
        """The rest of an input will not come."""
        left = len(self._inputs[index].plan.tiling) - self._counts[index]
        self._count([index] * (left - sum(one == index for one, _, _ in self._queue)))

    def finish(self) -> list[TokenGrid]:
        """Run what is waiting; the cells of every input."""
        self._flush()
        return [
            collected(mosaic, seen)
            for mosaic, seen in zip(self._mosaics, self.bands_seen, strict=True)
        ]

    def _flush(self) -> None:
        """Run the queued windows as one batch and lay their tokens out."""
        if not self._queue:
            return
        model = self._inputs[self._queue[0][0]].plan.model
        batch = stack_windows([seen.window for _, _, seen in self._queue])
        tokens = unwrap_or_raise(tokens_of(self._loaded, model, batch))
        for k, (index, i, seen) in enumerate(self._queue):
            lay_out(self._mosaics[index], i, seen, tokens, k)
        done = [index for index, _, _ in self._queue]
        self._queue.clear()
        self._count(done)

    def _count(self, indices: Sequence[int]) -> None:
        for index in indices:
            self._counts[index] += 1
        if self._progress is not None and indices:
            self._progress(sum(self._counts), self._total)


def batch_size_of(loaded: LoadedModel, given: int | None) -> int:
    """Windows a batch: what was asked for, else what suits the device."""
    return given or BATCH.get(loaded.device.split(":")[0], 8)


def lay_out(mosaic: TokenMosaic, i: int, seen: SeenWindow, tokens: Tokens, k: int) -> None:
    """Lay the tokens ``k`` of a batch out as those of window ``i``, where its pixels are valid."""
    cells = tokens.grid[k]
    if seen.valid.tokens is not None:
        cells = np.where(seen.valid.tokens[0, ..., None], cells, np.float32(np.nan))
    mosaic.add(i, cells, None if tokens.image is None else tokens.image[k])


def collected(mosaic: TokenMosaic, bands_seen: np.ndarray) -> TokenGrid:
    """The cells of a ROI, with which of its bands were there."""
    return replace(mosaic.result(), bands_seen=tuple(bands_seen.tolist()))


def alike(one: Windows, other: Windows) -> bool:
    """Whether two windows can stand in one batch."""
    return one.pixels.shape == other.pixels.shape and one.scale_m == other.scale_m


def _tokens_ground(pixels: np.ndarray, model: Model) -> np.ndarray:
    """The pixels of a window, or of the middle of a whole image that the model crops."""
    margin = round((model.image_px - model.window_px) / 2)
    kept = slice(margin, margin + model.window_px)
    return resize(pixels, model.image_px)[..., kept, kept]


def _own_resize(model: Model) -> bool:
    """Whether the family's ``prepare`` resizes whole images itself, as its authors do."""
    return model.options.get("prepare") == "official"
