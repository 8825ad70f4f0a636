"""An array in, an embedding out: what `.rsembed` does, as functions that return Outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from returns.result import Failure, Success

from rs_embed.core.crs import is_geographic
from rs_embed.core.embedding import FEATURE, Embedding
from rs_embed.core.errors import ProviderError, RsEmbedError, SpecError
from rs_embed.core.grid import Grid
from rs_embed.core.model import Model, ModelChoice
from rs_embed.core.patch import Patch
from rs_embed.core.result import Outcome, caused, collect
from rs_embed.core.specs import OutputSpec, TemporalSpec
from rs_embed.core.times import TimeGroup
from rs_embed.core.token_grid import TokenGrid
from rs_embed.embedders.catalog import find_model
from rs_embed.embedders.runtime import LoadedModel, load
from rs_embed.pipeline.array_plan import (
    ArrayPlan,
    ArrayReader,
    Bands,
    EmbedOptions,
    plan_array,
    validate_array,
)
from rs_embed.pipeline.array_report import ArrayReport, TilingSummary, report, tiling_summary
from rs_embed.pipeline.assemble import assemble_embedding, describe
from rs_embed.pipeline.steps import Progress, TiledInput, check_running, encoded
from rs_embed.pipeline.time_series import stack_steps
from rs_embed.raster import read_xarray
from rs_embed.raster.dims import identify_dims
from rs_embed.raster.embedding_array import cells_grid
from rs_embed.raster.georeference import georeference
from rs_embed.raster.naming import Units, band_names

if TYPE_CHECKING:
    import xarray as xr

Choice: TypeAlias = str | ModelChoice
MAX_NAMES = 13  # as many bands as Sentinel-2 has


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
    request = EmbedOptions(output, temporal, bands, units, input_prep, overlap, time, crs)

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
) -> Outcome[ArrayReport]:
    """What would happen to an array. Runs nothing, loads no weights, computes no pixel.

    An array or keyword that cannot be used is told in ``problems``. Fails with ModelError for an
    unknown model, variant or option alone.
    """
    request = EmbedOptions(output, temporal, bands, units, input_prep, overlap, time, crs)
    return find_model(model).map(lambda found: report(validate_array(obj, found, request)))


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
) -> Outcome[TilingSummary]:
    """Output grid, windows and memory of an embedding. Fails as `embed_array` would."""
    request = EmbedOptions(output, temporal, bands, units, input_prep, overlap, time, crs)
    return find_model(model).bind(
        lambda found: plan_array(validate_array(obj, found, request)).map(
            lambda plan: tiling_summary(plan, output)
        )
    )


def to_patch(
    obj: xr.DataArray | xr.Dataset, *, bands: Bands = None, units: Units = None, crs: Any = None
) -> Outcome[Patch]:
    """All pixels of an array on its own grid, north-up, ``(T, C, H, W)`` float32.

    ``bands`` as a sequence names the array's bands in order. Fails as reading an array does.
    """
    return read_xarray(obj, bands=bands, units=units, crs=crs).map(
        lambda raster: Patch(
            raster.read(raster.grid), raster.bands, raster.units, raster.grid, raster.intervals,
            dict(raster.notes),
        )
    )  # fmt: skip


def grid_of(obj: Any, crs: Any = None) -> Outcome[Grid]:
    """The grid of an array, of its pixels or of an embedding's cells; rows in their own order."""
    if FEATURE in getattr(obj, "dims", ()):
        return cells_grid(obj)
    return identify_dims(obj).bind(
        lambda layout: georeference(layout, crs).map(
            lambda placed: placed.grid.flip_rows() if placed.south_up else placed.grid
        )
    )


def line_of(obj: xr.DataArray | xr.Dataset) -> str:
    """One line on an array: its grid, and its bands or features; or what is wrong with it."""
    if FEATURE in obj.dims:
        ground = grid_of(obj).map(_ground) if "y" in obj.dims else Success("pooled")
        return f"rs_embed: embedding of {obj.sizes[FEATURE]} features, {_text_or_problem(ground)}"
    bands = identify_dims(obj).bind(
        lambda layout: band_names(layout, None).map(
            lambda names: _listed(names) + _dates(obj, layout.time)
        )
    )
    return (
        f"rs_embed: {_text_or_problem(grid_of(obj).map(_ground))}; bands {_text_or_problem(bands)}"
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more


def _dates(obj: xr.DataArray | xr.Dataset, time: str | None) -> str:
    return f"; {obj.sizes[time]} dates" if time is not None else ""


def _ground(grid: Grid) -> str:
    rows, cols = grid.shape
    unit = "degrees" if is_geographic(grid.crs) else "m"
    name = grid.crs if len(grid.crs) < 20 else "a CRS without code"
    return f"{rows} x {cols} px of {grid.resolution[0]:g} {unit}, {name}"


def _text_or_problem(outcome: Outcome[str]) -> str:
    return f"unknown ({outcome.failure()})" if isinstance(outcome, Failure) else outcome.unwrap()


def _embed_one(
    obj: xr.DataArray | xr.Dataset,
    model: Model,
    request: EmbedOptions,
    device: str,
    batch_size: int | None,
    progress: Progress | None,
) -> Outcome[xr.DataArray]:
    def run(plan: ArrayPlan, loaded: LoadedModel) -> Outcome[xr.DataArray]:
        readers = ArrayReader(plan)
        jobs = readers.jobs()
        return encoded(loaded, jobs, batch_size=batch_size, progress=progress).bind(
            lambda fields: told_of(plan, loaded, readers, jobs, fields)
        )

    def told_of(
        plan: ArrayPlan,
        loaded: LoadedModel,
        readers: ArrayReader,
        jobs: list[TiledInput],
        fields: list[TokenGrid],
    ) -> Outcome[xr.DataArray]:
        told = {"backend": "array", "weights": dict(loaded.provenance)}
        metas = [
            {**told, **_array_meta(plan, step, job), "empty_intervals": readers.empty_intervals(i)}
            for i, (step, job) in enumerate(zip(plan.steps, jobs, strict=True))
        ]
        flip = bool(plan.raster.notes.get("south_up"))
        done = [
            assemble_embedding(job.plan, field, request.output, meta, flip_rows=flip).alt(
                _nothing_valid
            )
            for job, field, meta in zip(jobs, fields, metas, strict=True)
        ]
        if plan.times is None:
            return done[0].map(Embedding.to_xarray)
        full = [
            describe(job.plan, field, request.output, meta)
            for job, field, meta in zip(jobs, fields, metas, strict=True)
        ]
        return stack_steps(done, full, plan.times)

    return check_running(batch_size, progress).bind(
        lambda _: plan_array(validate_array(obj, model, request)).bind(
            lambda plan: load(model, device).bind(lambda loaded: run(plan, loaded))
        )
    )


def _array_meta(plan: ArrayPlan, step: TimeGroup, job: TiledInput) -> dict[str, Any]:
    """What the array and its dates add to the description."""
    notes = {**job.meta, **plan.notes}
    turned = {"south_up": True} if notes.pop("south_up", False) else {}
    return {
        "input": {"bands": list(job.bands), "units": list(job.units), **turned},
        "intervals": [list(interval) for interval in step.intervals],
        "dates": sum(len(inside) for inside in step.indices) if step.intervals else 0,
        **notes,
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
