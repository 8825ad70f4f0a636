"""Exports as GeoParquet: vectors as lists of fixed length, one row a place and model.

Written by pyarrow itself: geopandas would make lists of any length of them, which searches for
neighbours do not take.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from returns.result import Failure, Success

from rs_embed.core.errors import ModelError
from rs_embed.core.extras import missing_text
from rs_embed.core.result import Outcome, caused
from rs_embed.export.manifest import to_text
from rs_embed.export.places import Records
from rs_embed.export.record import Layer, ModelRecord, PlaceRecord, head_of

_MANIFEST = b"rs_embed_manifest"
_ROWS = 4096  # of a row group


def installed() -> Outcome[None]:
    """Failure(ModelError) where pyarrow is missing."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        text = missing_text("format='geoparquet'", "vector", "pyarrow")
        return Failure(caused(ModelError(text), by=error))
    return Success(None)


def write_place(record: PlaceRecord, manifest: Mapping[str, Any], folder: Path) -> list[str]:
    """One place: a part of a data set, one row a model."""
    name = f"{record.name}.parquet"
    dims = {
        one.label: one.embedding.data.shape[0] for one in record.models if one.embedding is not None
    }
    _write([record], manifest, folder / name, dims)
    return [name]


def read_place(folder: Path, name: str) -> tuple[dict[str, Any], PlaceRecord]:
    """The manifest and the place that `write_place` wrote."""
    path = folder / f"{name}.parquet"
    manifest = read_manifest(path)
    vectors = _vectors(path)
    return manifest, _record(manifest, manifest["models"], vectors)


def write_all(
    records: Records, manifest: Mapping[str, Any], path: Path, dims: Mapping[str, int]
) -> None:
    """Many places in one table, in order; a failed model has no vector."""
    _write(records(), manifest, path, dims)


def read_all(path: Path) -> Iterator[PlaceRecord]:
    """The places of what `write_all` wrote, in order."""
    vectors = _vectors(path)
    for place in read_manifest(path)["places"]:
        yield _record(place, place["models"], vectors)


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest in the file."""
    import pyarrow.parquet as pq

    try:
        manifest: dict[str, Any] = json.loads(pq.read_schema(path).metadata[_MANIFEST])
    except Exception as error:  # pyarrow has errors of its own for broken files
        raise OSError(f"{path.name} is no export: {error}") from error
    return manifest


def _write(records: Any, manifest: Mapping[str, Any], path: Path, dims: Mapping[str, int]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kind = {"float32": pa.float32(), "float16": pa.float16(), "int8": pa.int8()}[
        manifest["request"]["dtype"]
    ]
    columns = column_names(dims)
    fields = [
        ("name", pa.string()), ("index", pa.int64()), ("label", pa.string()),
        ("status", pa.string()), ("error", pa.string()), ("fingerprint", pa.string()),
        ("lon", pa.float64()), ("lat", pa.float64()), ("scale", pa.float32()),
        *((column, pa.list_(kind, dim)) for dim, column in columns.items()),
        ("geometry", pa.binary()),
    ]  # fmt: skip
    geo = {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {"geometry": {"encoding": "WKB", "geometry_types": []}},
    }
    schema = pa.schema(fields).with_metadata(
        {b"geo": json.dumps(geo).encode(), _MANIFEST: to_text(manifest).encode("ascii")}
    )
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        held: list[dict[str, Any]] = []
        for record in records:
            held += _rows(record, columns, dims)
            if len(held) >= _ROWS:
                writer.write_table(_table(held, schema))
                held = []
        writer.write_table(_table(held, schema))


def column_names(dims: Mapping[str, int]) -> dict[int, str]:
    """The column of vectors of each length: ``embedding``, or one for each where they differ."""
    lengths = sorted(set(dims.values()))
    if len(lengths) == 1:
        return {lengths[0]: "embedding"}
    return {length: f"embedding_{length}" for length in lengths}


def _rows(
    record: PlaceRecord, columns: Mapping[int, str], dims: Mapping[str, int]
) -> list[dict[str, Any]]:
    made = []
    for one in record.models:
        layer = one.embedding
        error = one.row.get("error")
        row = {
            "name": record.name,
            "index": record.place["index"],
            "label": one.label,
            "status": one.row["status"],
            "error": None if error is None else error["message"],
            "fingerprint": one.row["fingerprint"],
            "lon": record.place["lon"],
            "lat": record.place["lat"],
            "geometry": wkb(record.place["spatial"]),
        }
        if layer is not None:
            row[columns[dims[one.label]]] = layer.data
            row["scale"] = None if layer.scale is None else float(layer.scale)
        made.append(row)
    return made


def _table(rows: Sequence[Mapping[str, Any]], schema: Any) -> Any:
    import pyarrow as pa

    arrays = []
    for item in schema:
        values = [row.get(item.name) for row in rows]
        if pa.types.is_fixed_size_list(item.type):
            arrays.append(_lists(values, item.type))
        else:
            arrays.append(pa.array(values, item.type))
    return pa.table(arrays, schema=schema)


def _lists(values: Sequence[np.ndarray | None], kind: Any) -> Any:
    import pyarrow as pa

    flat = np.zeros((len(values), kind.list_size), dtype=kind.value_type.to_pandas_dtype())
    for row, value in enumerate(values):
        if value is not None:
            flat[row] = value
    missing = np.array([value is None for value in values], dtype=bool)
    inner = pa.array(flat.ravel(), kind.value_type)
    return pa.FixedSizeListArray.from_arrays(inner, kind.list_size, mask=pa.array(missing))


def wkb(spatial: Mapping[str, Any]) -> bytes:
    """A place as well-known binary: a point, or a box as a polygon; degrees."""
    if spatial["type"] == "PointBuffer":
        return struct.pack("<BIdd", 1, 1, spatial["lon"], spatial["lat"])
    w, s, e, n = (float(spatial[k]) for k in ("minlon", "minlat", "maxlon", "maxlat"))
    ring = (w, s, e, s, e, n, w, n, w, s)
    return struct.pack("<BIII10d", 1, 3, 1, 5, *ring)


def _vectors(path: Path) -> dict[tuple[str, str], Layer]:
    """The vectors of a file by place and label."""
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()
    except Exception as error:  # as above
        raise OSError(f"{path.name} is broken: {error}") from error
    found: dict[tuple[str, str], Layer] = {}
    names, labels = (table[name].to_pylist() for name in ("name", "label"))
    scales = table["scale"].to_pylist()
    for column in (c for c in table.column_names if c.startswith("embedding")):
        lists = table[column].combine_chunks()
        dim = lists.type.list_size
        flat = lists.flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)
        for row, i in enumerate(np.flatnonzero(lists.is_valid().to_numpy(zero_copy_only=False))):
            scale = None if scales[i] is None else np.asarray(scales[i], dtype=np.float32)
            found[names[i], labels[i]] = Layer(np.ascontiguousarray(flat[row]), None, scale)
    return found


def _record(
    place: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    vectors: Mapping[tuple[str, str], Layer],
) -> PlaceRecord:
    name = str(place["name"])

    def layers(row: Mapping[str, Any]) -> dict[str, Layer]:
        key = name, row["label"]
        return {f"embedding/{row['label']}": vectors[key]} if key in vectors else {}

    models = tuple(ModelRecord(row["label"], row, layers(row)) for row in rows)
    return PlaceRecord(name, head_of(place), models)
