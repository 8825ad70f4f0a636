"""The same 64 KiB from Earth Engine, bare and through the provider; shared by the measurements."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ee
import numpy as np

from rs_embed.core.grid import roi_grid
from rs_embed.core.model import InputSpec
from rs_embed.core.patch import Patch
from rs_embed.core.plan import FetchPlan
from rs_embed.core.result import unwrap_or_raise
from rs_embed.core.specs import PointBuffer, SensorSpec
from rs_embed.providers import gee_graph
from rs_embed.providers.gee import GeeProvider
from tests.earth_engine import Server, connected, serve

S2 = "COPERNICUS/S2_SR_HARMONIZED"
BANDS = ("B2", "B3", "B4", "B8")  # 4 bands x 64 x 64 pixels x 4 bytes = 64 KiB
AUGUST = ("2022-08-01", "2022-09-01")  # one scene of ramps: every place has its own pixels
PROVIDER = GeeProvider(pause_s=0.01)


@contextmanager
def canned(**settings: Any) -> Iterator[Server]:
    """A server in a process of its own that answers from memory once it has seen a shape."""
    with serve(canned=True, **settings) as server, connected(server, retries=5):
        yield server


def ours(i: int) -> Patch:
    """Plan, graph, request, decode: a place of its own for each number."""
    return unwrap_or_raise(
        PROVIDER.describe(InputSpec("s2", BANDS, "reflectance", S2), None)
        .bind(
            lambda source: roi_grid(_place(i), 10).map(
                lambda grid: FetchPlan(
                    source.collection, source.bands, source.units, grid, (AUGUST,),
                    SensorSpec(S2, source.bands),
                )
            )
        )
        .bind(PROVIDER.fetch)
    )  # fmt: skip


def expression(i: int) -> dict[str, Any]:
    """What `ours` sends for a number, as ``ee.data.computePixels`` takes it."""
    grid = unwrap_or_raise(roi_grid(_place(i), 10))
    plan = FetchPlan(S2, BANDS, ("reflectance_x10000",) * 4, grid, (AUGUST,), SensorSpec(S2, BANDS))
    query = unwrap_or_raise(PROVIDER._query(plan))
    return {
        "expression": gee_graph.pixels(query),
        "fileFormat": "NUMPY_NDARRAY",
        "grid": gee_graph.grid_request(grid),
    }


def bare(request: dict[str, Any]) -> np.ndarray:
    """The official client by itself."""
    found: np.ndarray = ee.data.computePixels(request)
    return found


def _place(i: int) -> PointBuffer:
    return PointBuffer(3.5 + i * 2e-4, 41.0, 320)
