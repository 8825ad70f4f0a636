"""What a caller asks for, as one value; and the checks of it, the same for every door."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from returns.result import Failure, Result, Success

from rs_embed.core.errors import ModelError, SpecError
from rs_embed.core.model import Model
from rs_embed.core.patch import Interval
from rs_embed.core.plan import RoiPlan, check_layout
from rs_embed.core.resample import check_cells
from rs_embed.core.result import Outcome
from rs_embed.core.scalars import tidy_scalars
from rs_embed.core.specs import (
    OutputSpec,
    SensorSpec,
    TemporalSpec,
    check_output,
    check_sensor,
)
from rs_embed.embedders.runtime import check_dates

if TYPE_CHECKING:
    from rs_embed.raster.naming import Units

Progress = Callable[[int, int], None]
"""``progress(done, total)``, counted in windows."""
Bands: TypeAlias = Mapping[str, str] | Sequence[str] | None


@dataclass(frozen=True)
class EmbedOptions:
    """The keywords of an embedding, whichever door they came through.

    `rs_embed.get_embedding` describes them. ``sensor``, ``backend`` and ``source`` say where a
    place's pixels come from; an array has its own.
    """

    output: OutputSpec
    temporal: TemporalSpec | None = None
    sensor: SensorSpec | None = None
    backend: str = "gee"
    source: Any = None
    device: str = "auto"
    input_prep: str = "native"
    overlap: int = 0
    batch_size: int | None = None
    progress: Progress | None = None
    strict: bool = False

    def __post_init__(self) -> None:
        tidy_scalars(self, "overlap", "batch_size", "strict")


@dataclass(frozen=True)
class ArrayOptions:
    """The keywords that only arrays have, as `accessors.pixels` describes them."""

    bands: Bands = None
    units: Units = None
    time: str = "each"
    crs: Any = None


def check_request(model: Model, options: EmbedOptions) -> Outcome[EmbedOptions]:
    """The options themselves, if they are valid and the model can do what they ask.

    Fails with SpecError for an invalid spec or keyword, with ModelError where the model cannot.
    """
    return Result.do(
        options
        for output in check_output(options.output)
        for _ in _check_sensor(options.sensor)
        for _ in _check_running(options.batch_size, options.progress)
        for _ in check_layout(model, options.input_prep, options.overlap)
        for _ in _check_vector(model, output)
    )


def check_plan(planned: RoiPlan, output: OutputSpec) -> Outcome[RoiPlan]:
    """The plan itself, if its dates suit the model and its cells are not too many.

    Fails with ModelError where the family refuses the dates, with SpecError for too many cells.
    """
    return Result.do(
        planned
        for _ in check_dates(planned.model, _intervals(planned))
        for _ in check_cells(planned.roi, output)
    )


def check_array_options(array: ArrayOptions) -> Outcome[ArrayOptions]:
    """The options themselves, or Failure(SpecError) where ``bands`` is none."""
    bands: Any = array.bands
    if bands is None or isinstance(bands, Mapping | list | tuple):
        return Success(array)
    return Failure(
        SpecError(
            "bands takes the names of the array's bands in order, such as ('B4', 'B3', 'B2'), or "
            f"stand-ins, such as {{'B8A': 'B8'}}, not {bands!r}"
        )
    )


def _intervals(planned: RoiPlan) -> tuple[Interval, ...]:
    """The dates of a plan's pixels; none where no fetch has time."""
    return next((one.intervals for one in planned.fetch_plans if one.intervals), ())


def _check_sensor(sensor: SensorSpec | None) -> Outcome[SensorSpec | None]:
    return Success(None) if sensor is None else check_sensor(sensor)


def _check_running(batch_size: Any, progress: Any) -> Outcome[None]:
    """Failure(SpecError) where a size is no number of windows, or progress cannot be called."""
    whole = isinstance(batch_size, int) and not isinstance(batch_size, bool)
    if batch_size is not None and not (whole and batch_size > 0):
        return Failure(SpecError(f"batch_size must be a whole number > 0, not {batch_size!r}"))
    if progress is not None and not callable(progress):
        return Failure(SpecError(f"progress must be called as (done, total), not {progress!r}"))
    return Success(None)


def _check_vector(model: Model, output: OutputSpec) -> Outcome[OutputSpec]:
    """Failure(ModelError) where the model has no image-level vector and one is asked for."""
    others = model.spec.image_vector is not None
    if output.pooling == "model" and not (others and model.variant.image_vector):
        name = f"{model.id}:{model.variant.name}" if others else model.id
        return Failure(
            ModelError(
                f"{name} defines no image-level vector of its own; use pooling='mean' or 'max'"
            )
        )
    return Success(output)
