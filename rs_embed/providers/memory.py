"""A source without a world behind it: seeded values, the same for the same ground."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from returns.result import Success

from rs_embed.core.fetch import FetchPlan, SourceInfo
from rs_embed.core.model import InputSpec
from rs_embed.core.patch import Patch
from rs_embed.core.result import Outcome
from rs_embed.core.specs import SensorSpec
from rs_embed.providers.source import Provider

# Least and greatest value served, by units.
_RANGES = {
    "reflectance": (0.0, 0.6),
    "reflectance_x10000": (0.0, 6000.0),
    "s2_dn_offset1000": (1000.0, 7000.0),
    "uint8": (0.0, 255.0),
    "db": (-25.0, 0.0),
    "linear": (0.003, 1.0),
    "kelvin": (250.0, 320.0),
}


@dataclass(frozen=True)
class MemoryProvider(Provider):
    """Seeded pixels for any place and time; for tests, documentation and examples.

    A value depends on the collection, the band, the dates and the pixel's place on the lattice
    of its CRS, so that two fetches agree where they overlap.
    """

    seed: int = 0
    name: str = "memory"
    workers: int = 1

    def describe(self, item: InputSpec, sensor: SensorSpec | None) -> Outcome[SourceInfo]:
        """Every input, in its own bands and units."""
        collection = sensor.collection if sensor else item.collection or item.name
        return Success(
            SourceInfo(
                collection,
                item.bands,
                tuple(item.units for _ in item.bands),
                dated=not item.static,
                content_hash=f"memory:{self.seed}",
            )
        )

    def fetch(self, plan: FetchPlan) -> Outcome[Patch]:
        """Uniform values over a plausible range of the plan's units."""
        t = plan.grid.transform
        rows = np.round(np.arange(plan.grid.height) + t.f / t.e).astype(np.int64).view(np.uint64)
        cols = np.round(np.arange(plan.grid.width) + t.c / t.a).astype(np.int64).view(np.uint64)
        with np.errstate(over="ignore"):
            place = rows[:, None] * np.uint64(0x9E3779B1) + cols[None, :]
        intervals = plan.intervals or (None,)
        data = np.empty((len(intervals), len(plan.bands), *plan.grid.shape), dtype=np.float32)
        for i, interval in enumerate(intervals):
            for j, (band, units) in enumerate(zip(plan.bands, plan.units, strict=True)):
                low, high = _RANGES.get(units, (0.0, 1.0))
                name = f"{self.seed}/{plan.collection}/{band}/{plan.grid.crs}/{interval}"
                data[i, j] = low + (high - low) * _uniform(place, name)
        return Success(
            Patch(data, plan.bands, plan.units, plan.grid, plan.intervals, {"seed": self.seed})
        )


def _uniform(place: np.ndarray, name: str) -> np.ndarray:
    """Values in [0, 1): splitmix64 of the place, keyed by the CRC of a name."""
    with np.errstate(over="ignore"):
        x = place ^ (np.uint64(zlib.crc32(name.encode())) << np.uint64(32))
        x = x * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)
