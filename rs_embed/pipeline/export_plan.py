"""What an export decides, as pure functions: fetches shared, fingerprints, shards, resuming."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from returns.result import Failure, Success

from rs_embed.core.errors import SpecError
from rs_embed.core.fetch import FetchPlan, SourceInfo, fingerprint
from rs_embed.core.model import Model
from rs_embed.core.patch import PatchReader, ReadWindow
from rs_embed.core.result import Outcome
from rs_embed.core.scalars import python_scalar
from rs_embed.core.specs import (
    OutputSpec,
    PointBuffer,
    SensorSpec,
    SpatialSpec,
    TemporalSpec,
    dates,
)

# What a sensor says that changes no number: checks of the pixels.
_CHECKS = ("check_input", "check_raise", "check_save_dir")


@dataclass(frozen=True)
class Need:
    """One fetch that a model needs; ``source`` is any value that tells two sources apart."""

    source: Any
    plan: FetchPlan


@dataclass(frozen=True)
class Share:
    """Where a need is found: in fetch ``index``, at these of its dates and bands."""

    index: int
    times: tuple[int, ...]
    bands: tuple[int, ...]


def share_fetches(needs: Sequence[Need]) -> Outcome[tuple[tuple[Need, ...], tuple[Share, ...]]]:
    """The fewest fetches that serve all needs, and where each need is found in them.

    Needs of one source, collection, grid, sensor and dates are one fetch of all their bands; one
    whose dates are part of another's, and whose bands are, reads them there.
    """
    groups: list[list[Need]] = []
    for need in needs:
        home = next((group for group in groups if _fits(need, group)), None)
        if home is None:
            groups.append([need])
        else:
            home.append(need)
    unions = [_union(group) for group in groups]
    kept = [one for i, one in enumerate(unions) if not _held_by_another(i, unions)]
    return _found(needs, kept).map(lambda shares: (tuple(kept), shares))


def _fits(need: Need, group: Sequence[Need]) -> bool:
    """Whether a need can be one fetch with those of a group: no band of it in other units."""
    if need.plan.intervals != group[0].plan.intervals or _pixels(need) != _pixels(group[0]):
        return False
    units = {band: unit for one in group for band, unit in _named_units(one.plan)}
    return all(units.get(band, unit) == unit for band, unit in _named_units(need.plan))


def _named_units(plan: FetchPlan) -> list[tuple[str, str]]:
    return list(zip(plan.bands, plan.units, strict=True))


def _pixels(need: Need) -> Any:
    """What two fetches must agree on to be one: all but bands and dates."""
    plan = need.plan
    return need.source, plan.collection, plan.grid, plan.content_hash, _unchecked(plan.sensor)


def _unchecked(sensor: SensorSpec) -> SensorSpec:
    """A sensor without what changes no fetched pixel, or stands in the plan itself."""
    return replace(
        sensor, bands=(), check_input=False, check_raise=True, check_save_dir=None, fill_value=0.0
    )


def _union(group: Sequence[Need]) -> Need:
    first = group[0]
    units = {band: unit for one in group for band, unit in _named_units(one.plan)}
    bands = tuple(units)
    if bands == first.plan.bands:
        return first
    sensor = replace(first.plan.sensor, bands=bands)
    return Need(
        first.source,
        replace(first.plan, bands=bands, units=tuple(units.values()), sensor=sensor),
    )


def _held_by_another(i: int, unions: Sequence[Need]) -> bool:
    """Of two that hold each other, the first stays."""
    return any(
        _holds(other, unions[i]) and not (i < j and _holds(unions[i], other))
        for j, other in enumerate(unions)
        if j != i
    )


def _holds(one: Need, other: Need) -> bool:
    """Whether ``one`` has every band, in the same units, and every date of ``other``."""
    return (
        set(_named_units(other.plan)) <= set(_named_units(one.plan))
        and set(other.plan.intervals) <= set(one.plan.intervals)
        and bool(other.plan.intervals) == bool(one.plan.intervals)
        and _pixels(one) == _pixels(other)
    )


def _found(needs: Sequence[Need], kept: Sequence[Need]) -> Outcome[tuple[Share, ...]]:
    shares = []
    for need in needs:
        index = next((i for i, one in enumerate(kept) if _holds(one, need)), None)
        if index is None:
            return Failure(SpecError(f"no fetch holds the bands {', '.join(need.plan.bands)}"))
        held = kept[index].plan
        shares.append(
            Share(
                index,
                tuple(held.intervals.index(one) for one in need.plan.intervals),
                tuple(held.bands.index(band) for band in need.plan.bands),
            )
        )
    return Success(tuple(shares))


def taken(reader: PatchReader, plan: FetchPlan, share: Share) -> PatchReader:
    """The part of shared pixels that one plan asked for; the reader itself where that is all."""
    times, bands = list(share.times), list(share.bands)
    all_times = not times or times == list(range(len(reader.intervals)))
    if all_times and reader.bands == plan.bands:
        return reader

    def opened() -> ReadWindow:
        whole = reader.open()

        def read(row: int, col: int, height: int, width: int) -> np.ndarray:
            data = whole(row, col, height, width)
            return np.ascontiguousarray((data if all_times else data[times])[:, bands])

        return read

    return replace(
        reader, open=opened, bands=plan.bands, units=plan.units, intervals=plan.intervals
    )


# Fingerprints


def model_fingerprint(
    model: Model,
    sources: Sequence[SourceInfo],
    *,
    backend: str,
    weights: str,
    sensor: SensorSpec | None,
    temporal: TemporalSpec | None,
    output: OutputSpec,
    input_prep: str,
    overlap: int,
    dtype: str,
) -> str:
    """SHA-256 of all that decides the numbers of one model, wherever the place is.

    ``weights`` tells one content of the weights from another. Workers, chunks, batches and the
    device decide no number, and are not in it.
    """
    return fingerprint(
        {
            "model": [model.id, model.variant.name, model.modality],
            "options": {name: model.options[name] for name in sorted(model.options)},
            "windows": [model.window_px, model.token_px, model.cadence.kind, model.cadence.frames],
            "weights": weights,
            "backend": backend,
            "sources": [_source(one) for one in sources],
            "sensor": None if sensor is None else _sensor(sensor),
            "temporal": None if temporal is None else [d.isoformat() for d in dates(temporal)],
            "output": _output(output),
            "input_prep": input_prep,
            "overlap": overlap,
            "dtype": dtype,
        }
    )


def _source(info: SourceInfo) -> dict[str, Any]:
    data = {name: getattr(info, name) for name in ("collection", "dated", "content_hash")}
    grid = None if info.grid is None else info.grid.to_json()
    return {**data, "bands": list(info.bands), "units": list(info.units), "grid": grid}


def _sensor(sensor: SensorSpec) -> dict[str, Any]:
    data = {k: v for k, v in asdict(sensor).items() if k not in _CHECKS}
    fill = data["fill_value"]
    return {**data, "fill_value": "nan" if math.isnan(fill) else fill}


def _output(output: OutputSpec) -> dict[str, Any]:
    """Only what the mode reads: the pooling of a grid decides nothing."""
    if output.mode == "pooled":
        return {"mode": "pooled", "pooling": output.pooling}
    return {"mode": "grid", "scale_m": output.scale_m, "rows": output.grid_orientation}


def place_json(spatial: SpatialSpec) -> dict[str, Any]:
    """A place as plain data."""
    if isinstance(spatial, PointBuffer):
        numbers = {"lon": spatial.lon, "lat": spatial.lat, "buffer_m": spatial.buffer_m}
    else:
        numbers = {
            name: getattr(spatial, name) for name in ("minlon", "minlat", "maxlon", "maxlat")
        }
    return {"type": type(spatial).__name__, **{k: float(v) for k, v in numbers.items()}}


def item_fingerprint(model: str, spatial: SpatialSpec) -> str:
    """SHA-256 of one place of one model: its `model_fingerprint` and the place."""
    text = json.dumps(place_json(spatial), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{model}/{text}".encode()).hexdigest()


def request_fingerprint(models: Mapping[str, str]) -> str:
    """SHA-256 of a whole request: the models by label, each with its `model_fingerprint`."""
    return fingerprint({"models": dict(models)})


# Resuming


def reusable(
    rows: Sequence[Mapping[str, Any]], wanted: Mapping[str, str], arrays: Sequence[str]
) -> Outcome[dict[str, Mapping[str, Any]]]:
    """The rows of an earlier manifest that need not be computed again, by today's label.

    Parameters
    ----------
    rows : sequence of mapping
        Rows of models of one place, as the manifest has them.
    wanted : mapping of str to str
        The `item_fingerprint` that each label should have.
    arrays : sequence of str
        Kinds that a row must hold: "embedding", "input".

    A row counts by fingerprint, whatever it was called; one that failed is tried again.
    """
    done = {
        str(row.get("fingerprint")): row
        for row in rows
        if row.get("status") == "ok" and all(row.get(kind) for kind in arrays)
    }
    return Success({label: done[key] for label, key in wanted.items() if key in done})


# Shards


def shards(spatials: Sequence[SpatialSpec], size: int) -> Outcome[tuple[tuple[int, ...], ...]]:
    """The places in parts of at most ``size``, each of neighbours; equal places stay together.

    Neighbours follow each other along a Z-order curve over longitude and latitude. A place given
    more than ``size`` times makes a part larger.

    Fails with SpecError for a size below 1.
    """
    size = python_scalar(size)
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        return Failure(SpecError(f"the size of a part must be a whole number >= 1, not {size!r}"))
    alike: dict[SpatialSpec, list[int]] = {}
    for i, spatial in enumerate(spatials):
        alike.setdefault(spatial, []).append(i)
    parts: list[tuple[int, ...]] = []
    part: list[int] = []
    for spatial in sorted(alike, key=lambda one: (_along_curve(one), alike[one][0])):
        if part and len(part) + len(alike[spatial]) > size:
            parts.append(tuple(part))
            part = []
        part += alike[spatial]
    return Success((*parts, tuple(part)) if part else tuple(parts))


def centre(spatial: SpatialSpec) -> tuple[float, float]:
    """Longitude and latitude of the middle of a place, degrees."""
    if isinstance(spatial, PointBuffer):
        return float(spatial.lon), float(spatial.lat)
    return (spatial.minlon + spatial.maxlon) / 2, (spatial.minlat + spatial.maxlat) / 2


def _along_curve(spatial: SpatialSpec) -> int:
    lon, lat = centre(spatial)
    x, y = int((lon + 180) / 360 * 0xFFFF), int((lat + 90) / 180 * 0xFFFF)
    return sum(((x >> i & 1) << 2 * i) | ((y >> i & 1) << 2 * i + 1) for i in range(16))
