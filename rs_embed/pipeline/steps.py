"""The river: spec -> plan -> patch -> tensors -> tokens -> Embedding.

Each step is a small public function; analysis code can compose them, or put its own in a step's
place. `docs/pipeline.md` works through an example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from returns.result import Failure, Success

from rs_embed.core.bands import match_bands
from rs_embed.core.errors import ModelError, RsEmbedError, SpecError
from rs_embed.core.model import Model, ModelChoice
from rs_embed.core.patch import Interval, Patch, any_valid, in_units, stack_patches
from rs_embed.core.plan import FetchPlan, InputPrep, RoiPlan, plan_roi
from rs_embed.core.prepare import TokenMask, WindowReader, Windows, padded, valid_tokens
from rs_embed.core.resample import check_cells, resize
from rs_embed.core.result import Outcome, collect
from rs_embed.core.specs import OutputSpec, SensorSpec, SpatialSpec, TemporalSpec
from rs_embed.core.token_grid import TokenGrid, TokenMosaic, nothing_valid
from rs_embed.core.tokens import Tokens
from rs_embed.core.units import check_convertible
from rs_embed.core.windows import window_centres
from rs_embed.embedders.catalog import find_model
from rs_embed.embedders.runtime import LoadedModel, check_dates, encode, load, prepare
from rs_embed.pipeline.assemble import assemble_embedding
from rs_embed.providers.base import Provider, list_scenes

Progress = Callable[[int, int], None]
"""``progress(done, total)``, counted in windows."""

_BATCH = {"cpu": 8, "cuda": 64}


@dataclass(frozen=True)
class TiledInput:
    """A planned ROI with its pixels at hand.

    ``read`` gives the model's bands in its order, which the source calls ``bands`` and holds in
    ``units``. ``empty_intervals`` counts the frames without a valid pixel.
    """

    plan: RoiPlan
    read: WindowReader
    bands: tuple[str, ...]
    units: tuple[str, ...]
    intervals: tuple[tuple[str, str], ...]
    meta: dict[str, Any]
    empty_intervals: int = 0


def embed(
    model: str | ModelChoice,
    spatial: SpatialSpec,
    temporal: TemporalSpec | None,
    provider: Provider,
    *,
    output: OutputSpec | None = None,
    device: str = "auto",
) -> Outcome[Any]:
    """The whole river for one ROI, as one expression: read it to learn the steps."""
    wanted = output or OutputSpec.pooled()
    return find_model(model).bind(
        lambda chosen: check_output(chosen, wanted).bind(
            lambda _: (
                plan(chosen, spatial, temporal, provider)
                .bind(lambda planned: check_cells(planned.roi, wanted).map(lambda _: planned))
                .bind(
                    lambda planned: load(chosen, device).bind(
                        lambda loaded: fetch(planned, provider).bind(
                            lambda patch: tiled_input(planned, patch).bind(
                                lambda ready: encoded(loaded, [ready]).bind(
                                    lambda fields: assemble_embedding(
                                        planned,
                                        fields[0],
                                        wanted,
                                        provenance(ready, loaded, provider),
                                        flip_rows=south_up(ready),
                                    )
                                )
                            )
                        )
                    )
                )
            )
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
) -> Outcome[RoiPlan]:
    """Which pixels to fetch for a ROI and which windows to lay over them; fetches nothing."""
    return (
        collect(provider.describe(item, sensor) for item in model.inputs)
        .bind(
            lambda sources: plan_roi(
                model, spatial, temporal, sources,
                sensor=sensor, input_prep=input_prep, overlap=overlap,
            )
        )
        .bind(lambda planned: check_dates(model, _frames(planned)).map(lambda _: planned))
    )  # fmt: skip


def _frames(planned: RoiPlan) -> tuple[Interval, ...]:
    """The dates of a plan's pixels; none where no fetch has time."""
    return next((one.intervals for one in planned.fetch_plans if one.intervals), ())


def fetch(planned: RoiPlan, provider: Provider) -> Outcome[Patch]:
    """The pixels of a plan, every input of the model side by side."""
    return collect(provider.fetch(one) for one in planned.fetch_plans).map(stack_patches)


def tiled_input(planned: RoiPlan, patch: Patch) -> Outcome[TiledInput]:
    """A plan and the patch fetched for it, ready to be cut into windows.

    A patch that is not quite the plan's own is taken by its band names.

    Fails with ProviderError where no pixel of the patch is valid, with ModelError where it lacks
    a band of the model, with SpecError where its units cannot become the model's.
    """
    if not any_valid(patch.data):
        return Failure(nothing_valid(_names(planned.fetch_plans)))
    model = planned.model
    return _band_places(planned, patch.bands).bind(
        lambda places: check_convertible(
            model.bands, tuple(patch.units[i] for i in places), model.units
        ).map(lambda _: _ready(planned, patch, places))
    )


def _ready(planned: RoiPlan, patch: Patch, places: tuple[int, ...]) -> TiledInput:
    row0, col0 = planned.fetch_window[:2]
    in_order = places == tuple(range(patch.data.shape[1]))

    def read(row: int, col: int, height: int, width: int) -> np.ndarray:
        r, c = row - row0, col - col0
        pixels = patch.data[..., r : r + height, c : c + width]
        return pixels if in_order else pixels[:, list(places)]

    bands, units = (tuple(of[i] for i in places) for of in (patch.bands, patch.units))
    empty = _empty_frames(planned.model, patch, places)
    return TiledInput(planned, read, bands, units, patch.intervals, dict(patch.meta), empty)


def _empty_frames(model: Model, patch: Patch, places: tuple[int, ...]) -> int:
    """How many frames have no valid pixel in any band that has time."""
    dated = [not item.static for item in model.inputs for _ in item.bands]
    timed = [place for place, has_time in zip(places, dated, strict=True) if has_time]
    if not patch.intervals:
        return 0
    return sum(not any(any_valid(step[i]) for i in timed) for step in patch.data)


def windows(ready: TiledInput) -> Iterator[Windows]:
    """The windows of a ROI one by one, ``B = 1``, in the model's bands and units."""
    return (window for window, _ in _seen(ready))


def _seen(ready: TiledInput) -> Iterator[tuple[Windows, TokenMask]]:
    """The windows, each with what is there of its pixels before any fill."""
    planned, model = ready.plan, ready.plan.model
    tiling, whole = planned.tiling, planned.input_prep == "resize"
    read = padded(planned, ready.read)
    side = planned.roi.height if whole else tiling.window_px
    places = [(0, 0)] if whole else tiling.windows()
    lonlat = (
        np.array([planned.roi.centre_lonlat()])
        if whole
        else np.stack(window_centres(tiling, planned.roi), axis=-1)
    )

    def shown(raw: np.ndarray) -> np.ndarray:
        pixels = in_units(raw, ready.units, range(len(model.bands)), model.units)
        return resize(pixels, tiling.window_px) if whole and not _own_resize(model) else pixels

    for i, (row, col) in enumerate(places):
        raw = read(row, col, side, side)
        pixels = shown(raw)
        valid = valid_tokens(_tokens_ground(pixels, model)[None], tiling.token_px)
        if planned.fill is not None and valid.missing:
            pixels = shown(np.where(np.isfinite(raw), raw, np.float32(planned.fill)))
        # Resampled pixels are larger or smaller on the ground than those of the grid.
        scale = planned.roi.resolution[0] * side / pixels.shape[-1]
        window = Windows(pixels[None], model.bands, (ready.intervals,), lonlat[i : i + 1], scale)
        yield window, valid


def encode_inputs(
    loaded: LoadedModel,
    jobs: Sequence[TiledInput],
    *,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> list[TokenGrid]:
    """The cells of every ROI, run in batches that cross from one ROI to the next."""
    size = batch_size or _BATCH.get(loaded.device.split(":")[0], 8)
    canvases = [TokenMosaic(ready.plan.tiling, ready.plan.model.dim) for ready in jobs]
    total = sum(len(ready.plan.tiling) for ready in jobs)
    done = 0
    queue: list[tuple[int, int, Windows, TokenMask]] = []
    for j, ready in enumerate(jobs):
        for i, (window, valid) in enumerate(_seen(ready)):
            if valid.tokens is not None and not valid.tokens.any():
                # Nothing to see: not run, and its cells stay missing.
                side, dim = ready.plan.tiling.tokens_per_window, ready.plan.model.dim
                canvases[j].add(i, np.full((side, side, dim), np.nan), None, valid.missing)
                done += 1
                if progress is not None:
                    progress(done, total)
                continue
            if queue and (len(queue) >= size or not _alike(queue[0][2], window)):
                done = _flush(loaded, jobs, queue, canvases, done, total, progress)
            queue.append((j, i, window, valid))
    _flush(loaded, jobs, queue, canvases, done, total, progress)
    return [canvas.field() for canvas in canvases]


def encoded(
    loaded: LoadedModel,
    jobs: Sequence[TiledInput],
    *,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Outcome[list[TokenGrid]]:
    """As `encode_inputs`; what a lazy array or the family refuses on the way is a Failure."""
    try:
        return Success(encode_inputs(loaded, jobs, batch_size=batch_size, progress=progress))
    except RsEmbedError as error:
        return Failure(error)


def provenance(
    ready: TiledInput,
    loaded: LoadedModel,
    provider: Provider,
    scenes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What the source and the weights say of themselves, for `rs_embed.pipeline.assemble.finish`.

    ``scenes`` is what the source lists of the fetches, by fingerprint; None asks it.
    """
    fetch_plans = ready.plan.fetch_plans
    if scenes is None:
        listed = list_scenes(provider, list(fetch_plans))
        scenes = {one.fingerprint: told for one, told in zip(fetch_plans, listed, strict=True)}
    found = {one.collection: scenes[one.fingerprint] for one in fetch_plans}
    return {
        "backend": provider.name,
        "input": {**ready.meta, **({} if None in found.values() else {"scenes": found})},
        "empty_intervals": ready.empty_intervals,
        "weights": dict(loaded.provenance),
    }


def south_up(ready: TiledInput) -> bool:
    """Whether the source's own rows run south to north."""
    return bool(ready.meta.get("south_up"))


def _alike(one: Windows, other: Windows) -> bool:
    """Whether two windows can stand in one batch."""
    return one.pixels.shape == other.pixels.shape and one.scale_m == other.scale_m


def stack_windows(parts: Sequence[Windows]) -> Windows:
    """Windows of one shape as one batch."""
    if len(parts) == 1:
        return parts[0]
    return replace(
        parts[0],
        pixels=np.concatenate([part.pixels for part in parts]),
        intervals=tuple(intervals for part in parts for intervals in part.intervals),
        lonlat=np.concatenate([part.lonlat for part in parts]),
    )


def check_running(batch_size: Any, progress: Any) -> Outcome[None]:
    """Failure(SpecError) where a size is no number of windows, or progress cannot be called."""
    whole = isinstance(batch_size, int) and not isinstance(batch_size, bool)
    if batch_size is not None and not (whole and batch_size > 0):
        return Failure(SpecError(f"batch_size must be a whole number > 0, not {batch_size!r}"))
    if progress is not None and not callable(progress):
        return Failure(SpecError(f"progress must be called as (done, total), not {progress!r}"))
    return Success(None)


def check_output(model: Model, output: OutputSpec) -> Outcome[OutputSpec]:
    """The output itself, or Failure(ModelError) where the model has no image-level vector."""
    if output.pooling == "model" and model.spec.image_vector is None:
        return Failure(
            ModelError(
                f"{model.id} defines no image-level vector of its own; use pooling='mean' or 'max'"
            )
        )
    return Success(output)


def _flush(
    loaded: LoadedModel,
    jobs: Sequence[TiledInput],
    queue: list[tuple[int, int, Windows, TokenMask]],
    canvases: Sequence[TokenMosaic],
    done: int,
    total: int,
    progress: Progress | None,
) -> int:
    """Run the queued windows as one batch and lay their tokens out."""
    if not queue:
        return done
    model = jobs[queue[0][0]].plan.model
    batch = stack_windows([window for _, _, window, _ in queue])
    tokens: Tokens = encode(loaded, prepare(model, batch), model)
    for k, (j, i, _, valid) in enumerate(queue):
        cells = tokens.grid[k]
        if valid.tokens is not None:
            cells = np.where(valid.tokens[0, ..., None], cells, np.float32(np.nan))
        image = None if tokens.image is None else tokens.image[k]
        canvases[j].add(i, cells, image, valid.missing)
    done += len(queue)
    queue.clear()
    if progress is not None:
        progress(done, total)
    return done


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


def _names(fetch_plans: Sequence[FetchPlan]) -> str:
    return ", ".join(dict.fromkeys(one.collection for one in fetch_plans)) or "the patch"
