"""Every hypothesis strategy of the tests."""

from __future__ import annotations

import datetime as dt
import math
from itertools import pairwise

import numpy as np
from affine import Affine
from hypothesis import strategies as st

from rs_embed.core.grid import Grid
from rs_embed.core.model import ModelChoice
from rs_embed.core.patch import Interval
from rs_embed.core.plan import FetchPlan
from rs_embed.core.specs import BBox, OutputSpec, PointBuffer, SensorSpec, TemporalSpec
from rs_embed.core.units import MEANINGS

# Values that no field of a spec takes, besides those that are out of its range.
ODD = (
    None, "", "12", True, [], {}, (1, 2), object(), math.nan, math.inf, -math.inf, 10**400,
    np.array([1.0, 2.0]), np.bool_(True), 1j, b"5", dt.date(2022, 1, 1),
)  # fmt: skip

longitudes = st.floats(-180, 180)
latitudes = st.floats(-90, 90)
utm_latitudes = st.floats(-80, 84)
names = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=8)
metres = st.floats(0.5, 5000)
dates = st.dates(dt.date(1980, 1, 1), dt.date(2035, 12, 31))


@st.composite
def boxes(draw: st.DrawFn) -> BBox:
    """Valid boxes of any size."""
    west, east = sorted(draw(st.lists(longitudes, min_size=2, max_size=2, unique=True)))
    south, north = sorted(draw(st.lists(latitudes, min_size=2, max_size=2, unique=True)))
    return BBox(west, south, east, north)


@st.composite
def small_boxes(draw: st.DrawFn, most_deg: float = 0.2) -> BBox:
    """Boxes of at most so many degrees, anywhere on Earth."""
    west = draw(st.floats(-180, 180 - most_deg))
    south = draw(st.floats(-90, 90 - most_deg))
    width, height = draw(st.floats(1e-4, most_deg)), draw(st.floats(1e-4, most_deg))
    return BBox(west, south, west + width, south + height)


points = st.builds(PointBuffer, longitudes, latitudes, metres)


@st.composite
def temporals(draw: st.DrawFn) -> TemporalSpec:
    """Years and ranges."""
    if draw(st.booleans()):
        return TemporalSpec.year(draw(st.integers(1, 9998)))
    start, end = sorted(draw(st.lists(dates, min_size=2, max_size=2, unique=True)))
    return TemporalSpec.range(start, end)


sensors = st.builds(
    SensorSpec,
    collection=names,
    bands=st.lists(names, min_size=1, max_size=4, unique=True).map(tuple),
    scale_m=st.one_of(st.integers(1, 1000), st.floats(0.3, 1000)),
    cloudy_pct=st.integers(0, 100),
    fill_value=st.one_of(st.floats(-1e6, 1e6), st.just(math.nan)),
    composite=st.sampled_from(("median", "mosaic")),
    check_input=st.booleans(),
    check_raise=st.booleans(),
    check_save_dir=st.one_of(st.none(), names),
    cloud_mask=st.sampled_from(("none", "scl", "cloud_score_plus")),
    cloud_threshold=st.floats(0, 1),
    resampling=st.sampled_from(("nearest", "bilinear")),
    orbit=st.sampled_from((None, "ASCENDING", "DESCENDING")),
    units=st.one_of(st.none(), st.sampled_from(sorted(MEANINGS))),
    fetch=st.sampled_from(("native", "server")),
)
outputs = st.builds(
    OutputSpec,
    st.sampled_from(("grid", "pooled")),
    scale_m=st.one_of(st.integers(1, 1000), st.floats(0.3, 1000)),
    pooling=st.sampled_from(("mean", "max", "model")),
    grid_orientation=st.sampled_from(("north_up", "native")),
)
choices = st.builds(
    ModelChoice,
    names,
    variant=st.one_of(st.none(), names),
    modality=st.one_of(st.none(), names),
    options=st.dictionaries(
        names, st.one_of(st.integers(-5, 5), st.booleans(), names, st.none()), max_size=3
    ),
    weights=st.one_of(st.none(), names),
    backend=st.one_of(st.none(), names),
)
spatials = st.one_of(boxes(), points)
valid_specs = st.one_of(spatials, temporals(), sensors, outputs)


@st.composite
def broken(draw: st.DrawFn) -> BBox | PointBuffer | TemporalSpec | SensorSpec | OutputSpec:
    """A spec with one field replaced by something odd: mostly invalid, never unprintable."""
    spec = draw(valid_specs)
    values = {name: getattr(spec, name) for name in spec.__dataclass_fields__}
    name = draw(st.sampled_from(sorted(values)))
    values[name] = draw(
        st.one_of(st.sampled_from(ODD), st.floats(), st.integers(), st.text(max_size=12), dates)
    )
    return type(spec)(**values)


@st.composite
def grids(draw: st.DrawFn, maximum: int = 60) -> Grid:
    """Lattices in a few CRS, rows counted from either side."""
    crs = draw(st.sampled_from(("EPSG:32631", "EPSG:32719", "EPSG:32661", "EPSG:4326")))
    step = draw(st.sampled_from((0.5, 10.0, 30.0))) if crs != "EPSG:4326" else 0.125
    down = draw(st.sampled_from((-step, step)))
    col, row = draw(st.integers(-500, 500)), draw(st.integers(-500, 500))
    height, width = draw(st.integers(1, maximum)), draw(st.integers(1, maximum))
    base = (0.0, 0.0) if crs == "EPSG:4326" else (500_000.0, 5_000_000.0)
    return Grid(
        crs, Affine(step, 0, base[0] + col * step, 0, down, base[1] + row * step), (height, width)
    )


@st.composite
def intervals(draw: st.DrawFn) -> tuple[Interval, ...]:
    """Zero to three half-open windows of dates."""
    days = sorted(draw(st.lists(dates, min_size=1, max_size=4, unique=True)))
    return tuple((a.isoformat(), b.isoformat()) for a, b in pairwise(days))


@st.composite
def fetch_plans(draw: st.DrawFn) -> FetchPlan:
    """Plans of one fetch."""
    sensor = draw(sensors)
    units = tuple(draw(st.sampled_from(sorted(MEANINGS))) for _ in sensor.bands)
    return FetchPlan(
        sensor.collection,
        sensor.bands,
        units,
        draw(grids()),
        draw(intervals()),
        sensor,
        draw(names),
    )


@st.composite
def tilings(draw: st.DrawFn) -> tuple[tuple[int, int], int, int, int, tuple[float, ...]]:
    """(shape, window, token, overlap, pixels beyond) of a tiling that `check_layout` accepts."""
    token = draw(st.integers(1, 8))
    per_window = draw(st.integers(1, 8))
    overlap = draw(st.sampled_from([0, *(k for k in (2, 3, 4, 8) if per_window % k == 0)]))
    shape = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    gaps = st.one_of(st.just(math.inf), st.integers(0, 80).map(float))
    return shape, token * per_window, token, overlap, tuple(draw(gaps) for _ in range(4))


def around(grid: Grid, top: int, left: int, bottom: int, right: int) -> Grid:
    """The lattice with so many rows and columns more on each side, or fewer where negative."""
    return grid.window(-top, -left, grid.height + top + bottom, grid.width + left + right)
