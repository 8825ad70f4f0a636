"""What a source can give, and one fetch of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from rs_embed.core.grid import Grid
from rs_embed.core.model import InputSpec
from rs_embed.core.patch import Interval
from rs_embed.core.specs import SensorSpec


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What a provider can give for one input of a model.

    Parameters
    ----------
    collection : str
        What the provider calls it.
    bands : tuple of str
        Its names of the input's bands, in the input's order.
    units : tuple of str
        Units in which each band arrives.
    dated : bool
        Whether it has time; an undated source refuses a temporal.
    grid : Grid or None
        Where its pixels end; None where they go on.
    content_hash : str
        Tells one content from another in fingerprints (a file's hash); "" for a service.
    """

    collection: str
    bands: tuple[str, ...]
    units: tuple[str, ...]
    dated: bool = True
    grid: Grid | None = None
    content_hash: str = ""


@dataclass(frozen=True)
class FetchPlan:
    """One fetch: everything that decides the pixels, and nothing else.

    Two equal plans give the same patch, so a plan is fetched once.
    """

    collection: str
    bands: tuple[str, ...]
    units: tuple[str, ...]
    grid: Grid
    intervals: tuple[Interval, ...]
    sensor: SensorSpec
    content_hash: str = ""

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the plan, the same in every process and Python version."""
        return fingerprint(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Plain data; equal plans give equal data."""
        sensor = asdict(self.sensor)
        # Checks and fills are applied after the fetch and do not change its pixels.
        for name in ("check_input", "check_raise", "check_save_dir", "fill_value"):
            del sensor[name]
        return {
            "collection": self.collection,
            "bands": list(self.bands),
            "units": list(self.units),
            "grid": self.grid.to_json(),
            "intervals": [list(interval) for interval in self.intervals],
            "sensor": sensor,
            "content_hash": self.content_hash,
        }


def sensor_for(
    item: InputSpec, source: SourceInfo, scale_m: float, given: SensorSpec | None
) -> SensorSpec:
    """The sensor of one fetch: the caller's, or the model's default."""
    if given is not None:
        return replace(given, collection=source.collection, bands=source.bands)
    whole = int(scale_m) if float(scale_m).is_integer() else scale_m
    return SensorSpec(
        source.collection,
        source.bands,
        scale_m=whole,
        cloudy_pct=item.cloudy_pct,
    )


def fingerprint(data: Mapping[str, Any]) -> str:
    """SHA-256 of plain data, written as JSON with sorted keys; numbers as floats."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(k): plain(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [plain(v) for v in value]
        if isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        return value

    text = json.dumps(plain(data), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
