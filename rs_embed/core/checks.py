"""What is wrong with a spec, in words: what was given, what is allowed, what to do next."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping

from returns.result import Failure

from rs_embed.core.units import check_units

# The ISO forms of a date that Python reads besides this one (2022-W01-1) are not accepted.
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
# The words that a choice of imagery allows.
_WORDS: dict[str, tuple[str | None, ...]] = {
    "composite": ("median", "mosaic"),
    "cloud_mask": ("none", "scl", "cloud_score_plus"),
    "resampling": ("nearest", "bilinear"),
    "orbit": (None, "ASCENDING", "DESCENDING"),
    "fetch": ("native", "server"),
}
_HALF_WAY_ROUND_M = 20_000_000
_LARGEST = 1e300  # beyond it, arithmetic overflows


def bbox_problem(
    minlon: float, minlat: float, maxlon: float, maxlat: float, crs: object
) -> str | None:
    """What is wrong with a box, or None."""
    problem = _crs_problem(crs) or _not_finite(
        minlon=minlon, minlat=minlat, maxlon=maxlon, maxlat=maxlat
    )
    problem = problem or _range_problem(
        {"minlon": minlon, "maxlon": maxlon}, {"minlat": minlat, "maxlat": maxlat}
    )
    if problem:
        return problem
    if minlon == maxlon or minlat == maxlat:
        return (
            f"the box {minlon}, {minlat}, {maxlon}, {maxlat} is empty; "
            "give minlon < maxlon and minlat < maxlat, or a PointBuffer for a point"
        )
    if minlon > maxlon:
        return (
            f"minlon {minlon} must be < maxlon {maxlon}; swap them, "
            "or split a box that crosses the antimeridian into two at 180"
        )
    if minlat > maxlat:
        return f"minlat {minlat} must be < maxlat {maxlat}; swap them"
    return None


def point_problem(lon: float, lat: float, buffer_m: float, crs: object) -> str | None:
    """What is wrong with a point and its buffer, or None."""
    problem = (
        _crs_problem(crs)
        or _not_finite(lon=lon, lat=lat)
        or _range_problem({"lon": lon}, {"lat": lat})
        or _not_positive_metres("buffer_m", buffer_m)
    )
    if not problem and buffer_m > _HALF_WAY_ROUND_M:
        return f"buffer_m {buffer_m} m reaches round the Earth; give metres, half of a side"
    return problem


def temporal_problem(mode: object, year: object, start: object, end: object) -> str | None:
    """What is wrong with a year or a range of dates, or None."""
    problem = _choice_problem("mode", mode, ("year", "range"))
    if problem:
        return problem
    if mode == "year":
        if not isinstance(year, int) or isinstance(year, bool) or not 1 <= year <= 9998:
            return f"year must be a whole number such as 2022, not {_short(year)}"
        if start is not None or end is not None:
            return "mode 'year' takes no start or end; use TemporalSpec.range(start, end)"
        return None
    if year is not None:
        return "mode 'range' takes no year; use TemporalSpec.year(2022)"
    return _dates_problem(start, end)


def _dates_problem(start: object, end: object) -> str | None:
    found: list[dt.date] = []
    for name, text in (("start", start), ("end", end)):
        try:
            if not isinstance(text, str) or not _DATE.fullmatch(text):
                raise ValueError
            found.append(dt.date.fromisoformat(text))
        except ValueError:
            return f"{name} must be a date 'YYYY-MM-DD', not {text!r}"
    if found[0] >= found[1]:
        return (
            f"start {start} must be before end {end}, which is excluded; swap them, or end one "
            "day after the last day that counts"
        )
    return None


def sensor_problem(
    *,
    collection: object,
    bands: object,
    scale_m: object,
    cloudy_pct: object,
    fill_value: object,
    cloud_threshold: object,
    check_save_dir: object,
    units: object,
    switches: Mapping[str, object],
    words: Mapping[str, object],
) -> str | None:
    """What is wrong with a choice of imagery, or None."""
    if not isinstance(collection, str) or not collection.strip():
        return (
            "collection must name a collection, such as 'COPERNICUS/S2_SR_HARMONIZED', "
            f"not {collection!r}"
        )
    return (
        _bands_problem(bands)
        or _not_positive_metres("scale_m", scale_m)
        or _not_between("cloudy_pct", cloudy_pct, 0, 100)
        or _fill_problem(fill_value)
        or _not_between("cloud_threshold", cloud_threshold, 0, 1)
        or _first(_choice_problem(name, words[name], _WORDS[name]) for name in _WORDS)
        or _first(_not_bool(name, value) for name, value in switches.items())
        or _folder_problem(check_save_dir)
        or _units_problem(units)
    )


def _first(problems: Iterable[str | None]) -> str | None:
    return next((problem for problem in problems if problem), None)


def _bands_problem(bands: object) -> str | None:
    if not isinstance(bands, tuple) or not bands:
        return f"bands must be a tuple of names such as ('B4', 'B3', 'B2'), not {bands!r}"
    for band in bands:
        if not isinstance(band, str) or not band.strip():
            return f"every band must be a name, not {band!r}"
    if len(set(bands)) != len(bands):
        return f"bands must be different from each other, not {bands!r}"
    return None


def _not_between(name: str, value: object, low: float, high: float) -> str | None:
    problem = _not_finite(**{name: value})
    if not problem and not low <= value <= high:  # type: ignore[operator]  # a number by now
        return f"{name} must be {low:g}..{high:g}, not {value}"
    return problem


def _fill_problem(value: object) -> str | None:
    if _is_number(value) and (value != value or _not_finite(fill_value=value) is None):
        return None
    return f"fill_value must be a finite number or nan, not {_short(value)}"


def _not_bool(name: str, value: object) -> str | None:
    return None if isinstance(value, bool) else f"{name} must be True or False, not {value!r}"


def _folder_problem(folder: object) -> str | None:
    if folder is None or (isinstance(folder, str) and folder):
        return None
    return f"check_save_dir must be the path of a folder as text, or None, not {folder!r}"


def _units_problem(units: object) -> str | None:
    if units is None:
        return None
    if not isinstance(units, str):
        return f"units must be a name or None, not {units!r}"
    found = check_units(units)
    return str(found.failure()) if isinstance(found, Failure) else None


def output_problem(
    mode: object,
    pooling: object,
    grid_orientation: object,
    scale_m: object,
    resample_m: object,
) -> str | None:
    """What is wrong with a wished output, or None."""
    return (
        _choice_problem("mode", mode, ("grid", "pooled"))
        or _choice_problem("pooling", pooling, ("mean", "max", "model"))
        or _choice_problem("grid_orientation", grid_orientation, ("north_up", "native"))
        or _not_positive_metres("scale_m", scale_m)
        or _resample_problem(mode, scale_m, resample_m)
    )


def _resample_problem(mode: object, scale_m: object, resample_m: object) -> str | None:
    if resample_m is None:
        return None
    problem = _not_positive_metres("resample_m", resample_m)
    if problem:
        return problem
    if mode != "grid":
        return "resample_m is the size of a grid's cells; use OutputSpec.grid(resample_m=...)"
    if scale_m != 10:
        return (
            f"scale_m {scale_m} and resample_m {resample_m} both ask for a size of cells; give "
            "one of the two"
        )
    return None


def _choice_problem(name: str, value: object, allowed: tuple[str | None, ...]) -> str | None:
    if (value is None or isinstance(value, str)) and value in allowed:
        return None
    return f"{name} must be one of {', '.join(map(repr, allowed))}, not {value!r}"


def _short(value: object) -> str:
    """A value for a message; whole numbers of hundreds of digits stay readable."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _LARGEST:
        return "a whole number too large to use"
    return repr(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _not_finite(**values: object) -> str | None:
    for name, value in values.items():
        if not _is_number(value):
            return f"{name} must be a number, not {value!r}"
        if not abs(value) <= _LARGEST:  # type: ignore[arg-type]  # a number by now; or NaN
            return f"{name} is {_short(value)}; give a finite number"
    return None


def _not_positive_metres(name: str, value: object) -> str | None:
    problem = _not_finite(**{name: value})
    if not problem and value <= 0:  # type: ignore[operator]  # a number by now
        return f"{name} must be > 0 metres, not {value}"
    return problem


def _crs_problem(crs: object) -> str | None:
    if not isinstance(crs, str) or crs != "EPSG:4326":
        return f"crs must be 'EPSG:4326', not {crs!r}; convert the coordinates to degrees first"
    return None


def _range_problem(lon_names: dict[str, float], lat_names: dict[str, float]) -> str | None:
    for name, value in lon_names.items():
        if abs(value) > 180:
            return f"{name} {value} is outside -180..180; wrap it: {(value + 180) % 360 - 180:g}"
    for name, value in lat_names.items():
        if abs(value) > 90:
            hint = (
                "longitude and latitude may be swapped"
                if abs(value) <= 180
                else "give degrees, not metres"
            )
            return f"{name} {value} is outside -90..90; {hint}"
    return None
