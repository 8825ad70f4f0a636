"""Where the pixels of an xarray object are: its CRS, its transform, and which way its rows run."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from returns.result import Failure, Success

from rs_embed.core.crs import is_geographic, project
from rs_embed.core.errors import SpecError
from rs_embed.core.grid import Grid
from rs_embed.core.result import Outcome, collect
from rs_embed.raster.array_crs import find_crs, grid_mapping
from rs_embed.raster.dims import DimRoles

# A transform is straight, and coordinates and a transform agree, within these shares of a step;
# coordinates that were rounded on their way lie within _NOISE of even ones.
_REGULAR = 1e-6
_SAME = 1e-3
_NOISE = 0.02


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


@dataclass(frozen=True)
class Maker:
    """Who made an array: where its transform is kept, and what its coordinates then are.

    ``cubo`` drops the transform and leaves top-left coordinates; ``in_attrs`` says that it stands
    among the attributes, where ``stackstac`` puts it.
    """

    cubo: bool
    in_attrs: bool
    stackstac: bool


def georeference(layout: DimRoles, crs: object) -> Outcome[Georeference]:
    """CRS and transform of the pixels. Fails with SpecError where either is missing or rotated."""
    return find_crs(layout, crs).bind(lambda name: _placed(layout, name))


def _placed(layout: DimRoles, crs: str) -> Outcome[Georeference]:
    array = layout.arrays[0]
    declared = _declared(layout, array)
    if declared is not None and not _straight(declared):
        return Failure(_rotated(declared))
    rows, cols = _coordinate(layout, layout.y), _coordinate(layout, layout.x)
    shape = (array.sizes[layout.y], array.sizes[layout.x])
    points = _control_points(layout, array)
    if points and (rows is None or cols is None or _counts(rows) or _counts(cols)):
        return Failure(
            SpecError(
                f"the array has a place by its {points} ground control points alone, and its "
                "coordinates only count pixels; warp it onto a straight grid: "
                f"da.rio.reproject({crs!r}), or open it through rasterio.vrt.WarpedVRT"
            )
        )
    if rows is None or cols is None:
        return _without_coordinates(layout, crs, declared, shape)
    step = array.attrs.get("resolution", layout.obj.attrs.get("resolution"))
    down = _axis(rows, None if declared is None else declared.e, _hint(step, -1), layout.y)
    turning = is_geographic(crs)
    across = _axis(
        cols, None if declared is None else declared.a, _hint(step, 1), layout.x, turning
    )
    return collect((down, across)).bind(
        lambda axes: _assembled(crs, axes, declared, shape, _maker(layout, array))
    ).bind(_on_earth)  # fmt: skip


def _assembled(
    crs: str,
    axes: tuple[Axis, ...],
    declared: Affine | None,
    shape: tuple[int, int],
    maker: Maker,
) -> Outcome[Georeference]:
    down, across = axes
    if across.step < 0:
        return Failure(SpecError("columns run from east to west; sort them: da.sortby('x')"))
    if declared is None:  # cubo drops the transform and leaves coordinates at the corners
        a, c, by_x = _unaided(across, maker.cubo)
        e, f, by_y = _unaided(down, maker.cubo)
        return Success(_georeference(crs, Affine(a, 0.0, c, 0.0, e, f), shape, {}, (by_x, by_y)))
    a, c, by_x = _snapped(across, declared.a, declared.c)
    e, f, by_y = _snapped(down, declared.e, declared.f)
    if {"halves", "wholes"} & {by_x, by_y}:
        meant = _meant(by_x, by_y, maker)
        if meant is None:
            return Failure(_either_way(declared))
        if meant == "corner":
            c, by_x = _moved(across, declared.a, c, by_x)
            f, by_y = _moved(down, declared.e, f, by_y)
        else:
            by_x, by_y = "stale", "stale"
    notes: dict[str, Any] = {}
    if "stale" in (by_x, by_y):
        # rioxarray keeps the old transform when an array is coarsened; the coordinates are right.
        (a, c, by_x), (e, f, by_y) = _unaided(across, False), _unaided(down, False)
        notes["transform_ignored"] = (
            f"the stored transform {_text(declared)} does not fit the coordinates, which hold"
        )
    return Success(_georeference(crs, Affine(a, 0.0, c, 0.0, e, f), shape, notes, (by_x, by_y)))


def _georeference(
    crs: str, t: Affine, shape: tuple[int, int], notes: dict[str, Any], kinds: tuple[str, str]
) -> Georeference:
    if "corner" in kinds:
        notes = {**notes, "coordinates": "corners"}
    grid = Grid(crs, t, shape)
    if t.e < 0:
        return Georeference(grid, False, notes)
    return Georeference(grid.flip_rows(), True, {**notes, "south_up": True})


def _meant(by_x: str, by_y: str, maker: Maker) -> str | None:
    """What the coordinates of cells of several pixels are: "centre" or "corner"; None: unknown.

    Corners of every second pixel are where centres of pairs are, and centres of every second one
    where corners of pairs are. The other axis decides, if it tells; else who keeps a transform:
    stackstac, beside corners, among the attributes; all others, beside centres, with the CRS.
    """
    other = {by_x, by_y} & {"centre", "corner"}
    if other:
        return other.pop()
    if not maker.in_attrs:
        return "centre"
    if {by_x, by_y} == {"halves"}:
        return "corner"
    return None if maker.stackstac else "centre"


def _moved(axis: Axis, declared: float, edge: float, kind: str) -> tuple[float, str]:
    """The outer edge of cells of several pixels whose coordinates are corners of pixels."""
    if kind not in ("halves", "wholes"):
        return edge, kind
    exact = float(np.copysign(declared, axis.step))
    return axis.first - (axis.step - exact) / 2, "corner"


def _either_way(declared: Affine) -> SpecError:
    return SpecError(
        "the coordinates may be corners of every second pixel, or centres of pairs of them, of the "
        f"stored transform {_text(declared)}; make them centres and drop it: "
        f"da.assign_coords(x=da.x + {abs(declared.a) / 2:g}, y=da.y - {abs(declared.e) / 2:g}) if "
        "they are corners, then da.attrs.pop('transform')"
    )


def _unaided(axis: Axis, corners: bool) -> tuple[float, float, str]:
    """Step, outer edge and what the coordinates are, from nothing but themselves.

    cubo's lattice holds the multiples of its step, so a coordinate on it is a corner.
    """
    if corners and axis.whole(axis.first / axis.step):
        return axis.step, axis.first, "corner"
    return axis.step, axis.first - axis.step / 2, "centre"


def _snapped(axis: Axis, declared: float, origin: float) -> tuple[float, float, str]:
    """The same on the lattice of a stored transform; "stale" where they are on different ones.

    Coordinates that stand on the lattice's corners are corners, whatever kept the transform. Those
    of every so many pixels, or of means of so many, stand on corners or centres both: "wholes" and
    "halves" tell where, if their number is even; an odd number leaves centres where they were.
    """
    exact = float(np.copysign(declared, axis.step))
    places = (axis.first - origin) / exact
    if abs(exact - axis.step) * axis.count <= max(_SAME, axis.rounding) * abs(exact):
        if axis.whole(places - 0.5):
            return exact, origin + exact * round(places - 0.5), "centre"
        if axis.whole(places):
            return exact, origin + exact * round(places), "corner"
    factor = axis.step / exact
    middle = axis.first - axis.step / 2
    if axis.whole(factor) and round(factor) > 1 and axis.whole(2 * places):
        on_corners = axis.whole(places)
        if round(factor) % 2 == 0:
            return axis.step, middle, "wholes" if on_corners else "halves"
        if on_corners:
            return axis.step, axis.first - (axis.step - exact) / 2, "corner"
    return axis.step, middle, "stale"


def _axis(
    values: np.ndarray,
    declared: float | None,
    hint: float | None,
    dim: str,
    turning: bool = False,
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
    if turning and (np.abs(np.diff(exact)) > 180).any():
        return Failure(
            SpecError(
                f"the coordinate {dim!r} jumps by 360 degrees where it crosses the antimeridian; "
                f"let it run on: da.assign_coords({dim}=da.{dim} % 360)"
            )
        )
    if step == 0 or off > max(_NOISE * abs(step), rounding):
        return Failure(
            SpecError(
                f"the coordinate {dim!r} is not evenly spaced (steps from "
                f"{np.diff(exact).min():.6g} to {np.diff(exact).max():.6g}); resample the array "
                f"onto a regular grid: da.interp({dim}=np.linspace(...))"
            )
        )
    return Success(Axis(float(exact[0]), step, len(exact), max(rounding, 2 * off) / abs(step)))


def _declared(layout: DimRoles, array: xr.DataArray) -> Affine | None:
    """The transform that the object states."""
    mapping = grid_mapping(layout, array)
    text = None if mapping is None else mapping.attrs.get("GeoTransform")
    if text is not None:
        numbers = [float(v) for v in (text.split() if isinstance(text, str) else text)]
        if len(numbers) == 6:
            return Affine.from_gdal(*numbers)
    given = array.attrs.get("transform", layout.obj.attrs.get("transform"))
    if given is not None and not isinstance(given, str):
        numbers = [float(v) for v in tuple(given)[:6]]
        if len(numbers) == 6:
            return Affine(*numbers)
    return None


def _control_points(layout: DimRoles, array: xr.DataArray) -> int:
    """How many ground control points rioxarray keeps beside the CRS."""
    mapping = grid_mapping(layout, array)
    text = None if mapping is None else mapping.attrs.get("gcps")
    if text is None:
        return 0
    try:
        return len((json.loads(text) if isinstance(text, str) else text)["features"])
    except (ValueError, KeyError, TypeError):
        return 1


def _counts(values: np.ndarray) -> bool:
    """Whether coordinates are pixel numbers: 0, 1, 2, ... or their middles, or a cut of them."""
    first = float(values[0]) * 2
    steps = np.abs(np.diff(values.astype(np.float64)))
    return first == round(first) and bool((steps == 1).all())


def _on_earth(placed: Georeference) -> Outcome[Georeference]:
    """The place itself; Failure(SpecError) where its coordinates contradict its CRS."""
    grid = placed.grid
    west, south, east, north = grid.bounds
    lon, lat = project(
        np.array([west, east, (west + east) / 2]), np.array([south, north, (south + north) / 2]),
        grid.crs, "EPSG:4326",
    )  # fmt: skip
    text = f"x {west:.6g}..{east:.6g} and y {south:.6g}..{north:.6g}"
    if is_geographic(grid.crs):
        if north > 90 + grid.resolution[1] or south < -90 - grid.resolution[1] or east - west > 361:
            return Failure(
                SpecError(
                    f"the coordinates run over {text}, which are no degrees, and the CRS is "
                    f"{grid.crs}; write the one that they are in: da.rio.write_crs('EPSG:32719')"
                )
            )
        return Success(placed)
    small = max(map(abs, (west, south, east, north))) <= 360 and min(grid.resolution) < 0.5
    if small and (grid.resolution[0] * _metres_a_unit(grid.crs)) < 0.5:
        return Failure(
            SpecError(
                f"the coordinates run over {text} in steps of {grid.resolution[0]:.4g}, which look "
                f"like degrees, and the CRS is {grid.crs}; write the one that they are in, "
                "da.rio.write_crs('EPSG:4326'), and bring them to the other with "
                f"da.rio.reproject({grid.crs!r}) if you want it"
            )
        )
    if _pixel_numbers(grid):
        return Failure(
            SpecError(
                f"the coordinates only count pixels ({text}), so the array has no place; write "
                "its transform: da.rio.write_transform(Affine(10, 0, left, 0, -10, top)) and "
                "drop_vars(['x', 'y']), or warp it by its ground control points"
            )
        )
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        return Failure(
            SpecError(
                f"the coordinates run over {text}, which is nowhere in {grid.crs}; write the CRS "
                "that they are in: da.rio.write_crs('EPSG:…')"
            )
        )
    return Success(placed)


def _pixel_numbers(grid: Grid) -> bool:
    """Whether a lattice is that of a file without a transform: from zero, in steps of one."""
    west, south, _, north = grid.bounds
    return grid.resolution == (1.0, 1.0) and abs(west) < 1 and min(abs(south), abs(north)) < 1


def _metres_a_unit(crs: str) -> float:
    from pyproj import CRS

    axes = CRS.from_user_input(crs).axis_info
    return float(axes[0].unit_conversion_factor) if axes else 1.0


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


def _maker(layout: DimRoles, array: xr.DataArray) -> Maker:
    attrs = {**layout.obj.attrs, **array.attrs}
    mapping = grid_mapping(layout, array)
    with_crs = mapping is not None and mapping.attrs.get("GeoTransform") is not None
    return Maker(
        cubo={"central_lat", "central_lon", "epsg", "resolution"} <= set(attrs),
        in_attrs="transform" in attrs and not with_crs,
        stackstac="spec" in attrs,
    )


def _hint(step: Any, sign: int) -> float | None:
    """A stated resolution as the step of an axis that has a single coordinate."""
    if isinstance(step, int | float | np.number):
        return sign * float(step)
    return None


def _text(t: Affine) -> str:
    return "(" + ", ".join(f"{v:g}" for v in tuple(t)[:6]) + ")"
