"""What the caller asks for: where, when, from which sensor, in which shape.

Constructing a spec never fails; ``check_*`` says whether it is valid, as an Outcome, and
``validate()`` raises what the check found. Every public function checks the specs it is given.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, overload

from returns.result import Failure, Success

from rs_embed.core.errors import SpecError
from rs_embed.core.result import Outcome, unwrap_or_raise

Composite = Literal["median", "mosaic"]
CloudMask = Literal["none", "scl", "cloud_score_plus"]


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
    start, end : str or None
        ``YYYY-MM-DD`` for mode "range"; ``end`` itself is excluded.

    Examples
    --------
    >>> TemporalSpec.year(2022).year
    2022
    >>> TemporalSpec.range("2022-06-01", "2022-09-01").year is None
    True
    """

    mode: Literal["year", "range"]
    year: _Year = _Year()
    start: str | None
    end: str | None

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

    @staticmethod
    def range(start: str | dt.date, end: str | dt.date) -> TemporalSpec:
        """The dates from ``start`` up to, not including, ``end``."""
        return TemporalSpec("range", None, _iso(start), _iso(end))

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
    scale_m : int
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
    scale_m: int = 10
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

    def validate(self) -> None:
        """Raise SpecError unless every field is valid."""
        unwrap_or_raise(check_sensor(self))


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """The shape of an embedding: one vector ``(D,)``, or a grid ``(D, H, W)``.

    Parameters
    ----------
    mode : {"grid", "pooled"}
    scale_m : int
        Cell size of a grid, metres. The default 10 means the model's own token grid.
    pooling : {"mean", "max", "model"}
        Over the valid cells of the ROI; "model" asks for the authors' own image-level vector.
    grid_orientation : {"north_up", "native"}
        "native" turns the rows back to the order of the source.
    """

    mode: Literal["grid", "pooled"]
    scale_m: int = 10
    pooling: Literal["mean", "max", "model"] = "mean"
    grid_orientation: Literal["north_up", "native"] = "north_up"

    @staticmethod
    def pooled(pooling: Literal["mean", "max", "model"] = "mean") -> OutputSpec:
        """One vector ``(D,)`` for the whole ROI."""
        return OutputSpec("pooled", pooling=pooling)

    @staticmethod
    def grid(
        scale_m: int = 10, *, grid_orientation: Literal["north_up", "native"] = "north_up"
    ) -> OutputSpec:
        """A grid ``(D, H, W)`` of vectors, north-up unless asked otherwise."""
        return OutputSpec("grid", scale_m=scale_m, grid_orientation=grid_orientation)

    def validate(self) -> None:
        """Raise SpecError unless every field is valid."""
        unwrap_or_raise(check_output(self))


def check_spatial(spec: SpatialSpec) -> Outcome[SpatialSpec]:
    """The spec itself, or Failure(SpecError) that says what to mend."""
    match spec:
        case BBox():
            problem = _bbox_problem(spec)
        case PointBuffer():
            problem = _point_problem(spec)
        case _:
            problem = f"spatial must be a BBox or a PointBuffer, not {type(spec).__name__}"
    return Failure(SpecError(problem)) if problem else Success(spec)


def check_temporal(spec: TemporalSpec) -> Outcome[TemporalSpec]:
    """The spec itself, or Failure(SpecError) that says what to mend."""
    problem = _temporal_problem(spec)
    return Failure(SpecError(problem)) if problem else Success(spec)


def check_sensor(spec: SensorSpec) -> Outcome[SensorSpec]:
    """The spec itself, or Failure(SpecError) that says what to mend."""
    problem = _sensor_problem(spec)
    return Failure(SpecError(problem)) if problem else Success(spec)


def check_output(spec: OutputSpec) -> Outcome[OutputSpec]:
    """The spec itself, or Failure(SpecError) that says what to mend."""
    problem = _output_problem(spec)
    return Failure(SpecError(problem)) if problem else Success(spec)


def dates(spec: TemporalSpec) -> tuple[dt.date, dt.date]:
    """First date, and the date after the last, of a valid spec."""
    if spec.mode == "year":
        year = int(spec.year)  # type: ignore[call-overload]  # the descriptor gives the value here
        return dt.date(year, 1, 1), dt.date(year + 1, 1, 1)
    return dt.date.fromisoformat(str(spec.start)), dt.date.fromisoformat(str(spec.end))


def _iso(date: str | dt.date | None) -> str | None:
    return date.strftime("%Y-%m-%d") if isinstance(date, dt.date) else date


def _is_number(value: object) -> bool:
    return (isinstance(value, int | float) and not isinstance(value, bool)) or _is_numpy(value)


def _is_numpy(value: object) -> bool:
    import numpy as np

    return isinstance(value, np.integer | np.floating)


def _not_finite(**values: object) -> str | None:
    for name, value in values.items():
        if not _is_number(value):
            return f"{name} must be a number, not {value!r}"
        if not math.isfinite(value):  # type: ignore[arg-type]  # a number by now
            return f"{name} is {value}; give a finite number"
    return None


def _crs_problem(crs: object) -> str | None:
    if crs != "EPSG:4326":
        return f"crs must be 'EPSG:4326', not {crs!r}; convert the coordinates to degrees first"
    return None


def _range_problem(lon_names: dict[str, float], lat_names: dict[str, float]) -> str | None:
    for name, value in lon_names.items():
        if abs(value) > 180:
            return f"{name} {value:g} is outside -180..180; wrap it: {(value + 180) % 360 - 180:g}"
    for name, value in lat_names.items():
        if abs(value) > 90:
            hint = "longitude and latitude may be swapped" if abs(value) <= 180 else "check units"
            return f"{name} {value:g} is outside -90..90; {hint}"
    return None


def _bbox_problem(box: BBox) -> str | None:
    problem = _crs_problem(box.crs) or _not_finite(
        minlon=box.minlon, minlat=box.minlat, maxlon=box.maxlon, maxlat=box.maxlat
    )
    problem = problem or _range_problem(
        {"minlon": box.minlon, "maxlon": box.maxlon}, {"minlat": box.minlat, "maxlat": box.maxlat}
    )
    if problem:
        return problem
    if box.minlon >= box.maxlon:
        return (
            f"minlon {box.minlon:g} must be < maxlon {box.maxlon:g}; swap them, "
            "or split a box that crosses the antimeridian into two at 180"
        )
    if box.minlat >= box.maxlat:
        return f"minlat {box.minlat:g} must be < maxlat {box.maxlat:g}; swap them"
    return None


def _point_problem(point: PointBuffer) -> str | None:
    problem = _crs_problem(point.crs) or _not_finite(
        lon=point.lon, lat=point.lat, buffer_m=point.buffer_m
    )
    problem = problem or _range_problem({"lon": point.lon}, {"lat": point.lat})
    if not problem and point.buffer_m <= 0:
        return f"buffer_m must be > 0 metres, not {point.buffer_m:g}"
    return problem


def _temporal_problem(spec: TemporalSpec) -> str | None:
    if not isinstance(spec, TemporalSpec):
        return f"temporal must be a TemporalSpec, not {type(spec).__name__}"
    year: object = spec.year
    if spec.mode == "year":
        if not isinstance(year, int) or isinstance(year, bool) or not 1 <= year <= 9998:
            return f"year must be a whole number such as 2022, not {year!r}"
        if spec.start is not None or spec.end is not None:
            return "mode 'year' takes no start or end; use TemporalSpec.range(start, end)"
        return None
    if spec.mode != "range":
        return f"mode must be 'year' or 'range', not {spec.mode!r}"
    if year is not None:
        return "mode 'range' takes no year; use TemporalSpec.year(2022)"
    return _dates_problem(spec.start, spec.end)


def _dates_problem(start: object, end: object) -> str | None:
    found: list[dt.date] = []
    for name, text in (("start", start), ("end", end)):
        try:
            if not isinstance(text, str) or len(text) != 10:
                raise ValueError
            found.append(dt.date.fromisoformat(text))
        except ValueError:
            return f"{name} must be a date 'YYYY-MM-DD', not {text!r}"
    if found[0] >= found[1]:
        return (
            f"start {start} must be before end {end}, which is excluded; "
            f"one day is range('{found[0]}', '{found[0] + dt.timedelta(days=1)}')"
            if found[0] < dt.date.max
            else f"start {start} must be before end {end}"
        )
    return None


def _sensor_problem(spec: SensorSpec) -> str | None:
    if not isinstance(spec, SensorSpec):
        return f"sensor must be a SensorSpec, not {type(spec).__name__}"
    if not isinstance(spec.collection, str) or not spec.collection.strip():
        return "collection must name a collection, such as 'COPERNICUS/S2_SR_HARMONIZED'"
    if isinstance(spec.bands, str) or not isinstance(spec.bands, tuple) or not spec.bands:
        return f"bands must be a tuple of names such as ('B4', 'B3', 'B2'), not {spec.bands!r}"
    if any(not isinstance(band, str) or not band for band in spec.bands):
        return f"every band must be a name, not {spec.bands!r}"
    if len(set(spec.bands)) != len(spec.bands):
        return f"bands must be different from each other, not {spec.bands!r}"
    problem = _not_finite(
        scale_m=spec.scale_m, cloudy_pct=spec.cloudy_pct, cloud_threshold=spec.cloud_threshold
    )
    if problem:
        return problem
    if not _is_number(spec.fill_value) or math.isinf(spec.fill_value):
        return f"fill_value must be a finite number or nan, not {spec.fill_value!r}"
    if spec.scale_m <= 0:
        return f"scale_m must be > 0 metres, not {spec.scale_m}"
    if not 0 <= spec.cloudy_pct <= 100:
        return f"cloudy_pct must be 0..100 per cent, not {spec.cloudy_pct}"
    if not 0 <= spec.cloud_threshold <= 1:
        return f"cloud_threshold must be 0..1, not {spec.cloud_threshold}"
    return (
        _choice_problem("composite", spec.composite, ("median", "mosaic"))
        or _choice_problem("cloud_mask", spec.cloud_mask, ("none", "scl", "cloud_score_plus"))
        or _choice_problem("resampling", spec.resampling, ("nearest", "bilinear"))
        or _choice_problem("orbit", spec.orbit, (None, "ASCENDING", "DESCENDING"))
        or _choice_problem("fetch", spec.fetch, ("native", "server"))
    )


def _output_problem(spec: OutputSpec) -> str | None:
    if not isinstance(spec, OutputSpec):
        return f"output must be an OutputSpec, not {type(spec).__name__}"
    problem = (
        _choice_problem("mode", spec.mode, ("grid", "pooled"))
        or _choice_problem("pooling", spec.pooling, ("mean", "max", "model"))
        or _choice_problem("grid_orientation", spec.grid_orientation, ("north_up", "native"))
        or _not_finite(scale_m=spec.scale_m)
    )
    if not problem and spec.scale_m <= 0:
        return f"scale_m must be > 0 metres, not {spec.scale_m}"
    return problem


def _choice_problem(name: str, value: object, allowed: tuple[object, ...]) -> str | None:
    if value in allowed:
        return None
    return f"{name} must be one of {', '.join(map(repr, allowed))}, not {value!r}"
