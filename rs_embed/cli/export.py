"""What ``rs-embed export`` does: read places from a file, export, tell."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rs_embed.core.errors import SpecError
from rs_embed.core.extras import missing_text
from rs_embed.core.result import unwrap_or_raise
from rs_embed.core.specs import BBox, OutputSpec, PointBuffer, SpatialSpec, TemporalSpec


@dataclass(frozen=True, slots=True)
class ExportArgs:
    """The words of ``export``."""

    models: tuple[str, ...]
    out: Path
    start: str | None = None
    end: str | None = None
    buffer_m: float | None = None
    format: str = "npz"
    grid: bool = False
    inputs: bool = True
    backend: str = "gee"
    source: str | None = None
    device: str = "auto"
    resume: bool = False
    keep_going: bool = False
    dtype: str = "float32"
    dry_run: bool = False


def export_places(places: Path, words: ExportArgs) -> str:
    """Export the places of a file; one line on what was written."""
    from rs_embed.exports import export_batch
    from rs_embed.pipeline.export_request import FORMATS

    spatials, names = read_places(places, words.buffer_m)
    one_file = words.out.suffix in FORMATS.values()
    alone = words.format in ("geoparquet", "cog")  # they hold no pixels
    made = export_batch(
        spatials=spatials,
        temporal=_temporal(words),
        models=list(words.models),
        out_path=str(words.out) if one_file else None,
        out_dir=None if one_file else str(words.out),
        names=names,
        backend=words.backend,
        device=words.device,
        output=OutputSpec.grid() if words.grid else OutputSpec.pooled(),
        format=words.format,
        save_inputs=words.inputs and not alone,
        continue_on_error=words.keep_going,
        resume=words.resume,
        source=words.source,
        dtype=words.dtype,
        dry_run=words.dry_run,
    )
    if words.dry_run:
        return "\n".join(f"{name:<14}{value}" for name, value in _flat(made))
    states = [one["status"] for one in (made["places"] if one_file else made)]
    counted = ", ".join(
        f"{states.count(state)} {state}" for state in ("ok", "partial", "failed") if state in states
    )
    return f"{words.out}  {len(states)} places: {counted}"


def _flat(told: dict[str, Any]) -> list[tuple[str, Any]]:
    """What an export would take, a line each."""
    windows = told.pop("windows")
    return [*told.items(), *((f"windows {label}", count) for label, count in windows.items())]


def read_places(path: Path, buffer_m: float | None) -> tuple[list[SpatialSpec], list[str] | None]:
    """The places of a CSV, GeoJSON, GeoParquet or GeoPackage, and their names where it has any."""
    from rs_embed.pipeline.places import as_places

    if not path.is_file():
        raise SpecError(f"{str(path)!r} is no file; give places as .csv, .geojson, .parquet, .gpkg")
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _csv(path, buffer_m)
    if suffix in (".geojson", ".json"):
        features = json.loads(path.read_text("utf-8")).get("features", [])
        found = unwrap_or_raise(as_places(features, buffer_m))
        return found, _names([(one.get("properties") or {}).get("name") for one in features])
    if suffix in (".parquet", ".gpkg"):
        table = _table(path, suffix)
        column = buffer_m if buffer_m is not None or "buffer_m" not in table else "buffer_m"
        names = _names(list(table["name"])) if "name" in table else None
        return unwrap_or_raise(as_places(table, column)), names
    raise SpecError(f"places are read from .csv, .geojson, .parquet or .gpkg, not {suffix!r}")


def _table(path: Path, suffix: str) -> Any:
    try:
        import geopandas
    except ImportError as error:
        raise SpecError(missing_text(f"reading {suffix}", "vector", "geopandas")) from error
    return geopandas.read_parquet(path) if suffix == ".parquet" else geopandas.read_file(path)


_CORNERS = ("minlon", "minlat", "maxlon", "maxlat")


def _csv(path: Path, buffer_m: float | None) -> tuple[list[SpatialSpec], list[str] | None]:
    """Columns lon, lat and perhaps buffer_m, or the four of a box; and perhaps name."""
    with path.open(newline="", encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    columns = set(rows[0]) if rows else set()
    spatials: list[SpatialSpec] = []
    for number, row in enumerate(rows, start=2):
        try:
            if {"lon", "lat"} <= columns:
                given = row.get("buffer_m") or buffer_m
                if given is None:
                    raise SpecError(
                        "points have no extent; give a column buffer_m, or --buffer-m in metres"
                    )
                spatials.append(PointBuffer(float(row["lon"]), float(row["lat"]), float(given)))
            elif set(_CORNERS) <= columns:
                west, south, east, north = (float(row[name]) for name in _CORNERS)
                spatials.append(BBox(west, south, east, north))
            else:
                raise SpecError(
                    f"{path.name} has the columns {', '.join(sorted(columns))}; it needs lon and "
                    f"lat, or {', '.join(_CORNERS)}"
                )
        except (TypeError, ValueError) as error:
            if isinstance(error, SpecError):
                raise
            raise SpecError(f"{path.name}, line {number}: {error}") from error
    if not spatials:
        raise SpecError(f"{path.name} holds no places")
    return spatials, _names([row["name"] for row in rows]) if "name" in columns else None


def _names(found: list[Any]) -> list[str] | None:
    """Names where every place has one; else none."""
    return [str(one) for one in found] if found and all(found) else None


def _temporal(words: ExportArgs) -> TemporalSpec | None:
    if words.start is None and words.end is None:
        return None
    if words.start is None or words.end is None:
        raise SpecError("--start and --end go together; --end is the date after the last")
    return TemporalSpec.range(words.start, words.end)
