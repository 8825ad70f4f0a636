"""What a model would meet in an array, found without reading a pixel; and the plan that follows.

`validate_array` keeps every part with its own outcome, so that a report can name all that stands
in the way at once; `plan_array` is the plan if every part is well, and `ArrayReader` makes it ready
to run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
from returns.result import Failure, Success

from rs_embed.core import specs
from rs_embed.core.bands import match_bands
from rs_embed.core.errors import SpecError
from rs_embed.core.grid import Grid
from rs_embed.core.model import InputSpec, Model
from rs_embed.core.plan import InputPrep, RoiPlan, check_layout, place_windows
from rs_embed.core.prepare import WindowReader
from rs_embed.core.resample import check_cells
from rs_embed.core.result import Outcome, collect
from rs_embed.core.specs import OutputSpec, TemporalSpec
from rs_embed.core.times import TimeGroup, composite, is_series, plan_time_groups
from rs_embed.core.units import check_convertible, convertible
from rs_embed.embedders.runtime import check_dates
from rs_embed.pipeline.steps import TiledInput, check_output
from rs_embed.raster import read_xarray, working_grid
from rs_embed.raster.dims import identify_dims
from rs_embed.raster.naming import Units
from rs_embed.raster.raster import Raster

if TYPE_CHECKING:
    import xarray as xr

Bands: TypeAlias = Mapping[str, str] | Sequence[str] | None


@dataclass(frozen=True)
class EmbedOptions:
    """The keywords of ``embed`` that decide the numbers; see `accessors.dataarray`."""

    output: OutputSpec = field(default_factory=OutputSpec.grid)
    temporal: TemporalSpec | None = None
    bands: Bands = None
    units: Units = None
    input_prep: str = "native"
    overlap: int = 0
    time: str = "each"
    crs: Any = None


@dataclass(frozen=True)
class ArrayValidation:
    """What an array and a request come to; no pixel was read for it.

    Parameters
    ----------
    obj : DataArray or Dataset
    model : Model
    request : Request
    keywords : Outcome[None]
        Whether the keywords are valid for the model.
    raster : Outcome[Raster]
    places : Outcome[tuple of int]
        Where each band of the model is in the raster.
    steps : Outcome[tuple of Step]
    ground : Outcome[(Grid, dict)]
        The working grid and how it came about.
    """

    obj: xr.DataArray | xr.Dataset
    model: Model
    request: EmbedOptions
    keywords: Outcome[None]
    raster: Outcome[Raster]
    places: Outcome[tuple[int, ...]]
    steps: Outcome[tuple[TimeGroup, ...]]
    ground: Outcome[tuple[Grid, dict[str, Any]]]

    def problems(self) -> tuple[str, ...]:
        """What stands in the way, each once."""
        parts = (self.keywords, self.raster, self.places, self.steps, self.ground)
        said = [str(part.failure()) for part in parts if isinstance(part, Failure)]
        return tuple(dict.fromkeys(said))


@dataclass(frozen=True)
class ArrayPlan:
    """What will happen to an array.

    Parameters
    ----------
    raster : Raster
        With the model's bands alone, in its order.
    planned : RoiPlan
        The windows, the same for every step.
    steps : tuple of Step
        One for each embedding.
    times : DataArray or None
        The coordinate of the result's time axis; None where it has none.
    notes : mapping
        What was decided on the way, for ``meta``.
    """

    raster: Raster
    planned: RoiPlan
    steps: tuple[TimeGroup, ...]
    times: xr.DataArray | None
    notes: Mapping[str, Any]


def validate_array(
    obj: xr.DataArray | xr.Dataset, model: Model, request: EmbedOptions
) -> ArrayValidation:
    """What a model would meet in an array. Nothing is run, loaded or computed."""
    raster = _check_bands(request.bands).bind(
        lambda bands: read_xarray(obj, bands=bands, units=request.units, crs=request.crs)
    )
    return ArrayValidation(
        obj,
        model,
        request,
        _check_keywords(model, request),
        raster,
        raster.bind(lambda found: _matched(model, found)),
        raster.bind(
            lambda found: plan_time_groups(
                model.cadence, found.intervals, request.temporal, request.time
            )
        ).bind(lambda steps: _dates_fit(model, steps)),
        raster.bind(lambda found: working_grid(found, model.scale_m)).bind(
            lambda ground: _cells_fit(ground, request.output)
        ),
    )


def plan_array(found: ArrayValidation) -> Outcome[ArrayPlan]:
    """The plan of an array, or the first problem."""
    return found.keywords.bind(
        lambda _: found.raster.bind(
            lambda raster: found.places.bind(
                lambda places: found.steps.bind(
                    lambda steps: found.ground.bind(
                        lambda ground: identify_dims(found.obj).map(
                            lambda layout: _planned(
                                found, raster, places, steps, *ground, layout.time
                            )
                        )
                    )
                )
            )
        )
    )


class ArrayReader:
    """What reads the array, step by step, and knows what it saw.

    A raster keeps what it computed of a lazy array; letting go of it when the next step begins
    bounds the memory, however many steps there are.
    """

    def __init__(self, plan: ArrayPlan) -> None:
        self._plan = plan
        self._open: tuple[int, Raster] | None = None
        self._seen = [np.zeros(len(step.indices), dtype=bool) for step in plan.steps]

    def jobs(self) -> list[TiledInput]:
        """One job for each step."""
        plan = self._plan
        return [
            TiledInput(
                replace(plan.planned, temporal=step.temporal), self._of(i), plan.raster.bands,
                plan.raster.units, step.intervals, dict(plan.raster.notes),
            )
            for i, step in enumerate(plan.steps)
        ]  # fmt: skip

    def empty_intervals(self, index: int) -> int:
        """Frames of a step in which no valid pixel was met; told once its job has run."""
        intervals = len(self._plan.steps[index].intervals)
        return int((~self._seen[index][:intervals]).sum())

    def _of(self, index: int) -> WindowReader:
        """``read(row, column, height, width)`` of one step."""
        step, grid = self._plan.steps[index], self._plan.planned.roi
        used = sorted({i for inside in step.indices for i in inside})
        indices = [[used.index(i) for i in inside] for inside in step.indices]

        def read(row: int, col: int, height: int, width: int) -> np.ndarray:
            if self._open is None or self._open[0] != index:
                every = range(len(self._plan.raster.bands))
                self._open = (index, self._plan.raster.only(every, used))
            dates = self._open[1].read(grid.window(row, col, height, width))
            pixels = composite(dates, indices)
            for i in np.flatnonzero(~self._seen[index]):
                self._seen[index][i] = np.isfinite(pixels[i]).any()
            return pixels

        return read


def _planned(
    found: ArrayValidation,
    raster: Raster,
    places: tuple[int, ...],
    steps: tuple[TimeGroup, ...],
    grid: Grid,
    notes: dict[str, Any],
    time: str | None,
) -> ArrayPlan:
    model, request = found.model, found.request
    everything = (0.0, 0.0, 0.0, 0.0)  # an array has no pixels beyond its own
    prep = cast("InputPrep", request.input_prep)
    stands = {"substitutes": dict(raster.substitutes)} if raster.substitutes else {}
    planned = place_windows(model, grid, prep, request.overlap, everything)
    times = None
    if time is not None and request.time == "each" and not is_series(model.cadence):
        times = found.obj[time].isel({time: [step.indices[0][0] for step in steps]})
    return ArrayPlan(raster.only(places), planned, steps, times, {**notes, **stands})


def _matched(model: Model, raster: Raster) -> Outcome[tuple[int, ...]]:
    return match_bands(model.bands, raster.bands, substitutes=raster.substitutes).bind(
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


def _cells_fit(
    ground: tuple[Grid, dict[str, Any]], output: OutputSpec
) -> Outcome[tuple[Grid, dict[str, Any]]]:
    # An output that is none is the keywords' own problem.
    fits = check_cells(ground[0], output) if isinstance(output, OutputSpec) else Success(None)
    return fits.map(lambda _: ground)


def _dates_fit(model: Model, steps: tuple[TimeGroup, ...]) -> Outcome[tuple[TimeGroup, ...]]:
    return collect(check_dates(model, step.intervals) for step in steps).map(lambda _: steps)


def _check_keywords(model: Model, request: EmbedOptions) -> Outcome[None]:
    return specs.check_output(request.output).bind(
        lambda output: check_output(model, output).bind(
            lambda _: check_layout(model, request.input_prep, request.overlap)
        )
    )


def _check_bands(bands: Any) -> Outcome[Bands]:
    if bands is None or isinstance(bands, Mapping | list | tuple):
        return Success(bands)
    return Failure(
        SpecError(
            "bands takes the names of the array's bands in order, such as ('B4', 'B3', 'B2'), or "
            f"stand-ins, such as {{'B8A': 'B8'}}, not {bands!r}"
        )
    )
