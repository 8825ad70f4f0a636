"""The river: spec -> plan -> patch -> tensors -> tokens -> Embedding.

Each step is a small public function; analysis code can compose them, or put its own in a step's
place. `docs/pipeline.md` works through an example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from returns.result import Failure, Success

from rs_embed.core.bands import match_bands
from rs_embed.core.errors import ModelError
from rs_embed.core.field import Canvas, Field, nothing_valid
from rs_embed.core.model import Model, ModelChoice
from rs_embed.core.patch import Patch, in_units, stack_patches
from rs_embed.core.plan import FetchPlan, InputPrep, RoiPlan, plan_roi
from rs_embed.core.prepare import Read, Windows, padded, valid_tokens
from rs_embed.core.resample import resize
from rs_embed.core.result import Outcome, collect
from rs_embed.core.specs import OutputSpec, SensorSpec, SpatialSpec, TemporalSpec
from rs_embed.core.tokens import Tokens
from rs_embed.core.windows import window_centres
from rs_embed.describe import finish
from rs_embed.embedders.catalog import find_model
from rs_embed.embedders.run import Loaded, encode, load, prepare
from rs_embed.providers.base import Provider

Progress = Callable[[int, int], None]
"""``progress(done, total)``, counted in windows."""

_BATCH = {"cpu": 8, "cuda": 64}


@dataclass(frozen=True)
class Job:
    """A planned ROI with its pixels at hand: ``read`` in the bands and units named."""

    plan: RoiPlan
    read: Read
    bands: tuple[str, ...]
    units: tuple[str, ...]
    frames: tuple[tuple[str, str], ...]
    meta: dict[str, Any]


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
    return find_model(model).bind(
        lambda chosen: plan(chosen, spatial, temporal, provider).bind(
            lambda planned: fetch(planned, provider).bind(
                lambda patch: load(chosen, device).bind(
                    lambda loaded: job(planned, patch).bind(
                        lambda ready: finish(
                            planned,
                            encode_jobs(loaded, [ready])[0],
                            output or OutputSpec.pooled(),
                            {**ready.meta, **loaded.provenance, "source": provider.name},
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
    return collect(provider.describe(item, sensor) for item in model.inputs).bind(
        lambda sources: plan_roi(
            model, spatial, temporal, sources,
            sensor=sensor, input_prep=input_prep, overlap=overlap,
        )
    )  # fmt: skip


def fetch(planned: RoiPlan, provider: Provider) -> Outcome[Patch]:
    """The pixels of a plan, every input of the model side by side."""
    return collect(provider.fetch(one) for one in planned.fetches).map(stack_patches)


def job(planned: RoiPlan, patch: Patch) -> Outcome[Job]:
    """A plan and the patch fetched for it, ready to be cut into windows.

    Fails with ProviderError where no pixel of the patch is valid.
    """
    if not np.isfinite(patch.data).any():
        return Failure(nothing_valid(_names(planned.fetches)))
    row0, col0 = planned.fetched[:2]

    def read(row: int, col: int, height: int, width: int) -> np.ndarray:
        r, c = row - row0, col - col0
        return patch.data[..., r : r + height, c : c + width]

    return Success(Job(planned, read, patch.bands, patch.units, patch.frames, dict(patch.meta)))


def windows(ready: Job) -> Iterator[Windows]:
    """The windows of a ROI one by one, ``B = 1``, in the model's bands and units."""
    planned, model = ready.plan, ready.plan.model
    indices = _band_places(model, ready.bands)
    read = padded(planned, ready.read)
    side = planned.tiling.window_px
    if planned.input_prep == "resize":
        places: Iterable[tuple[int, int]] = [(0, 0)]
        side = planned.roi.height
        lons, lats = planned.roi.centre_lonlat()
        lonlat = np.array([[lons, lats]])
    else:
        places = planned.tiling.windows()
        lonlat = np.stack(window_centres(planned.tiling, planned.roi), axis=-1)
    for i, (row, col) in enumerate(places):
        raw = read(row, col, side, side)
        if planned.fill is not None:
            raw = np.where(np.isfinite(raw), raw, np.float32(planned.fill))
        pixels = in_units(raw, ready.units, indices, model.units)
        if planned.input_prep == "resize" and not _own_resize(model):
            pixels = resize(pixels, planned.tiling.window_px)
        yield Windows(
            pixels[None], model.bands, (ready.frames,), lonlat[i : i + 1], planned.roi.step[0]
        )


def encode_jobs(
    loaded: Loaded,
    jobs: Sequence[Job],
    *,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> list[Field]:
    """The cells of every ROI, run in batches that cross from one ROI to the next."""
    size = batch_size or _BATCH.get(loaded.device.split(":")[0], 8)
    canvases = [Canvas(ready.plan.tiling, ready.plan.model.dim) for ready in jobs]
    total = sum(len(ready.plan.tiling) for ready in jobs)
    done = 0
    queue: list[tuple[int, int, Windows, np.ndarray | None]] = []
    for j, ready in enumerate(jobs):
        masks = _masks(ready)
        for i, window in enumerate(windows(ready)):
            if queue and (len(queue) >= size or queue[0][2].pixels.shape != window.pixels.shape):
                done = _flush(loaded, jobs, queue, canvases, done, total, progress)
            queue.append((j, i, window, masks(i, window)))
    _flush(loaded, jobs, queue, canvases, done, total, progress)
    return [canvas.field() for canvas in canvases]


def stack_windows(parts: Sequence[Windows]) -> Windows:
    """Windows of one shape as one batch."""
    if len(parts) == 1:
        return parts[0]
    return replace(
        parts[0],
        pixels=np.concatenate([part.pixels for part in parts]),
        frames=tuple(frames for part in parts for frames in part.frames),
        lonlat=np.concatenate([part.lonlat for part in parts]),
    )


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
    loaded: Loaded,
    jobs: Sequence[Job],
    queue: list[tuple[int, int, Windows, np.ndarray | None]],
    canvases: Sequence[Canvas],
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
    for k, (j, i, _, mask) in enumerate(queue):
        cells = tokens.grid[k]
        if mask is not None:
            cells = np.where(mask[..., None], cells, np.float32(np.nan))
        image = None if tokens.image is None else tokens.image[k]
        canvases[j].add(i, cells, image)
    done += len(queue)
    queue.clear()
    if progress is not None:
        progress(done, total)
    return done


def _masks(ready: Job) -> Callable[[int, Windows], np.ndarray | None]:
    """Which tokens of a window have a valid pixel, told from the pixels before any fill."""
    planned = ready.plan
    if planned.fill is None and not _own_resize(planned.model):

        def from_window(i: int, window: Windows) -> np.ndarray | None:
            mask = valid_tokens(window.pixels, planned.tiling.token_px)
            return None if mask is None else mask[0]

        return from_window
    read = padded(planned, ready.read)
    places = list(planned.tiling.windows())

    def from_source(i: int, window: Windows) -> np.ndarray | None:
        side = planned.roi.height if planned.input_prep == "resize" else planned.tiling.window_px
        raw = read(*places[i], side, side)[None]
        if planned.input_prep == "resize":
            raw = resize(raw, planned.tiling.window_px)
        mask = valid_tokens(raw, planned.tiling.token_px)
        return None if mask is None else mask[0]

    return from_source


def _own_resize(model: Model) -> bool:
    """Whether the family's ``prepare`` resizes whole images itself, as its authors do."""
    return model.options.get("prepare") == "official"


def _band_places(model: Model, found: Sequence[str]) -> tuple[int, ...]:
    """Where the model's bands are in a patch; plans keep the model's own order."""
    if len(found) == len(model.bands):
        return tuple(range(len(found)))
    outcome = match_bands(model.bands, found, error=ModelError, where="the patch")
    if isinstance(outcome, Failure):
        raise outcome.failure()
    return outcome.unwrap()


def _names(fetches: Sequence[FetchPlan]) -> str:
    return ", ".join(dict.fromkeys(one.collection for one in fetches)) or "the patch"
