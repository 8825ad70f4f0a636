"""What a model would meet in an array, found without reading a pixel; and the plan that follows.

`examine` keeps every part with its own outcome, so that a report can name all that stands in the
way at once; `settled` is the plan if every part is well, and `Readers` makes it ready to run.
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
from rs_embed.core.prepare import Read
from rs_embed.core.resample import check_cells
from rs_embed.core.result import Outcome, collect
from rs_embed.core.specs import OutputSpec, TemporalSpec
from rs_embed.core.times import Step, composite, is_series, plan_steps
from rs_embed.core.units import check_convertible, convertible
from rs_embed.embedders.run import check_dates
from rs_embed.pipeline import Job, check_output
from rs_embed.rasters import Raster
from rs_embed.reading import read_xarray, working_grid
from rs_embed.reading.layout import lay_out

if TYPE_CHECKING:
    import xarray as xr

Bands: TypeAlias = Mapping[str, str] | Sequence[str] | None
Units: TypeAlias = str | Mapping[str, str] | None


@dataclass(frozen=True)
class Request:
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
class Findings:
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
    request: Request
    keywords: Outcome[None]
    raster: Outcome[Raster]
    places: Outcome[tuple[int, ...]]
    steps: Outcome[tuple[Step, ...]]
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
    steps: tuple[Step, ...]
    times: xr.DataArray | None
    notes: Mapping[str, Any]


def examine(obj: xr.DataArray | xr.Dataset, model: Model, request: Request) -> Findings:
    """What a model would meet in an array. Nothing is run, loaded or computed."""
    raster = _check_bands(request.bands).bind(
        lambda bands: read_xarray(obj, bands=bands, units=request.units, crs=request.crs)
    )
    return Findings(
        obj,
        model,
        request,
        _check_keywords(model, request),
        raster,
        raster.bind(lambda found: _matched(model, found)),
        raster.bind(
            lambda found: plan_steps(model.cadence, found.frames, request.temporal, request.time)
        ).bind(lambda steps: _dates_fit(model, steps)),
        raster.bind(lambda found: working_grid(found, model.scale_m)).bind(
            lambda ground: _cells_fit(ground, request.output)
        ),
    )


def settled(found: Findings) -> Outcome[ArrayPlan]:
    """The plan of an array, or the first problem."""
    return found.keywords.bind(
        lambda _: found.raster.bind(
            lambda raster: found.places.bind(
                lambda places: found.steps.bind(
                    lambda steps: found.ground.bind(
                        lambda ground: lay_out(found.obj).map(
                            lambda layout: _planned(
                                found, raster, places, steps, *ground, layout.time
                            )
                        )
                    )
                )
            )
        )
    )


class Readers:
    """What reads the array, step by step, and knows what it saw.

    A raster keeps what it computed of a lazy array; letting go of it when the next step begins
    bounds the memory, however many steps there are.
    """

    def __init__(self, plan: ArrayPlan) -> None:
        self._plan = plan
        self._open: tuple[int, Raster] | None = None
        self._seen = [np.zeros(len(step.members), dtype=bool) for step in plan.steps]

    def jobs(self) -> list[Job]:
        """One job for each step."""
        plan = self._plan
        return [
            Job(
                replace(plan.planned, temporal=step.temporal), self._of(i), plan.raster.bands,
                plan.raster.units, step.frames, dict(plan.raster.notes),
            )
            for i, step in enumerate(plan.steps)
        ]  # fmt: skip

    def empty_frames(self, index: int) -> int:
        """Frames of a step in which no valid pixel was met; told once its job has run."""
        frames = len(self._plan.steps[index].frames)
        return int((~self._seen[index][:frames]).sum())

    def _of(self, index: int) -> Read:
        """``read(row, column, height, width)`` of one step."""
        step, grid = self._plan.steps[index], self._plan.planned.roi
        used = sorted({i for inside in step.members for i in inside})
        members = [[used.index(i) for i in inside] for inside in step.members]

        def read(row: int, col: int, height: int, width: int) -> np.ndarray:
            if self._open is None or self._open[0] != index:
                every = range(len(self._plan.raster.bands))
                self._open = (index, self._plan.raster.only(every, used))
            dates = self._open[1].read(grid.window(row, col, height, width))
            pixels = composite(dates, members)
            for i in np.flatnonzero(~self._seen[index]):
                self._seen[index][i] = np.isfinite(pixels[i]).any()
            return pixels

        return read


def _planned(
    found: Findings,
    raster: Raster,
    places: tuple[int, ...],
    steps: tuple[Step, ...],
    grid: Grid,
    notes: dict[str, Any],
    time: str | None,
) -> ArrayPlan:
    model, request = found.model, found.request
    everything = (0.0, 0.0, 0.0, 0.0)  # an array has no pixels beyond its own
    prep = cast("InputPrep", request.input_prep)
    stands = {"stand_ins": dict(raster.stand_ins)} if raster.stand_ins else {}
    planned = place_windows(model, grid, prep, request.overlap, everything)
    times = None
    if time is not None and request.time == "each" and not is_series(model.cadence):
        times = found.obj[time].isel({time: [step.members[0][0] for step in steps]})
    return ArrayPlan(raster.only(places), planned, steps, times, {**notes, **stands})


def _matched(model: Model, raster: Raster) -> Outcome[tuple[int, ...]]:
    return match_bands(model.bands, raster.bands, stand_ins=raster.stand_ins).bind(
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


def _dates_fit(model: Model, steps: tuple[Step, ...]) -> Outcome[tuple[Step, ...]]:
    return collect(check_dates(model, step.frames) for step in steps).map(lambda _: steps)


def _check_keywords(model: Model, request: Request) -> Outcome[None]:
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
