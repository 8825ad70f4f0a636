"""Where the pixels of an xarray object are: its CRS, its transform, and which way its rows run."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from returns.result import Failure, Success

from rs_embed.core.errors import SpecError
from rs_embed.core.grid import Grid
from rs_embed.core.result import Outcome, collect
from rs_embed.raster.dims import DimRoles

# Spacing may vary by this share of a step; coordinates and a transform agree within _SAME of one.
_REGULAR = 1e-6
_SAME = 1e-3
_PLACES = (
    "the coordinate 'spatial_ref' or 'crs' (crs_wkt), attrs['crs'], attrs['epsg'], and the "
    "coordinates 'epsg' and 'proj:code'"
)


@dataclass(frozen=True)
class Axis:
    """Coordinates of one axis: the first, the step, how many, and their rounding in steps."""

    first: float
    step: float
    count: int
    rounding: float = 0.0

    def whole(self, places: float) -> bool:
        """Whether a place, counted in steps, is a whole one within the tolerance."""
        return abs(places - round(places)) <= max(_SAME, self.rounding)


@dataclass(frozen=True)
class Georeference:
    """Where an array is: ``grid`` is north-up; ``south_up`` tells that the array's rows are not."""

    grid: Grid
    south_up: bool
    notes: dict[str, Any] = field(default_factory=dict)


def georeference(layout: DimRoles, crs: str | None) -> Outcome[Georeference]:
    """CRS and transform of the pixels. Fails with SpecError where either is missing or rotated."""
    return find_crs(layout, crs).bind(lambda name: _placed(layout, name))


def find_crs(layout: DimRoles, crs: object = None) -> Outcome[str]:
    """The CRS as ``"EPSG:…"``, or WKT where it has no code.

    Looked for in this order: the argument, ``.rio.crs`` (what ``rio.set_crs`` keeps outside the
    data), a grid mapping coordinate, ``attrs["crs"]``, ``attrs["epsg"]``, the coordinates "epsg"
    and "proj:code".
    """
    if crs is not None:
        return _known(crs, "crs=")
    found = collect(_crs_of(layout, array) for array in layout.arrays)
    return found.bind(lambda names: _agreed(layout, names))


def _agreed(layout: DimRoles, names: tuple[str | None, ...]) -> Outcome[str]:
    different = {name for name in names if name is not None}
    if not different and isinstance(layout.obj, xr.Dataset):
        different = {name for name in [crs_name(_rio_crs(layout.obj))] if name is not None}
    if len(different) > 1:
        return Failure(
            SpecError(
                f"the variables of the Dataset have different CRS: {', '.join(sorted(different))}; "
                "bring them onto one grid, or pass crs="
            )
        )
    if not different:
        return Failure(
            SpecError(
                f"the array has no CRS (looked in {_PLACES}); write it with "
                "da.rio.write_crs('EPSG:32719') or pass crs='EPSG:32719'"
            )
        )
    return Success(different.pop())


def _crs_of(layout: DimRoles, array: xr.DataArray) -> Outcome[str | None]:
    for place, value in _candidates(layout, array):
        if value is not None and value != "":
            return _known(value, place).map(lambda name: name)
    return Success(None)


def _candidates(layout: DimRoles, array: xr.DataArray) -> list[tuple[str, Any]]:
    mapping = grid_mapping(layout, array)
    attrs = {} if mapping is None else mapping.attrs
    wkt = attrs.get("crs_wkt") or attrs.get("spatial_ref")
    both = {**layout.obj.attrs, **array.attrs}
    return [
        (".rio.crs", _rio_crs(layout.obj) if isinstance(layout.obj, xr.DataArray) else None),
        ("the grid mapping", wkt or (_cf(attrs) if "grid_mapping_name" in attrs else None)),
        ("attrs['crs']", both.get("crs")),
        ("attrs['epsg']", both.get("epsg")),
        ("the coordinate 'epsg'", _single(array, "epsg")),
        ("the coordinate 'proj:code'", _single(array, "proj:code")),
    ]


def _rio_crs(obj: xr.DataArray | xr.Dataset) -> Any:
    """What rioxarray answers, if it is in use: ``rio.set_crs`` keeps a CRS outside the data."""
    if "rioxarray" not in sys.modules:
        return None
    from pyproj.exceptions import CRSError
    from rasterio.errors import CRSError as OtherCRSError

    try:
        return obj.rio.crs
    except (CRSError, OtherCRSError):
        return None  # a CRS that it cannot read is met again below, where its place is known


def grid_mapping(layout: DimRoles, array: xr.DataArray) -> xr.DataArray | None:
    """The scalar variable that holds the CRS (and often the transform) of an array, if any."""
    named = array.encoding.get("grid_mapping") or array.attrs.get("grid_mapping")
    scalars: dict[str, xr.DataArray] = {
        str(name): value for name, value in array.coords.items() if value.ndim == 0
    }
    if isinstance(layout.obj, xr.Dataset):
        scalars |= {str(n): v for n, v in layout.obj.data_vars.items() if v.ndim == 0}
    for name in (named, "spatial_ref", "crs", *scalars):
        value = scalars.get(str(name))
        if value is not None and {"crs_wkt", "spatial_ref", "grid_mapping_name"} & {*value.attrs}:
            return value
    return None


def _single(array: xr.DataArray, name: str) -> Any:
    """The value of a coordinate that has only one."""
    if name not in array.coords or array.coords[name].size == 0:
        return None
    values = np.unique(np.asarray(array.coords[name].values).astype(str))
    return values[0] if len(values) == 1 else None


def _known(value: Any, place: str) -> Outcome[Any]:
    name = crs_name(value)
    if name is not None:
        return Success(name)
    return Failure(
        SpecError(f"{place} is {value!r}, which PROJ does not know; pass crs='EPSG:32719' or WKT")
    )


def crs_name(value: Any) -> str | None:
    """``"EPSG:…"``, another authority's code, or WKT of anything that means a CRS; else None."""
    if isinstance(value, int | np.integer):
        return _name_of(f"EPSG:{int(value)}")
    if not isinstance(value, str):
        to_wkt = getattr(value, "to_wkt", None)
        return _name_of(to_wkt()) if callable(to_wkt) else None
    text = value.strip()
    text = re.sub(r"^\+init=", "", text)  # the old spelling, of which PROJ warns
    return _name_of(f"EPSG:{text}" if text.isdigit() else text)


@lru_cache(maxsize=256)
def _name_of(text: str) -> str | None:
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        crs = CRS.from_user_input(text)
    except CRSError:
        return None
    authority = crs.to_authority()
    return ":".join(authority) if authority else crs.to_wkt()


def _cf(attrs: dict[Any, Any]) -> Any:
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        return CRS.from_cf(dict(attrs))
    except (CRSError, KeyError):
        return dict(attrs)


def _placed(layout: DimRoles, crs: str) -> Outcome[Georeference]:
    array = layout.arrays[0]
    declared, source = _declared(layout, array)
    if declared is not None and not _straight(declared):
        return Failure(_rotated(declared))
    rows, cols = _coordinate(layout, layout.y), _coordinate(layout, layout.x)
    shape = (array.sizes[layout.y], array.sizes[layout.x])
    if rows is None or cols is None:
        return _without_coordinates(layout, crs, declared, shape)
    step = array.attrs.get("resolution", layout.obj.attrs.get("resolution"))
    down = _axis(rows, None if declared is None else declared.e, _hint(step, -1), layout.y)
    across = _axis(cols, None if declared is None else declared.a, _hint(step, 1), layout.x)
    return collect((down, across)).bind(
        lambda axes: _assembled(crs, axes, declared, source, shape, _cubo(layout, array))
    )


def _assembled(
    crs: str,
    axes: tuple[Axis, ...],
    declared: Affine | None,
    source: str,
    shape: tuple[int, int],
    cubo: bool,
) -> Outcome[Georeference]:
    down, across = axes
    if across.step < 0:
        return Failure(SpecError("columns run from east to west; sort them: da.sortby('x')"))
    # Only stackstac and cubo leave coordinates at the corners.
    corners = cubo or source == "transform"
    if declared is not None:
        a, c, by_x = _snapped(across, declared.a, declared.c, corners)
        e, f, by_y = _snapped(down, declared.e, declared.f, corners)
    else:
        a, c, by_x = _unaided(across, corners)
        e, f, by_y = _unaided(down, corners)
    notes: dict[str, Any] = {}
    if declared is not None and "stale" in (by_x, by_y):
        # rioxarray keeps the old transform when an array is coarsened; the coordinates are right.
        (a, c, by_x), (e, f, by_y) = _unaided(across, False), _unaided(down, False)
        notes["transform_ignored"] = (
            f"the stored transform {_text(declared)} does not fit the coordinates, which hold"
        )
    if "corner" in (by_x, by_y):
        notes["coordinates"] = "corners"
    grid = Grid(crs, Affine(a, 0.0, c, 0.0, e, f), shape)
    if e < 0:
        return Success(Georeference(grid, False, notes))
    return Success(Georeference(grid.flip_rows(), True, {**notes, "south_up": True}))


def _unaided(axis: Axis, corners: bool) -> tuple[float, float, str]:
    """Step, outer edge and what the coordinates are, from nothing but themselves.

    cubo's lattice holds the multiples of its step, so a coordinate on it is a corner.
    """
    if corners and axis.whole(axis.first / axis.step):
        return axis.step, axis.first, "corner"
    return axis.step, axis.first - axis.step / 2, "centre"


def _snapped(axis: Axis, declared: float, origin: float, corners: bool) -> tuple[float, float, str]:
    """The same on the lattice of a stored transform; "stale" where they are on different ones."""
    exact = float(np.copysign(declared, axis.step))
    places = (axis.first - origin) / exact
    if abs(exact - axis.step) * axis.count <= max(_SAME, axis.rounding) * abs(exact):
        if axis.whole(places - 0.5):
            return exact, origin + exact * round(places - 0.5), "centre"
        if corners and axis.whole(places):
            return exact, origin + exact * round(places), "corner"
    factor = axis.step / exact
    if corners and axis.whole(factor) and axis.whole(places - (factor - 1) / 2):
        # Cells of several pixels whose corners were averaged.
        return axis.step, axis.first - (axis.step - exact) / 2, "corner"
    return axis.step, axis.first - axis.step / 2, "stale"


def _axis(
    values: np.ndarray, declared: float | None, hint: float | None, dim: str
) -> Outcome[Axis]:
    """The coordinates of an axis. Fails where the spacing is not regular."""
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        return Failure(SpecError(f"the coordinate {dim!r} does not hold finite numbers"))
    exact = values.astype(np.float64)
    if len(exact) == 1:
        step = declared if declared is not None else hint
        if step is None:
            return Failure(
                SpecError(
                    f"a single coordinate {dim!r} has no spacing; write the transform: "
                    "da.rio.write_transform(Affine(10, 0, left, 0, -10, top))"
                )
            )
        return Success(Axis(float(exact[0]), float(step), 1))
    step = float(exact[-1] - exact[0]) / (len(exact) - 1)
    off = np.abs(exact - (exact[0] + step * np.arange(len(exact)))).max()
    # Coordinates kept in float32 are only as regular as their own rounding.
    eps = float(np.finfo(values.dtype).eps) if values.dtype.kind == "f" else 0.0
    rounding = min(2 * eps * float(np.abs(exact).max()), 0.05 * abs(step))
    if step == 0 or off > _REGULAR * abs(step) + rounding:
        return Failure(
            SpecError(
                f"the coordinate {dim!r} is not evenly spaced (steps from "
                f"{np.diff(exact).min():.6g} to {np.diff(exact).max():.6g}); resample the array "
                f"onto a regular grid: da.interp({dim}=np.linspace(...))"
            )
        )
    return Success(Axis(float(exact[0]), step, len(exact), rounding / abs(step)))


def _declared(layout: DimRoles, array: xr.DataArray) -> tuple[Affine | None, str]:
    """The transform that the object states, and where: "GeoTransform" or "transform"."""
    mapping = grid_mapping(layout, array)
    text = None if mapping is None else mapping.attrs.get("GeoTransform")
    if text is not None:
        numbers = [float(v) for v in (text.split() if isinstance(text, str) else text)]
        if len(numbers) == 6:
            return Affine.from_gdal(*numbers), "GeoTransform"
    given = array.attrs.get("transform", layout.obj.attrs.get("transform"))
    if given is not None and not isinstance(given, str):
        numbers = [float(v) for v in tuple(given)[:6]]
        if len(numbers) == 6:
            return Affine(*numbers), "transform"
    return None, ""


def _without_coordinates(
    layout: DimRoles, crs: str, declared: Affine | None, shape: tuple[int, int]
) -> Outcome[Georeference]:
    if declared is not None:
        grid = Grid(crs, declared, shape)
        if declared.e < 0:
            return Success(Georeference(grid, False))
        return Success(Georeference(grid.flip_rows(), True, {"south_up": True}))
    curved = [
        str(name)
        for name, value in layout.arrays[0].coords.items()
        if {layout.y, layout.x} <= {*value.dims}
    ]
    if curved:
        return Failure(
            SpecError(
                f"the coordinates {', '.join(curved)} are two-dimensional, a rotated or curved "
                "grid; put the array on a straight one: da.rio.reproject('EPSG:32719')"
            )
        )
    return Failure(
        SpecError(
            f"the dimensions {layout.y!r} and {layout.x!r} have no coordinates and there is no "
            "transform; write it: da.rio.write_transform(Affine(10, 0, left, 0, -10, top))"
        )
    )


def _coordinate(layout: DimRoles, dim: str) -> np.ndarray | None:
    array = layout.arrays[0]
    if dim not in array.coords or array.coords[dim].dims != (dim,):
        return None
    return np.asarray(array.coords[dim].values)


def _straight(t: Affine) -> bool:
    return abs(t.b) <= _REGULAR * abs(t.a) and abs(t.d) <= _REGULAR * abs(t.e) and t.a * t.e != 0


def _rotated(t: Affine) -> SpecError:
    return SpecError(
        f"the grid is rotated (transform {_text(t)}); put it on a straight one: "
        "da.rio.reproject(da.rio.crs)"
    )


def _cubo(layout: DimRoles, array: xr.DataArray) -> bool:
    """Whether cubo made the array: it drops the transform and leaves top-left coordinates."""
    return {"central_lat", "central_lon", "epsg", "resolution"} <= {*layout.obj.attrs, *array.attrs}


def _hint(step: Any, sign: int) -> float | None:
    """A stated resolution as the step of an axis that has a single coordinate."""
    if isinstance(step, int | float | np.number):
        return sign * float(step)
    return None


def _text(t: Affine) -> str:
    return "(" + ", ".join(f"{v:g}" for v in tuple(t)[:6]) + ")"
