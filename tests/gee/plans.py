"""Plans made by hand: what a test asks Earth Engine for, without a model in between."""

from __future__ import annotations

from typing import Any

import numpy as np
from affine import Affine

from rs_embed.core.grid import Grid
from rs_embed.core.patch import Patch
from rs_embed.core.plan import FetchPlan
from rs_embed.core.result import unwrap_or_raise
from rs_embed.core.specs import SensorSpec
from rs_embed.providers.collections import COLLECTIONS, find_collection
from rs_embed.providers.gee import GeeProvider
from tests.earth_engine.launch import Server

S2 = "COPERNICUS/S2_SR_HARMONIZED"
JUNE = ("2022-06-01", "2022-07-01")
# Corner of the tests' pixels: near the main place, on the lattice of Sentinel-2's 10, 20 and 60 m.
CORNER = (549960.0, 4540020.0)

Frames = tuple[tuple[str, str], ...]


def square(
    size: int = 8,
    scale: float = 10,
    *,
    corner: tuple[float, float] = CORNER,
    crs: str = "EPSG:32631",
    width: int | None = None,
) -> Grid:
    """A north-up grid of ``size`` rows."""
    return Grid(crs, Affine(scale, 0, corner[0], 0, -scale, corner[1]), (size, width or size))


def plan(
    bands: tuple[str, ...] = ("B4", "B3", "B2"),
    collection: str = S2,
    *,
    intervals: Frames = (JUNE,),
    grid: Grid | None = None,
    **sensor: Any,
) -> FetchPlan:
    """A fetch of a known collection, in its own units."""
    grid = grid or square()
    row = find_collection(collection) or COLLECTIONS[collection]
    spec = SensorSpec(collection, bands, scale_m=grid.resolution[0], **sensor)
    units = tuple(band.units for band in row.pick(bands))
    return FetchPlan(collection, bands, units, grid, intervals, spec)


def fetch_window(one: FetchPlan, provider: GeeProvider | None = None) -> Patch:
    """The patch of a plan, or its error raised."""
    return unwrap_or_raise((provider or GeeProvider(pause_s=0.01)).fetch(one))


def levels(patch: Patch) -> np.ndarray:
    """The one value of each frame and band ``(T, C)``; fails where a band has several."""
    first = patch.data[..., :1, :1]
    assert np.array_equal(patch.data, np.broadcast_to(first, patch.data.shape), equal_nan=True)
    return patch.data[..., 0, 0]


def requests_of(server: Server, path: str = "compute") -> list[dict[str, Any]]:
    """The bodies of the requests to a path, in order."""
    return [entry["body"] for entry in server.log if entry["path"] == path]
