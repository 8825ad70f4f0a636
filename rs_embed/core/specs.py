"""What the caller asks for: where, when, from which sensor, in which shape.

Constructing a spec never fails; ``check_*`` says whether it is valid, as an Outcome, and
``validate()`` raises what the check found. Every public function checks the specs it is given.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar, overload

from returns.result import Failure, Success

from rs_embed.core import checks
from rs_embed.core.errors import SpecError
from rs_embed.core.result import Outcome, unwrap_or_raise
from rs_embed.core.scalars import tidy_scalars

Composite = Literal["median", "mosaic"]
CloudMask = Literal["none", "scl", "cloud_score_plus"]
Spec = TypeVar("Spec")


@dataclass(frozen=True, slots=True)
class BBox:
    """A box in degrees of longitude and latitude (EPSG:4326).

    Parameters
    ----------
    minlon, minlat, maxlon, maxlat : float
        Degrees; ``minlon < maxlon`` and ``minlat < maxlat``.
    crs : str
        Only ``"EPSG:4326"``.
    """

    minlon: float
    minlat: float
    maxlon: float
    maxlat: float
    crs: str = "EPSG:4326"

    def __post_init__(self) -> None:
        tidy_scalars(self, "minlon", "minlat", "maxlon", "maxlat")

    def validate(self) -> None:
        """Raise SpecError unless the bounds are valid."""
        unwrap_or_raise(check_spatial(self))


@dataclass(frozen=True, slots=True)
class PointBuffer:
    """A square centred on a point, ``2 * buffer_m`` metres a side on the ground.

    Parameters
    ----------
    lon, lat : float
        Degrees (EPSG:4326).
    buffer_m : float
        Half of the side, metres; greater than zero.
    crs : str
        Only ``"EPSG:4326"``.
    """

    lon: float
    lat: float
    buffer_m: float
    crs: str = "EPSG:4326"

    def __post_init__(self) -> None:
        tidy_scalars(self, "lon", "lat", "buffer_m")

    def validate(self) -> None:
        """Raise SpecError unless the point and the buffer are valid."""
        unwrap_or_raise(check_spatial(self))


SpatialSpec: TypeAlias = BBox | PointBuffer


class _Year:
    """``TemporalSpec.year``: a constructor on the class, the stored value on an instance."""

    @overload
    def __get__(
        self, instance: None, owner: type[TemporalSpec]
    ) -> Callable[[int], TemporalSpec]: ...

    @overload
    def __get__(self, instance: TemporalSpec, owner: type[TemporalSpec]) -> int | None: ...

    def __get__(self, instance: TemporalSpec | None, owner: type[TemporalSpec]) -> Any:
        # An instance keeps its year in __dict__, which is looked up first: this descriptor
        # defines no __set__, so it answers for the class alone.
        def year(year: int) -> TemporalSpec:
            """The calendar year ``[year-01-01, year+1-01-01)``."""
            return owner("year", year, None, None)

        return year


@dataclass(frozen=True, init=False)
class TemporalSpec:
    """A year, or a half-open range of dates ``[start, end)``, in UTC.

    Parameters
    ----------
    mode : {"year", "range"}
    year : int or None
        The calendar year, for mode "year".
    start, end : str, date or None
        ``YYYY-MM-DD`` for mode "range"; ``end`` itself is excluded. A date is kept as text.

    Examples
    --------
    >>> TemporalSpec.year(2022).year
    2022
    >>> TemporalSpec.range("2022-06-01", "2022-09-01").year is None
    True
    """

    mode: Literal["year", "range"]
    year: _Year = _Year()
    start: str | None = None
    end: str | None = None

    def __init__(
        self,
        mode: Literal["year", "range"],
        year: int | None,
        start: str | dt.date | None,
        end: str | dt.date | None,
    ) -> None:
        for name, value in (
            ("mode", mode), ("year", year), ("start", _iso(start)), ("end", _iso(end)),
        ):  # fmt: skip
            object.__setattr__(self, name, value)
        tidy_scalars(self, "year")

    @staticmethod
    def range(start: str | dt.date, end: str | dt.date) -> TemporalSpec:
        """The dates from ``start`` up to, not including, ``end``."""
        return TemporalSpec("range", None, start, end)

    def validate(self) -> None:
        """Raise SpecError unless the year or the range is valid."""
        unwrap_or_raise(check_temporal(self))


@dataclass(frozen=True, slots=True)
class SensorSpec:
    """Which imagery to take, and how to composite it.

    Parameters
    ----------
    collection : str
        Earth Engine collection or image id.
    bands : tuple of str
        Band names.
    scale_m : int or float
        Pixel size, metres.
    cloudy_pct : int
        Scenes with more cloud than this, in per cent, are left out where the collection tells.
    fill_value : float
        Stands for missing pixels, in the units of the source.
    composite : {"median", "mosaic"}
        Over the temporal window; a mosaic has the last date on top.
    check_input, check_raise, check_save_dir
        Input checks before the model runs; see `rs_embed.inspect_gee_patch`.
    cloud_mask : {"none", "scl", "cloud_score_plus"}
        Cloud masking of Sentinel-2 pixel by pixel, before compositing.
    cloud_threshold : float
        Least Cloud Score+ ``cs_cdf`` of a pixel that is kept, 0 to 1.
    resampling : {"nearest", "bilinear"}
        How source pixels reach the grid.
    orbit : {None, "ASCENDING", "DESCENDING"}
        Sentinel-1 pass; None takes both.
    units : str or None
        Units of a collection that the library does not know.
    fetch : {"native", "server"}
        Coarser than the source: average its finest pixels here, or read Earth Engine's pyramids.
    """

    collection: str
    bands: tuple[str, ...]
    scale_m: float = 10
    cloudy_pct: int = 30
    fill_value: float = 0.0
    composite: Composite = "median"
    check_input: bool = False
    check_raise: bool = True
    check_save_dir: str | None = None
    cloud_mask: CloudMask = "none"
    cloud_threshold: float = 0.6
    resampling: Literal["nearest", "bilinear"] = "nearest"
    orbit: Literal["ASCENDING", "DESCENDING"] | None = None
    units: str | None = None
    fetch: Literal["native", "server"] = "native"

    def __post_init__(self) -> None:
        if isinstance(self.bands, list):
            object.__setattr__(self, "bands", tuple(self.bands))
        tidy_scalars(
            self, "scale_m", "cloudy_pct", "fill_value", "cloud_threshold", "check_input",
            "check_raise",
        )  # fmt: skip

    def validate(self) -> None:
        """Raise SpecError unless every field is valid."""
        unwrap_or_raise(check_sensor(self))


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """The shape of an embedding: one vector ``(D,)``, or a grid ``(D, H, W)``.

    Parameters
    ----------
    mode : {"grid", "pooled"}
    scale_m : int, float or None
        Cell size of a grid, metres. The default 10, typed or not, means the model's own token
        grid, and so does None; any other value resamples it.
    pooling : {"mean", "max", "model"}
        Over the valid cells of the ROI; "model" asks for the authors' own image-level vector.
    grid_orientation : {"north_up", "native"}
        "native" turns the rows back to the order of the source.
    resample_m : int, float or None
        Cells of exactly so many metres, 10 included.
    """

    mode: Literal["grid", "pooled"]
    scale_m: float | None = 10
    pooling: Literal["mean", "max", "model"] = "mean"
    grid_orientation: Literal["north_up", "native"] = "north_up"
    resample_m: float | None = None

    def __post_init__(self) -> None:
        if self.scale_m is None:
            object.__setattr__(self, "scale_m", 10)
        tidy_scalars(self, "scale_m", "resample_m")

    @property
    def cell_m(self) -> float | None:
        """Metres a cell that the grid is resampled to; None for the model's own token grid."""
        if self.mode != "grid":
            return None
        if self.resample_m is not None:
            return float(self.resample_m)
        return None if self.scale_m is None or self.scale_m == 10 else float(self.scale_m)

    @staticmethod
    def pooled(pooling: Literal["mean", "max", "model"] = "mean") -> OutputSpec:
        """One vector ``(D,)`` for the whole ROI."""
        return OutputSpec("pooled", pooling=pooling)

    @staticmethod
    def grid(
        scale_m: float | None = 10,
        *,
        grid_orientation: Literal["north_up", "native"] = "north_up",
        resample_m: float | None = None,
    ) -> OutputSpec:
        """A grid ``(D, H, W)`` of vectors, north-up unless asked otherwise.

        ``scale_m`` 10 or None is the model's own token grid, any other value resamples it;
        ``resample_m`` asks for cells of exactly so many metres.
        """
        return OutputSpec(
            "grid", scale_m=scale_m, grid_orientation=grid_orientation, resample_m=resample_m
        )

    def validate(self) -> None:
        """Raise SpecError unless every field is valid."""
        unwrap_or_raise(check_output(self))


def check_spatial(spec: SpatialSpec) -> Outcome[SpatialSpec]:
    """The spec itself, or Failure(SpecError) that says what to mend."""
    match spec:
        case BBox():
            return _checked(
                spec,
                checks.bbox_problem(spec.minlon, spec.minlat, spec.maxlon, spec.maxlat, spec.crs),
            )
        case PointBuffer():
            return _checked(spec, checks.point_problem(spec.lon, spec.lat, spec.buffer_m, spec.crs))
    return _wrong_type("spatial", spec, "BBox(...) or PointBuffer(...)")


def check_temporal(spec: TemporalSpec) -> Outcome[TemporalSpec]:
    """The spec itself, or Failure(SpecError) that says what to mend."""
    if not isinstance(spec, TemporalSpec):
        return _wrong_type("temporal", spec, "TemporalSpec.year(...) or TemporalSpec.range(...)")
    return _checked(spec, checks.temporal_problem(spec.mode, spec.year, spec.start, spec.end))


def check_sensor(spec: SensorSpec) -> Outcome[SensorSpec]:
    """The spec itself, or Failure(SpecError) that says what to mend."""
    if not isinstance(spec, SensorSpec):
        return _wrong_type("sensor", spec, "SensorSpec(...)")
    problem = checks.sensor_problem(
        collection=spec.collection,
        bands=spec.bands,
        scale_m=spec.scale_m,
        cloudy_pct=spec.cloudy_pct,
        fill_value=spec.fill_value,
        cloud_threshold=spec.cloud_threshold,
        check_save_dir=spec.check_save_dir,
        units=spec.units,
        switches={"check_input": spec.check_input, "check_raise": spec.check_raise},
        words={
            "composite": spec.composite, "cloud_mask": spec.cloud_mask, "fetch": spec.fetch,
            "resampling": spec.resampling, "orbit": spec.orbit,
        },
    )  # fmt: skip
    return _checked(spec, problem)


def check_output(spec: OutputSpec) -> Outcome[OutputSpec]:
    """The spec itself, or Failure(SpecError) that says what to mend."""
    if not isinstance(spec, OutputSpec):
        return _wrong_type("output", spec, "OutputSpec.pooled() or OutputSpec.grid()")
    return _checked(
        spec,
        checks.output_problem(
            spec.mode, spec.pooling, spec.grid_orientation, spec.scale_m, spec.resample_m
        ),
    )


def dates(spec: TemporalSpec) -> tuple[dt.date, dt.date]:
    """First date, and the date after the last, of a valid spec."""
    if spec.year is not None:
        return dt.date(spec.year, 1, 1), dt.date(spec.year + 1, 1, 1)
    return dt.date.fromisoformat(str(spec.start)), dt.date.fromisoformat(str(spec.end))


def _iso(date: object) -> Any:
    """A date as text; a moment inside a day is written out in full, which no check accepts."""
    if isinstance(date, dt.datetime):
        midnight = date.time() == dt.time() and not date.utcoffset()
        return date.date().isoformat() if midnight else date.isoformat()
    return date.isoformat() if isinstance(date, dt.date) else date


def _checked(spec: Spec, problem: str | None) -> Outcome[Spec]:
    return Failure(SpecError(problem)) if problem else Success(spec)


def _wrong_type(name: str, given: object, wanted: str) -> Outcome[Any]:
    return Failure(SpecError(f"{name} must be {wanted}, not {type(given).__name__}"))
