"""What a model would meet in an array, found without reading a pixel; and the plan that follows.

`validate_array` keeps every part with its own outcome, so that a report can name all that stands
in the way at once; `plan_array` is the plan if every part is well. From there on an array is a
source like any other, `rs_embed.providers.array.ArrayProvider`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from returns.result import Failure, Result

from rs_embed.core.errors import SpecError
from rs_embed.core.fetch import FetchPlan
from rs_embed.core.grid import Grid
from rs_embed.core.model import InputSpec, Model
from rs_embed.core.plan import InputPrep, RoiPlan, place_windows
from rs_embed.core.result import Outcome, collect
from rs_embed.core.specs import SensorSpec
from rs_embed.core.times import TimeGroup, is_series, plan_time_groups
from rs_embed.core.units import check_convertible, convertible
from rs_embed.pipeline.options import (
    ArrayOptions,
    EmbedOptions,
    check_array_options,
    check_plan,
    check_request,
)
from rs_embed.providers.array import ArrayProvider
from rs_embed.raster import read_xarray, working_grid
from rs_embed.raster.dims import identify_dims
from rs_embed.raster.raster import Raster

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class ArrayValidation:
    """What an array and a request come to; no pixel was read for it.

    Parameters
    ----------
    obj : DataArray or Dataset
    model : Model
    options : EmbedOptions
    array : ArrayOptions
    request : Outcome[EmbedOptions]
        Whether the options are valid for the model.
    raster : Outcome[Raster]
    places : Outcome[tuple of int]
        Where each band of the model is in the raster.
    groups : Outcome[tuple of TimeGroup]
    ground : Outcome[(Grid, dict)]
        The working grid and how it came about.
    """

    obj: xr.DataArray | xr.Dataset
    model: Model
    options: EmbedOptions
    array: ArrayOptions
    request: Outcome[EmbedOptions]
    raster: Outcome[Raster]
    places: Outcome[tuple[int, ...]]
    groups: Outcome[tuple[TimeGroup, ...]]
    ground: Outcome[tuple[Grid, dict[str, Any]]]

    def problems(self) -> tuple[str, ...]:
        """What stands in the way, each once."""
        parts = (self.request, self.raster, self.places, self.groups, self.ground)
        found = [str(part.failure()) for part in parts if isinstance(part, Failure)]
        whole = plan_array(self)
        if not found and isinstance(whole, Failure):
            found.append(str(whole.failure()))
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class ArrayPlan:
    """What will happen to an array.

    Parameters
    ----------
    raster : Raster
    notes : mapping
        How the working grid came about, for ``meta``.
    plans : tuple of RoiPlan
        One for each embedding; their windows are the same.
    groups : tuple of TimeGroup
        The dates of each.
    times : DataArray or None
        The coordinate of the result's time axis; None where it has none.
    """

    raster: Raster
    notes: Mapping[str, Any]
    plans: tuple[RoiPlan, ...]
    groups: tuple[TimeGroup, ...]
    times: xr.DataArray | None

    def sources(self) -> tuple[ArrayProvider, ...]:
        """What serves each plan. Each lets go of what it keeps once its windows have been read."""
        return tuple(ArrayProvider(self.raster, one.indices, self.notes) for one in self.groups)


def validate_array(
    obj: xr.DataArray | xr.Dataset, model: Model, options: EmbedOptions, array: ArrayOptions
) -> ArrayValidation:
    """What a model would meet in an array. Nothing is run, loaded or computed."""
    raster = check_array_options(array).bind(
        lambda own: read_xarray(obj, bands=own.bands, units=own.units, crs=own.crs)
    )
    return ArrayValidation(
        obj,
        model,
        options,
        array,
        check_request(model, options),
        raster,
        raster.bind(lambda found: _matched(model, found)),
        raster.bind(
            lambda found: plan_time_groups(
                model.cadence, found.intervals, options.temporal, array.time
            )
        ),
        raster.bind(lambda found: working_grid(found, model.scale_m)),
    )


def plan_array(found: ArrayValidation) -> Outcome[ArrayPlan]:
    """The plan of an array, or the first problem."""
    return Result.do(
        plan
        for _ in found.request
        for raster in found.raster
        for places in found.places
        for groups in found.groups
        for ground in found.ground
        for layout in identify_dims(found.obj)
        for plan in _plan(found, raster, places, groups, ground, layout.time)
    )


def _plan(
    found: ArrayValidation,
    raster: Raster,
    places: tuple[int, ...],
    groups: tuple[TimeGroup, ...],
    ground: tuple[Grid, dict[str, Any]],
    time: str | None,
) -> Outcome[ArrayPlan]:
    model, options = found.model, found.options
    grid, notes = ground
    everything = (0.0, 0.0, 0.0, 0.0)  # an array has no pixels beyond its own
    prep = cast("InputPrep", options.input_prep)
    planned = place_windows(model, grid, prep, options.overlap, everything)
    times = None
    if time is not None and found.array.time == "each" and not is_series(model.cadence):
        times = found.obj[time].isel({time: [one.indices[0][0] for one in groups]})
    if raster.substitutes:
        notes = {**notes, "substitutes": dict(raster.substitutes)}
    plans = [_of_group(planned, raster, places, one) for one in groups]
    return collect(check_plan(one, options.output) for one in plans).map(
        lambda checked: ArrayPlan(raster, notes, checked, groups, times)
    )


def _of_group(
    planned: RoiPlan, raster: Raster, places: tuple[int, ...], group: TimeGroup
) -> RoiPlan:
    """The plan of one embedding: the array under no name, at the dates of a group."""
    bands, units = (tuple(of[i] for i in places) for of in (raster.bands, raster.units))
    extent = planned.roi.window(*planned.fetch_window)
    sensor = SensorSpec("", bands, scale_m=planned.roi.resolution[0])
    fetch = FetchPlan("", bands, units, extent, group.intervals, sensor)
    return replace(planned, temporal=group.temporal, fetch_plans=(fetch,))


def _matched(model: Model, raster: Raster) -> Outcome[tuple[int, ...]]:
    return raster.places_of(model.bands).bind(
        lambda places: _units_fit(model, tuple(raster.units[i] for i in places)).map(
            lambda _: places
        )
    )


def _units_fit(model: Model, units: tuple[str, ...]) -> Outcome[None]:
    """Failure(SpecError) that names the modality whose units these are, where there is one."""

    def takes(items: tuple[InputSpec, ...]) -> bool:
        wanted = [item.units for item in items for _ in item.bands]
        return len(wanted) == len(units) and all(map(convertible, units, wanted))

    other = next((name for name, items in model.spec.modalities.items() if takes(items)), None)
    fits = check_convertible(model.bands, units, model.units)
    if other is None:
        return fits
    hint = f"; or take the modality that has them: ModelChoice({model.id!r}, modality={other!r})"
    return fits.alt(lambda error: SpecError(error.message + hint))
