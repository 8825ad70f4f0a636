"""An export read back: vectors of all places as one Dataset, or the grids of each place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from returns.result import Failure, Success

from rs_embed.core.embedding import FEATURE
from rs_embed.core.errors import SpecError
from rs_embed.core.paths import user_path
from rs_embed.core.result import Outcome, caused
from rs_embed.export.places import Format, format_named
from rs_embed.export.record import ModelRecord, PlaceRecord, restored
from rs_embed.raster.embedding_array import grid_array

if TYPE_CHECKING:
    import xarray as xr

SUFFIXES = {
    ".npz": "npz",
    ".nc": "netcdf",
    ".zarr": "zarr",
    ".parquet": "geoparquet",
    ".tif": "cog",
}


def load_export(path: Any) -> Outcome[Any]:
    """What `rs_embed.load_export` returns. Fails with SpecError where there is no export."""
    return user_path(path).bind(_loaded)


def _loaded(path: Path) -> Outcome[Any]:
    if not path.exists():
        return Failure(SpecError(f"{str(path)!r} does not exist; give an export's folder or file"))
    try:
        if path.is_dir() and path.suffix != ".zarr":
            records = list(_folder(path))
        else:
            records = list(_file(path))
    except (OSError, ValueError, KeyError) as error:
        text = f"{str(path)!r} cannot be read as an export: {error}"
        return Failure(caused(SpecError(text), by=error))
    if not records:
        return Failure(SpecError(f"{str(path)!r} holds no export"))
    grids = any(
        layer.data.ndim == 3 for one in records for model in one.models
        if (layer := model.embedding) is not None
    )  # fmt: skip
    return Success([_grids(one) for one in records] if grids else _dataset(records))


def _folder(path: Path) -> Iterator[PlaceRecord]:
    """The places of a folder, in the order of the request."""
    found: dict[str, PlaceRecord] = {}
    for file in sorted(path.iterdir()):
        form = SUFFIXES.get(file.suffix)
        if form is not None and form != "cog" and not file.name.startswith("."):
            _, record = format_named(form).read_place(path, file.stem)
            found[record.name] = record
        elif file.suffix == ".json":
            told = json.loads(file.read_text("utf-8"))
            if "models" not in told or file.stem in found:
                continue
            if told["request"]["format"] == "cog" and told["files"]:
                found[file.stem] = format_named("cog").read_place(path, file.stem)[1]
            elif not told["files"]:  # a place of which nothing came
                rows = tuple(ModelRecord(row["label"], row) for row in told["models"])
                found[file.stem] = PlaceRecord(file.stem, _head(told), rows)
    return iter(sorted(found.values(), key=lambda one: int(one.place["index"])))


def _head(told: dict[str, Any]) -> dict[str, Any]:
    return {key: told[key] for key in ("index", "name", "spatial", "lon", "lat")}


def _file(path: Path) -> Iterator[PlaceRecord]:
    name = SUFFIXES.get(path.suffix)
    if name is None or name == "cog":
        raise ValueError(f"it ends in none of {', '.join(SUFFIXES)}, or is one grid")
    form: Format = format_named(name)
    if "places" not in form.read_manifest(path):
        yield form.read_place(path.parent, path.stem)[1]
        return
    for record in form.read_all(path):  # layers are read while the file is open
        yield PlaceRecord(record.name, record.place, tuple(map(_embedding_alone, record.models)))


def _embedding_alone(one: ModelRecord) -> ModelRecord:
    layer = one.embedding
    return ModelRecord(
        one.label, one.row, {} if layer is None else {f"embedding/{one.label}": layer}
    )


def _labels(records: list[PlaceRecord]) -> list[str]:
    return list(dict.fromkeys(model.label for one in records for model in one.models))


def _dataset(records: list[PlaceRecord]) -> xr.Dataset:
    """Vectors: a variable ``(place, feature)`` a model, NaN where one failed."""
    import xarray as xr

    labels = _labels(records)
    found = [{model.label: model for model in one.models} for one in records]
    vectors = {label: [_vector(models.get(label)) for models in found] for label in labels}
    lengths = {
        label: next((len(v) for v in values if v is not None), 0)
        for label, values in vectors.items()
    }
    several = len(set(lengths.values())) > 1
    variables: dict[str, Any] = {}
    for label, values in vectors.items():
        rows = np.full((len(records), lengths[label]), np.nan, dtype=np.float32)
        for i, value in enumerate(values):
            if value is not None:
                rows[i] = value
        variables[label] = (("place", f"{FEATURE}_{lengths[label]}" if several else FEATURE), rows)
    states = [
        [str(m[label].row["status"]) if label in m else "absent" for label in labels] for m in found
    ]
    variables["status"] = (("place", "model"), np.array(states))
    coords = {
        "place": [one.name for one in records],
        "model": labels,
        "lon": ("place", [float(one.place["lon"]) for one in records]),
        "lat": ("place", [float(one.place["lat"]) for one in records]),
    }
    return xr.Dataset(variables, coords)


def _vector(model: ModelRecord | None) -> np.ndarray | None:
    layer = None if model is None else model.embedding
    return None if layer is None else restored(layer.data, layer.scale)


def _grids(record: PlaceRecord) -> dict[str, xr.DataArray | None]:
    """The grid of each model of a place; None where it failed."""
    made: dict[str, xr.DataArray | None] = {}
    for one in record.models:
        layer = one.embedding
        if layer is None or layer.grid is None:
            made[one.label] = None
            continue
        meta = {"model": one.label, **one.row["meta"], "place": record.name}
        made[one.label] = grid_array(restored(layer.data, layer.scale), layer.grid, meta)
    return made
