"""The steps of the pipeline: spec -> plan -> pixels -> tensors -> tokens -> Embedding.

Each step is a small public function; analysis code can compose them, or put its own in a step's
place. `docs/pipeline.md` works through an example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from returns.result import Failure, Result, Success

from rs_embed.core.bands import match_bands
from rs_embed.core.embedding import Embedding
from rs_embed.core.errors import ModelError, RsEmbedError, SpecError
from rs_embed.core.model import Model, ModelChoice
from rs_embed.core.patch import (
    Interval,
    Patch,
    PatchReader,
    ReadWindow,
    any_valid,
    in_units,
    stack_readers,
)
from rs_embed.core.plan import InputPrep, RoiPlan, plan_roi
from rs_embed.core.prepare import (
    TokenMask,
    Windows,
    padded,
    tokens_of_padding,
    valid_tokens,
)
from rs_embed.core.resample import resize, resize_bands
from rs_embed.core.result import Outcome, collect, unwrap_or_raise
from rs_embed.core.specs import OutputSpec, SensorSpec, SpatialSpec, TemporalSpec
from rs_embed.core.token_grid import TokenGrid, TokenMosaic, nothing_valid
from rs_embed.core.units import check_convertible
from rs_embed.core.values import ValueLook
from rs_embed.core.windows import window_centres
from rs_embed.embedders.catalog import find_model
from rs_embed.embedders.runtime import LoadedModel, load
from rs_embed.pipeline.assemble import assemble_embedding, collections_of
from rs_embed.pipeline.options import EmbedOptions, Progress, check_plan, check_request
from rs_embed.pipeline.tokens_of import absent_bands, stack_windows, tokens_of
from rs_embed.plugins.notices import warn_caller
from rs_embed.providers.base import Provider, list_scenes

_BATCH = {"cpu": 8, "cuda": 64}


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


def embed(
    model: str | ModelChoice,
    spatial: SpatialSpec,
    temporal: TemporalSpec | None,
    provider: Provider,
    *,
    output: OutputSpec | None = None,
    device: str = "auto",
) -> Outcome[Embedding]:
    """The whole pipeline for one ROI, as one expression: read it to learn the steps."""
    wanted = output or OutputSpec.pooled()
    return Result.do(
        embedding
        for chosen in find_model(model)
        for _ in check_request(chosen, EmbedOptions(wanted))
        for planned in plan(chosen, spatial, temporal, provider, output=wanted)
        for loaded in load(chosen, device)
        for tiled in open_input(planned, provider)
        for cells in encode_input(loaded, tiled)
        for _ in check_values([tiled])
        for embedding in assemble_embedding(
            planned, cells, wanted, provenance(tiled, loaded, provider), flip_rows=south_up(tiled)
        )
    )


def plan(
    model: Model,
    spatial: SpatialSpec,
    temporal: TemporalSpec | None,
    provider: Provider,
    *,
    sensor: SensorSpec | None = None,
    input_prep: InputPrep = "native",
    overlap: int = 0,
    output: OutputSpec | None = None,
) -> Outcome[RoiPlan]:
    """Which pixels to fetch for a ROI and which windows to lay over them; fetches nothing."""
    return Result.do(
        planned
        for sources in collect(provider.describe(item, sensor) for item in model.inputs)
        for roi in plan_roi(
            model, spatial, temporal, sources,
            sensor=sensor, input_prep=input_prep, overlap=overlap,
        )
        for planned in check_plan(roi, output or OutputSpec.pooled())
    )  # fmt: skip


def fetch(planned: RoiPlan, provider: Provider) -> Outcome[Patch]:
    """The pixels of a plan, every input of the model side by side, all at once."""
    return open_pixels(planned, provider).map(PatchReader.patch)


def open_pixels(planned: RoiPlan, provider: Provider) -> Outcome[PatchReader]:
    """As `fetch`, to be read window by window."""
    return collect(provider.open(one) for one in planned.fetch_plans).map(stack_readers)


def open_input(planned: RoiPlan, provider: Provider) -> Outcome[TiledInput]:
    """A plan with its pixels at hand, ready to be cut into windows."""
    return open_pixels(planned, provider).bind(lambda reader: tiled_input(planned, reader))


def tiled_input(planned: RoiPlan, pixels: Patch | PatchReader) -> Outcome[TiledInput]:
    """A plan and the pixels fetched for it, ready to be cut into windows.

    A patch that is not quite the plan's own is taken by its band names.

    Fails with ProviderError where no pixel of a patch is valid, with ModelError where it lacks
    a band of the model, with SpecError where its units cannot become the model's.
    """
    if isinstance(pixels, Patch) and not any_valid(pixels.data):
        return Failure(nothing_valid(collections_of(planned)))
    reader = pixels.reader() if isinstance(pixels, Patch) else pixels
    return Result.do(
        _tiled(planned, reader, places)
        for places in _band_places(planned, reader.bands)
        for _ in check_convertible(
            planned.model.bands, tuple(reader.units[i] for i in places), planned.model.units
        )
    )


def _tiled(planned: RoiPlan, reader: PatchReader, places: tuple[int, ...]) -> TiledInput:
    row0, col0 = planned.fetch_window[:2]
    in_order = places == tuple(range(len(reader.bands)))

    def opened() -> ReadWindow:
        inner = reader.open()

        def read(row: int, col: int, height: int, width: int) -> np.ndarray:
            pixels = inner(row - row0, col - col0, height, width)
            return pixels if in_order else pixels[:, list(places)]

        return read

    bands, units = (tuple(of[i] for i in places) for of in (reader.bands, reader.units))
    return TiledInput(
        planned, opened, bands, units, reader.intervals, dict(reader.meta), reader.looks
    )


def windows(tiled: TiledInput) -> Iterator[Windows]:
    """The windows of a ROI one by one, ``B = 1``, in the model's bands and units."""
    return (seen.window for seen in _seen(tiled))


@dataclass(frozen=True)
class _Seen:
    """A window with what is there of its pixels before any fill.

    ``present`` says of each interval whether it has any valid pixel, in bands that have time;
    ``bands`` of each band whether it has any.
    """

    window: Windows
    valid: TokenMask
    present: np.ndarray
    bands: np.ndarray


def _seen(tiled: TiledInput) -> Iterator[_Seen]:
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
        yield _Seen(window, valid, present, bands)


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
        for i, seen in enumerate(_seen(tiled)):
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
            walk = enumerate(_seen(tiled))
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
        self._size = batch_size or _BATCH.get(loaded.device.split(":")[0], 8)
        self._progress = progress
        self._mosaics = [TokenMosaic(one.plan.tiling, one.plan.model.dim) for one in inputs]
        self._counts = [0 for _ in inputs]
        self.bands_seen = [np.zeros(len(one.plan.model.bands), dtype=bool) for one in inputs]
        self._total = sum(len(one.plan.tiling) for one in inputs)
        self._queue: list[tuple[int, int, _Seen]] = []

    def add(self, index: int, i: int, seen: _Seen) -> None:
        """Window ``i`` of an input, run when a batch is full."""
        self._mosaics[index].note(seen.valid.missing, seen.present)
        self.bands_seen[index] |= seen.bands
        if seen.valid.tokens is not None and not seen.valid.tokens.any():
            self._count([index])  # nothing to see: not run, and its cells stay missing
            return
        queue = self._queue
        if queue and (len(queue) >= self._size or not _alike(queue[0][2].window, seen.window)):
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
            replace(mosaic.result(), bands_seen=tuple(seen.tolist()))
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
            cells = tokens.grid[k]
            if seen.valid.tokens is not None:
                cells = np.where(seen.valid.tokens[0, ..., None], cells, np.float32(np.nan))
            image = None if tokens.image is None else tokens.image[k]
            self._mosaics[index].add(i, cells, image)
        done = [index for index, _, _ in self._queue]
        self._queue.clear()
        self._count(done)

    def _count(self, indices: Sequence[int]) -> None:
        for index in indices:
            self._counts[index] += 1
        if self._progress is not None and indices:
            self._progress(sum(self._counts), self._total)


def provenance(
    tiled: TiledInput,
    loaded: LoadedModel,
    provider: Provider,
    scenes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What the source and the weights say of themselves, for `assemble_embedding`.

    ``scenes`` is what the source lists of the fetches, by fingerprint; None asks it.
    """
    fetch_plans = tiled.plan.fetch_plans
    if scenes is None:
        listed = list_scenes(provider, list(fetch_plans))
        scenes = {one.fingerprint: facts for one, facts in zip(fetch_plans, listed, strict=True)}
    found = {one.collection: scenes[one.fingerprint] for one in fetch_plans}
    listing = {} if None in found.values() else {"scenes": found}
    return {
        "backend": provider.name,
        "input": {
            "bands": list(tiled.bands), "units": list(tiled.units), **tiled.meta, **listing,
        },
        "value_warnings": tiled.value_problems(),
        "weights": dict(loaded.provenance),
    }  # fmt: skip


def check_values(tiled: Sequence[TiledInput], strict: bool = False) -> Outcome[None]:
    """Warn of odd values that were read, each once; Failure(SpecError) instead where ``strict``."""
    said = dict.fromkeys(text for one in tiled for text in one.value_problems())
    if said and strict:
        return Failure(SpecError("strict: " + "; ".join(said)))
    warn_of_values(said)
    return Success(None)


def warn_of_values(texts: Iterable[str]) -> None:
    """Say what `TiledInput.value_problems` found in a run."""
    for text in texts:
        warn_caller(text)


def south_up(tiled: TiledInput) -> bool:
    """Whether the source's own rows run south to north."""
    return bool(tiled.meta.get("south_up"))


def _alike(one: Windows, other: Windows) -> bool:
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


def _band_places(planned: RoiPlan, found: Sequence[str]) -> Outcome[tuple[int, ...]]:
    """Where the model's bands are in a patch. A source's own names stand in the model's order."""
    if tuple(found) == tuple(band for one in planned.fetch_plans for band in one.bands):
        return Success(tuple(range(len(found))))
    return match_bands(planned.model.bands, found, error=ModelError, where="the patch")
