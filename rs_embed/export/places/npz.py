"""Exports as npz: arrays by name, and the manifest beside them in the same file."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy

from rs_embed.core.grid import grid_from_json
from rs_embed.export.manifest import to_text
from rs_embed.export.places import Records
from rs_embed.export.record import KINDS, Layer, ModelRecord, PlaceRecord, head_of


def write_place(record: PlaceRecord, manifest: Mapping[str, Any], folder: Path) -> list[str]:
    """One place: its arrays under their names, and ``manifest``."""
    arrays = {name: array for one, layer in record.layers() for name, array in _named(one, layer)}
    arrays["manifest"] = np.array(to_text(manifest).encode("ascii"))
    name = f"{record.name}.npz"
    _save(folder / name, arrays.items())
    return [name]


def read_place(folder: Path, name: str) -> tuple[dict[str, Any], PlaceRecord]:
    """The manifest and the place that `write_place` wrote."""
    with opened(folder / f"{name}.npz") as held:
        manifest = _manifest(held)
        return manifest, _record(held, manifest, manifest["models"], "")


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest in the file."""
    with opened(path) as held:
        return _manifest(held)


def write_places(records: Sequence[PlaceRecord], path: Path) -> None:
    """Several places as they are, each under ``places/<name>/``."""
    arrays = (pair for record in records for pair in _of_place(record, lambda _: True))
    rows = [{**one.place, "models": [dict(model.row) for model in one.models]} for one in records]
    _save(path, [*arrays, ("manifest", np.array(to_text({"places": rows}).encode("ascii")))])


def write_all(
    records: Records, manifest: Mapping[str, Any], path: Path, dims: Mapping[str, int]
) -> None:
    """Many places in one file: vectors of a model as one array ``(N, D)``, a failed one NaN.

    Grids, inputs and surroundings stand under ``places/<name>/``. ``dims`` has the length of the
    vectors of each model; grids have none. One place is held at a time.
    """

    def arrays() -> Iterator[tuple[str, Any]]:
        places = manifest["places"]
        yield "name", np.array([place["name"] for place in places])
        for axis in ("lon", "lat"):
            yield axis, np.array([place[axis] for place in places], dtype=np.float64)
        for i, label in enumerate(model["label"] for model in manifest["request"]["models"]):
            states = [place["models"][i]["status"] for place in places]
            yield f"status/{label}", np.array(states)
            if label in dims:
                yield from _stacked(records, label, i, len(places), dims[label], manifest)
        for record in records():
            yield from _of_place(record, lambda layer: layer.data.ndim > 1)
        yield "manifest", np.array(to_text(manifest).encode("ascii"))

    _save(path, arrays())


def read_all(path: Path) -> Iterator[PlaceRecord]:
    """The places of what `write_all` or `write_places` wrote, one at a time, in order."""
    with PlacesFile(path) as opened:
        for i in range(len(opened.places)):
            yield opened.record(i)


class PlacesFile:
    """A file of many places, open: each array is read when it is asked for."""

    def __init__(self, path: Path) -> None:
        with ExitStack() as stack:
            self._held = stack.enter_context(opened(path))
            self._names = set(self._held.files)
            self._stacked: dict[str, np.ndarray] = {}
            self.places: list[dict[str, Any]] = _manifest(self._held)["places"]
            self._stack = stack.pop_all()  # what is broken is closed here, what is not is kept

    def __enter__(self) -> PlacesFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._stack.close()

    def record(self, i: int) -> PlaceRecord:
        """Place ``i``; its layers are read as they are looked up."""
        place = self.places[i]
        prefix = f"places/{place['name']}/"

        def array(name: str) -> np.ndarray:
            if f"{prefix}{name}" in self._names:
                return np.asarray(self._held[f"{prefix}{name}"])
            if name not in self._stacked:
                self._stacked[name] = self._held[name]
            return np.asarray(self._stacked[name][i])

        models = tuple(
            ModelRecord(row["label"], row, LayersOnDemand(row, array)) for row in place["models"]
        )
        return PlaceRecord(str(place["name"]), head_of(place), models)


class LayersOnDemand(Mapping[str, Layer]):
    """The layers that a manifest's row tells of; an array is read when it is looked up."""

    def __init__(self, row: Mapping[str, Any], array: Callable[[str], np.ndarray]) -> None:
        self._told = {name: told for kind in KINDS for name, told in (row.get(kind) or {}).items()}
        self._array = array

    def __getitem__(self, name: str) -> Layer:
        told = self._told[name]
        grid = None
        if "transform" in told:
            shape = told["shape"][-2:]
            grid = grid_from_json(
                {"crs": told["crs"], "transform": told["transform"], "shape": shape}
            )
        scale = self._array(f"{name}/scale") if "scale_sha256" in told else None
        return Layer(self._array(name), grid, scale, tuple(told.get("bands", ())))

    def __iter__(self) -> Iterator[str]:
        return iter(self._told)

    def __len__(self) -> int:
        return len(self._told)


class _Rows(NamedTuple):
    """An array whose rows are made while it is written."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    rows: Iterable[np.ndarray]


def _stacked(
    records: Records, label: str, i: int, count: int, dim: int, manifest: Mapping[str, Any]
) -> Iterator[tuple[str, _Rows]]:
    dtype = np.dtype(manifest["request"]["dtype"])
    missing = np.full(dim, -128 if dtype == np.int8 else np.nan).astype(dtype)
    layers = (one.models[i].embedding for one in records())
    rows = (missing if layer is None else layer.data for layer in layers)
    yield f"embedding/{label}", _Rows((count, dim), dtype, rows)
    if dtype == np.int8:
        layers = (one.models[i].embedding for one in records())
        scales = (
            np.float32(np.nan) if layer is None or layer.scale is None else layer.scale
            for layer in layers
        )  # fmt: skip
        rows = (np.asarray(scale, dtype=np.float32) for scale in scales)
        yield f"embedding/{label}/scale", _Rows((count,), np.dtype("<f4"), rows)


def _of_place(
    record: PlaceRecord, wanted: Callable[[Layer], bool]
) -> Iterator[tuple[str, np.ndarray]]:
    for one, layer in record.layers():
        if wanted(layer):
            yield from _named(f"places/{record.name}/{one}", layer)


def _named(name: str, layer: Layer) -> Iterator[tuple[str, np.ndarray]]:
    yield name, layer.data
    if layer.scale is not None:
        yield f"{name}/scale", layer.scale
    if layer.grid is not None:
        yield f"{name}/transform", np.array(tuple(layer.grid.transform)[:6], dtype=np.float64)
        yield f"{name}/crs", np.array(layer.grid.crs)


def _save(path: Path, arrays: Iterable[tuple[str, Any]]) -> None:
    """As ``np.savez``, one array at a time; entries carry no date, so equal arrays, equal bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                if isinstance(array, _Rows):
                    header = {
                        "descr": npy.dtype_to_descr(array.dtype),
                        "fortran_order": False,
                        "shape": array.shape,
                    }
                    npy.write_array_header_1_0(stream, header)
                    for row in array.rows:
                        stream.write(np.ascontiguousarray(row, dtype=array.dtype).tobytes())
                else:
                    npy.write_array(stream, np.asanyarray(array), allow_pickle=False)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The arrays of a file; it is closed even where it turns out to be broken."""
    with path.open("rb") as stream, np.load(stream) as held:
        yield held


def _manifest(held: Any) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(held["manifest"][()])
    return loaded


def _record(
    held: Any, place: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], prefix: str
) -> PlaceRecord:
    def array(name: str) -> np.ndarray:
        return np.asarray(held[f"{prefix}{name}"])

    models = tuple(ModelRecord(row["label"], row, dict(LayersOnDemand(row, array))) for row in rows)
    return PlaceRecord(str(place["name"]), head_of(place), models)
