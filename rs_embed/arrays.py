"""An array in, an embedding out: what `.rsembed` does, as functions that return Outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from returns.result import Failure, Success

from rs_embed.cells import FEATURE, cells_grid
from rs_embed.core.crs import is_geographic
from rs_embed.core.errors import ProviderError, RsEmbedError, SpecError
from rs_embed.core.field import Field
from rs_embed.core.grid import Grid
from rs_embed.core.model import Model, ModelChoice
from rs_embed.core.patch import Patch
from rs_embed.core.result import Outcome, caused, collect
from rs_embed.core.specs import OutputSpec, TemporalSpec
from rs_embed.core.times import Step
from rs_embed.describe import describe, finish
from rs_embed.embedders.catalog import find_model
from rs_embed.embedders.run import Loaded, load
from rs_embed.findings import (
    ArrayPlan,
    Bands,
    Readers,
    Request,
    Units,
    examine,
    settled,
)
from rs_embed.georef import embedding_to_xarray
from rs_embed.pipeline import Job, Progress, check_running, encoded
from rs_embed.reading import read_xarray
from rs_embed.reading.georeference import georeference
from rs_embed.reading.layout import lay_out
from rs_embed.reading.naming import band_names
from rs_embed.report import Check, Tiles, report_of, tiles_in
from rs_embed.series import stack_steps

if TYPE_CHECKING:
    import xarray as xr

Choice: TypeAlias = str | ModelChoice
_MOST_NAMES = 13  # as many bands as Sentinel-2 has


@overload
def embed_array(
    obj: xr.DataArray | xr.Dataset,
    model: Choice,
    *,
    output: OutputSpec = ...,
    temporal: TemporalSpec | None = ...,
    bands: Bands = ...,
    units: Units = ...,
    device: str = ...,
    input_prep: str = ...,
    overlap: int = ...,
    batch_size: int | None = ...,
    progress: Progress | None = ...,
    time: str = ...,
    crs: Any = ...,
) -> Outcome[xr.DataArray]: ...


@overload
def embed_array(
    obj: xr.DataArray | xr.Dataset,
    model: list[Choice] | tuple[Choice, ...],
    *,
    output: OutputSpec = ...,
    temporal: TemporalSpec | None = ...,
    bands: Bands = ...,
    units: Units = ...,
    device: str = ...,
    input_prep: str = ...,
    overlap: int = ...,
    batch_size: int | None = ...,
    progress: Progress | None = ...,
    time: str = ...,
    crs: Any = ...,
) -> Outcome[dict[Choice, xr.DataArray]]: ...


def embed_array(
    obj: xr.DataArray | xr.Dataset,
    model: Choice | list[Choice] | tuple[Choice, ...],
    *,
    output: OutputSpec = OutputSpec.grid(),  # noqa: B008  # frozen
    temporal: TemporalSpec | None = None,
    bands: Bands = None,
    units: Units = None,
    device: str = "auto",
    input_prep: str = "native",
    overlap: int = 0,
    batch_size: int | None = None,
    progress: Progress | None = None,
    time: str = "each",
    crs: Any = None,
) -> Outcome[Any]:
    """The embedding of an array; of several models a dict by what was given.

    ``("feature", "y", "x")``, ``("feature",)`` when pooled; in front of them ``"time"`` where a
    single-date model runs on each date of a time axis. `DataArrayAccessor.embed` describes the
    keywords.

    Fails with SpecError for an array or keywords that cannot be used, with ModelError for an
    unknown model, option or device.
    """
    request = Request(output, temporal, bands, units, input_prep, overlap, time, crs)

    def one(found: Model) -> Outcome[xr.DataArray]:
        return _embed_one(obj, found, request, device, batch_size, progress)

    if not isinstance(model, list | tuple):
        return find_model(model).bind(one)
    if not model:
        return Failure(SpecError("the list of models is empty; name at least one"))
    # Every model is looked up before the first one runs.
    return collect([find_model(choice) for choice in model]).bind(
        lambda found: collect(one(chosen) for chosen in found).map(
            lambda arrays: dict(zip(model, arrays, strict=True))
        )
    )


def check_array(
    obj: xr.DataArray | xr.Dataset,
    model: Choice,
    *,
    output: OutputSpec = OutputSpec.grid(),  # noqa: B008  # frozen
    temporal: TemporalSpec | None = None,
    bands: Bands = None,
    units: Units = None,
    input_prep: str = "native",
    overlap: int = 0,
    time: str = "each",
    crs: Any = None,
) -> Outcome[Check]:
    """What would happen to an array. Runs nothing, loads no weights, computes no pixel.

    An array or keyword that cannot be used is told in ``problems``. Fails with ModelError for an
    unknown model, variant or option alone.
    """
    request = Request(output, temporal, bands, units, input_prep, overlap, time, crs)
    return find_model(model).map(lambda found: report_of(examine(obj, found, request)))


def tiles_of(
    obj: xr.DataArray | xr.Dataset,
    model: Choice,
    *,
    output: OutputSpec = OutputSpec.grid(),  # noqa: B008  # frozen
    temporal: TemporalSpec | None = None,
    bands: Bands = None,
    units: Units = None,
    input_prep: str = "native",
    overlap: int = 0,
    time: str = "each",
    crs: Any = None,
) -> Outcome[Tiles]:
    """Output grid, windows and memory of an embedding. Fails as `embed_array` would."""
    request = Request(output, temporal, bands, units, input_prep, overlap, time, crs)
    return find_model(model).bind(
        lambda found: settled(examine(obj, found, request)).map(lambda plan: tiles_in(plan, output))
    )


def to_patch(
    obj: xr.DataArray | xr.Dataset, *, bands: Bands = None, units: Units = None, crs: Any = None
) -> Outcome[Patch]:
    """All pixels of an array on its own grid, north-up, ``(T, C, H, W)`` float32.

    ``bands`` as a sequence names the array's bands in order. Fails as reading an array does.
    """
    return read_xarray(obj, bands=bands, units=units, crs=crs).map(
        lambda raster: Patch(
            raster.read(raster.grid), raster.bands, raster.units, raster.grid, raster.frames,
            dict(raster.notes),
        )
    )  # fmt: skip


def grid_of(obj: Any, crs: Any = None) -> Outcome[Grid]:
    """The grid of an array, of its pixels or of an embedding's cells; rows in their own order."""
    if FEATURE in getattr(obj, "dims", ()):
        return cells_grid(obj)
    return lay_out(obj).bind(
        lambda layout: georeference(layout, crs).map(
            lambda placed: placed.grid.flip_rows() if placed.flipped else placed.grid
        )
    )


def line_of(obj: xr.DataArray | xr.Dataset) -> str:
    """One line on an array: its grid, and its bands or features; or what is wrong with it."""
    if FEATURE in obj.dims:
        ground = grid_of(obj).map(_ground) if "y" in obj.dims else Success("pooled")
        return f"rs_embed: embedding of {obj.sizes[FEATURE]} features, {_told(ground)}"
    bands = lay_out(obj).bind(
        lambda layout: band_names(layout, None).map(
            lambda names: _listed(names) + _dates(obj, layout.time)
        )
    )
    return f"rs_embed: {_told(grid_of(obj).map(_ground))}; bands {_told(bands)}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _dates(obj: xr.DataArray | xr.Dataset, time: str | None) -> str:
    return f"; {obj.sizes[time]} dates" if time is not None else ""


def _ground(grid: Grid) -> str:
    rows, cols = grid.shape
    unit = "degrees" if is_geographic(grid.crs) else "m"
    name = grid.crs if len(grid.crs) < 20 else "a CRS without code"
    return f"{rows} x {cols} px of {grid.step[0]:g} {unit}, {name}"


def _told(outcome: Outcome[str]) -> str:
    return f"unknown ({outcome.failure()})" if isinstance(outcome, Failure) else outcome.unwrap()


def _embed_one(
    obj: xr.DataArray | xr.Dataset,
    model: Model,
    request: Request,
    device: str,
    batch_size: int | None,
    progress: Progress | None,
) -> Outcome[xr.DataArray]:
    def run(plan: ArrayPlan, loaded: Loaded) -> Outcome[xr.DataArray]:
        readers = Readers(plan)
        jobs = readers.jobs()
        return encoded(loaded, jobs, batch_size=batch_size, progress=progress).bind(
            lambda fields: told_of(plan, loaded, readers, jobs, fields)
        )

    def told_of(
        plan: ArrayPlan, loaded: Loaded, readers: Readers, jobs: list[Job], fields: list[Field]
    ) -> Outcome[xr.DataArray]:
        told = {"backend": "array", "weights": dict(loaded.provenance)}
        metas = [
            {**told, **_said(plan, step, job), "empty_frames": readers.empty_frames(i)}
            for i, (step, job) in enumerate(zip(plan.steps, jobs, strict=True))
        ]
        flip = bool(plan.raster.notes.get("flipped_rows"))
        done = [
            finish(job.plan, field, request.output, meta, flip_rows=flip).alt(_nothing_valid)
            for job, field, meta in zip(jobs, fields, metas, strict=True)
        ]
        if plan.times is None:
            return done[0].map(embedding_to_xarray)
        full = [
            describe(job.plan, field, request.output, meta)
            for job, field, meta in zip(jobs, fields, metas, strict=True)
        ]
        return stack_steps(done, full, plan.times)

    return check_running(batch_size, progress).bind(
        lambda _: settled(examine(obj, model, request)).bind(
            lambda plan: load(model, device).bind(lambda loaded: run(plan, loaded))
        )
    )


def _said(plan: ArrayPlan, step: Step, job: Job) -> dict[str, Any]:
    """What the array and its dates add to the description."""
    return {
        "input": {"bands": list(job.bands), "units": list(job.units)},
        "frames": [list(frame) for frame in step.frames],
        "dates": sum(len(inside) for inside in step.members) if step.frames else 0,
        **job.meta,
        **plan.notes,
    }


def _nothing_valid(error: RsEmbedError) -> RsEmbedError:
    """The same of an array: the caller can mend it, not the source."""
    if not isinstance(error, ProviderError):
        return error
    return caused(
        SpecError(
            "not one pixel of the array is valid in the model's bands: all are NaN, or the value "
            "that means missing; check the selection, the mask and da.rio.nodata"
        ),
        by=error,
    )
