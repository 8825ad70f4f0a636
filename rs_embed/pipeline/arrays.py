"""An array in, an embedding out: what `.rsembed` does, as functions that return Outcomes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from returns.result import Failure, Result, Success

from rs_embed.core.crs import is_geographic
from rs_embed.core.embedding import FEATURE, Embedding
from rs_embed.core.errors import ProviderError, RsEmbedError, SpecError
from rs_embed.core.grid import Grid
from rs_embed.core.model import Model, ModelChoice
from rs_embed.core.patch import Patch
from rs_embed.core.result import Outcome, caused, collect
from rs_embed.core.token_grid import TokenGrid
from rs_embed.embedders.catalog import find_model
from rs_embed.embedders.runtime import LoadedModel, load
from rs_embed.pipeline.array_plan import ArrayPlan, plan_array, validate_array
from rs_embed.pipeline.array_report import ArrayReport, TilingSummary, report, tiling_summary
from rs_embed.pipeline.assemble import assemble_embedding, build_meta
from rs_embed.pipeline.encoding import TiledInput, encoded
from rs_embed.pipeline.options import ArrayOptions, Bands, EmbedOptions
from rs_embed.pipeline.steps import (
    check_values,
    open_input,
    provenance,
    south_up,
)
from rs_embed.pipeline.time_series import stack_dates
from rs_embed.providers.array import ArrayProvider
from rs_embed.raster import read_xarray
from rs_embed.raster.dims import identify_dims
from rs_embed.raster.embedding_array import cells_grid
from rs_embed.raster.georeference import georeference
from rs_embed.raster.naming import Units, band_names
from rs_embed.raster.sources import note_sources

if TYPE_CHECKING:
    import xarray as xr

Choice: TypeAlias = str | ModelChoice
MAX_NAMES = 13  # as many bands as Sentinel-2 has


@overload
def embed_array(
    obj: xr.DataArray | xr.Dataset, model: Choice, options: EmbedOptions, array: ArrayOptions = ...
) -> Outcome[xr.DataArray]: ...


@overload
def embed_array(
    obj: xr.DataArray | xr.Dataset,
    model: list[Choice] | tuple[Choice, ...],
    options: EmbedOptions,
    array: ArrayOptions = ...,
) -> Outcome[dict[Choice, xr.DataArray]]: ...


def embed_array(
    obj: xr.DataArray | xr.Dataset,
    model: Choice | list[Choice] | tuple[Choice, ...],
    options: EmbedOptions,
    array: ArrayOptions = ArrayOptions(),  # noqa: B008  # frozen
) -> Outcome[Any]:
    """The embedding of an array; of several models a dict by what was given.

    ``("feature", "y", "x")``, ``("feature",)`` when pooled; in front of them ``"time"`` where a
    single-date model runs on each date of a time axis.

    Fails with SpecError for an array or options that cannot be used, with ModelError for an
    unknown model, option or device.
    """

    def one(found: Model) -> Outcome[xr.DataArray]:
        return Result.do(
            done
            for plan in plan_array(validate_array(obj, found, options, array))
            for loaded in load(found, options.device)
            for done in _embed_plan(plan, loaded, options)
        ).map(lambda done: note_sources(done, obj))

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
    options: EmbedOptions,
    array: ArrayOptions = ArrayOptions(),  # noqa: B008  # frozen
) -> Outcome[ArrayReport]:
    """What would happen to an array. Runs nothing, loads no weights, computes no pixel.

    An array or option that cannot be used is told in ``problems``. Fails with ModelError for an
    unknown model, variant or option of it alone.
    """
    return find_model(model).map(lambda found: report(validate_array(obj, found, options, array)))


def tiles_of(
    obj: xr.DataArray | xr.Dataset,
    model: Choice,
    options: EmbedOptions,
    array: ArrayOptions = ArrayOptions(),  # noqa: B008  # frozen
) -> Outcome[TilingSummary]:
    """Output grid, windows and memory of an embedding. Fails as `embed_array` would."""
    return Result.do(
        tiling_summary(plan, options.output)
        for found in find_model(model)
        for plan in plan_array(validate_array(obj, found, options, array))
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


def _embed_plan(
    plan: ArrayPlan, loaded: LoadedModel, options: EmbedOptions
) -> Outcome[xr.DataArray]:
    sources = plan.sources()
    return collect(map(open_input, plan.plans, sources)).bind(
        lambda tiled: _embed_dates(plan, loaded, options, tiled, sources)
    )


def _embed_dates(
    plan: ArrayPlan,
    loaded: LoadedModel,
    options: EmbedOptions,
    tiled: Sequence[TiledInput],
    sources: Sequence[ArrayProvider],
) -> Outcome[xr.DataArray]:
    """The embedding of one date, or those of all along ``"time"``."""
    grids = encoded(loaded, tiled, batch_size=options.batch_size, progress=options.progress)
    failed = next((grid for grid in grids if isinstance(grid, Failure)), None)
    if failed is not None:
        return Failure(failed.failure())
    checked = check_values(tiled, options.strict)
    if isinstance(checked, Failure):
        return checked
    dates = _assembled(options, tiled, grids, loaded, sources)
    if plan.times is None:
        return next(dates)[0].map(Embedding.to_xarray)
    return stack_dates(dates, plan.times)


def _assembled(
    options: EmbedOptions,
    tiled: Sequence[TiledInput],
    grids: list[Outcome[TokenGrid]],
    loaded: LoadedModel,
    sources: Sequence[ArrayProvider],
) -> Iterator[tuple[Outcome[Embedding], dict[str, Any]]]:
    """The embedding of each date, and its description. Takes the cells out of the list one by one,
    so that those of a long series and the result are not held side by side.
    """
    for one, source in zip(tiled, sources, strict=True):
        grid = grids.pop(0).unwrap()
        origin = provenance(one, loaded, source)
        turn = south_up(one)
        meta = build_meta(one.plan, grid, options.output, origin, flip_rows=turn)
        done = assemble_embedding(one.plan, grid, options.output, origin, flip_rows=turn).alt(
            _nothing_valid
        )
        del grid
        yield done, meta


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
