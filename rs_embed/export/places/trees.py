"""Places as groups of xarray Datasets: what netCDF and Zarr have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_embed.core.embedding import FEATURE
from rs_embed.export.manifest import to_text
from rs_embed.export.places import Records
from rs_embed.export.places.npz import LayersOnDemand
from rs_embed.export.record import Layer, ModelRecord, PlaceRecord, head_of
from rs_embed.raster.embedding_array import grid_coords

if TYPE_CHECKING:
    import xarray as xr

VALUES, SCALE, MANIFEST = "values", "scale", "manifest"
Node = tuple[str, "xr.Dataset"]
"""The path of a group, "" for the root, and what is in it."""


def place_nodes(record: PlaceRecord, manifest: Mapping[str, Any]) -> Iterator[Node]:
    """One place: its manifest at the root, a group for each array under its name."""
    yield "", _root(manifest)
    for name, layer in record.layers():
        yield name, _dataset(layer)


def all_nodes(
    records: Records, manifest: Mapping[str, Any], dims: Mapping[str, int]
) -> Iterator[Node]:
    """Many places: vectors of a model as one array ``(place, feature)``, the rest by place."""
    import xarray as xr

    places = manifest["places"]
    names = [place["name"] for place in places]
    table: dict[str, Any] = {
        "lon": ("place", [place["lon"] for place in places], {"units": "degrees_east"}),
        "lat": ("place", [place["lat"] for place in places], {"units": "degrees_north"}),
    }
    yield "", _root(manifest).assign_coords(name=("place", names), **table)
    for i, label in enumerate(model["label"] for model in manifest["request"]["models"]):
        states = xr.Variable("place", [place["models"][i]["status"] for place in places])
        variables = {"status": states}
        if label in dims:
            variables |= _stacked(records, i, len(places), dims[label], manifest)
        yield f"embedding/{label}", xr.Dataset(variables, coords={"name": ("place", names)})
    for record in records():
        for name, layer in record.layers():
            if layer.data.ndim > 1:
                yield f"places/{record.name}/{name}", _dataset(layer)


def _root(manifest: Mapping[str, Any]) -> xr.Dataset:
    import xarray as xr

    request = manifest["request"]
    attrs = {
        "Conventions": "CF-1.8",
        "rs_embed_version": manifest["rs_embed_version"],
        "models": ", ".join(model["label"] for model in request["models"]),
        "licence": "; ".join(dict.fromkeys(model["licence"] for model in request["models"])),
    }
    return xr.Dataset({MANIFEST: ((), to_text(manifest))}, attrs=attrs)


def _stacked(
    records: Records, i: int, count: int, dim: int, manifest: Mapping[str, Any]
) -> dict[str, Any]:
    import xarray as xr

    dtype = np.dtype(manifest["request"]["dtype"])
    values = np.full((count, dim), -128 if dtype == np.int8 else np.nan).astype(dtype)
    scales = np.full(count, np.nan, dtype=np.float32)
    for row, record in enumerate(records()):
        layer = record.models[i].embedding
        if layer is not None:
            values[row] = layer.data
            scales[row] = np.nan if layer.scale is None else layer.scale
    made = {VALUES: xr.Variable(("place", FEATURE), values)}
    if dtype == np.int8:
        made[SCALE] = xr.Variable(("place",), scales)
    return made


def _dataset(layer: Layer) -> xr.Dataset:
    import xarray as xr

    data = layer.data
    if layer.grid is None:
        variables = {VALUES: xr.Variable((FEATURE,), data)}
        if layer.scale is not None:
            variables[SCALE] = xr.Variable((), layer.scale)
        return xr.Dataset(variables)
    first = ("time", "band") if data.ndim == 4 else ("band",) if layer.bands else (FEATURE,)
    coords: dict[str, Any] = dict(grid_coords(layer.grid))
    if layer.bands:
        coords["band"] = list(layer.bands)
    variables = {VALUES: xr.Variable((*first, "y", "x"), data)}
    if layer.scale is not None:
        variables[SCALE] = xr.Variable(("y", "x"), layer.scale)
    for one in variables.values():
        one.encoding["grid_mapping"] = "spatial_ref"
    return xr.Dataset(variables, coords=coords)


class Tree:
    """A file of groups, to be read; ``group(path)`` gives one of them."""

    def __init__(self, group: Callable[[str], xr.Dataset], manifest: dict[str, Any]) -> None:
        self._group, self.manifest = group, manifest
        self._stacked: dict[str, xr.Dataset] = {}

    def place(self) -> PlaceRecord:
        """The one place of a file."""
        models = tuple(
            ModelRecord(row["label"], row, dict(LayersOnDemand(row, self._array(""))))
            for row in self.manifest["models"]
        )
        return PlaceRecord(str(self.manifest["name"]), head_of(self.manifest), models)

    def places(self) -> Iterator[PlaceRecord]:
        """The places of a file of many, in order."""
        for i, place in enumerate(self.manifest["places"]):
            array = self._array(f"places/{place['name']}/", i)
            models = tuple(
                ModelRecord(row["label"], row, LayersOnDemand(row, array))
                for row in place["models"]
            )
            yield PlaceRecord(str(place["name"]), head_of(place), models)

    def _array(self, prefix: str, row: int | None = None) -> Callable[[str], np.ndarray]:
        pooled = row is not None and self.manifest["request"]["output"]["mode"] == "pooled"

        def array(name: str) -> np.ndarray:
            scale = name.endswith("/scale")
            base, variable = (name[: -len("/scale")], SCALE) if scale else (name, VALUES)
            if pooled and name.startswith("embedding/"):
                if base not in self._stacked:
                    self._stacked[base] = self._group(base).load()
                return np.asarray(self._stacked[base][variable].values[row])
            return np.asarray(self._group(f"{prefix}{base}")[variable].values)

        return array
