"""Exports as a Zarr store: a group for each array, with what readers of embeddings look for.

Groups of pixels have ``proj:code`` and ``spatial:…``, the root ``geoemb:…``: the conventions of
geo-embeddings/embeddings-zarr-convention (version 1) and of the proj and spatial conventions that
it builds on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rs_embed.export.places import Records
from rs_embed.export.places.trees import MANIFEST, Node, Tree, all_nodes, place_nodes
from rs_embed.export.record import PlaceRecord

if TYPE_CHECKING:
    import xarray as xr

_CONVENTIONS = {
    "geoemb:": "61c12cc5-0e28-4056-999a-480cf3fb7e4c",
    "proj:": "f17cb550-5864-4468-aeb7-f3180cfb622f",
    "spatial:": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
}


def write_place(record: PlaceRecord, manifest: Mapping[str, Any], folder: Path) -> list[str]:
    """One place: groups named as its arrays, and the array ``manifest``."""
    name = f"{record.name}.zarr"
    _write(place_nodes(record, manifest), manifest, folder / name)
    return [name]


def read_place(folder: Path, name: str) -> tuple[dict[str, Any], PlaceRecord]:
    """The manifest and the place that `write_place` wrote."""
    tree = _tree(folder / f"{name}.zarr")
    return tree.manifest, tree.place()


def write_all(
    records: Records, manifest: Mapping[str, Any], path: Path, dims: Mapping[str, int]
) -> None:
    """Many places: ``embedding/<label>`` has ``values`` (place, feature) and ``status``."""
    _write(all_nodes(records, manifest, dims), manifest, path)


def read_all(path: Path) -> Iterator[PlaceRecord]:
    """The places of what `write_all` wrote, in order."""
    yield from _tree(path).places()


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest in the store."""
    manifest: dict[str, Any] = json.loads(str(_group(path, "")[MANIFEST].values))
    return manifest


def embedding_attrs(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The ``geoemb:`` attributes of a store."""
    request = manifest["request"]
    pooled = request["output"]["mode"] == "pooled"
    dims = sorted({model["dim"] for model in request["models"]})
    attrs: dict[str, Any] = {
        "zarr_conventions": [{"uuid": uuid, "name": name} for name, uuid in _CONVENTIONS.items()],
        "geoemb:type": "chip" if pooled else "pixel",
        "geoemb:dimensions": dims[0] if len(dims) == 1 else dims,
        "geoemb:model": [model["model"] for model in request["models"]],
        "geoemb:source_data": sorted(_collections(manifest)),
        "geoemb:data_type": request["dtype"],
        "geoemb:build_version": manifest["rs_embed_version"],
    }
    if request["dtype"] == "int8":
        attrs["geoemb:quantization"] = {
            "method": "symmetric",
            "original_dtype": "float32",
            "quantized_dtype": "int8",
            "scale": {"type": "array", "name": "scale"},
        }
    return attrs


def _collections(manifest: Mapping[str, Any]) -> set[str]:
    rows = [
        row
        for place in manifest.get("places", [manifest])
        for row in place["models"]
    ]  # fmt: skip
    return {str(row["meta"]["collection"]) for row in rows if row["meta"].get("collection")}


def _spatial_attrs(dataset: xr.Dataset) -> dict[str, Any]:
    """``proj:`` and ``spatial:`` of a group of pixels; nothing for one without."""
    if "spatial_ref" not in dataset.coords:
        return {}
    from pyproj import CRS

    ref = dataset["spatial_ref"].attrs
    c, a, b, f, d, e = (float(v) for v in str(ref["GeoTransform"]).split())
    height, width = dataset.sizes["y"], dataset.sizes["x"]
    xs, ys = sorted((c, c + a * width)), sorted((f, f + e * height))
    code = CRS.from_wkt(ref["crs_wkt"]).to_authority()
    placed = {"proj:code": ":".join(code)} if code else {"proj:wkt2": ref["crs_wkt"]}
    return {
        **placed,
        "spatial:dimensions": ["y", "x"],
        "spatial:transform": [a, b, c, d, e, f],
        "spatial:shape": [height, width],
        "spatial:bbox": [xs[0], ys[0], xs[1], ys[1]],
    }


def _write(nodes: Iterable[Node], manifest: Mapping[str, Any], path: Path) -> None:
    import zarr

    # As `rs_embed.export.formats.write_zarr`: what zarr 2 and 3 both open.
    form: Any = None if zarr.__version__.startswith("2.") else 2
    for i, (group, dataset) in enumerate(nodes):
        extra = _spatial_attrs(dataset) if group else embedding_attrs(manifest)
        dataset.assign_attrs(extra).to_zarr(
            path, mode="a" if i else "w", group=group or None, consolidated=False,
            zarr_format=form, write_empty_chunks=True,
        )  # fmt: skip
    zarr.consolidate_metadata(str(path))


def _tree(path: Path) -> Tree:
    return Tree(lambda group: _group(path, group), read_manifest(path))


def _group(path: Path, group: str) -> xr.Dataset:
    import xarray as xr

    opened: xr.Dataset = xr.open_zarr(path, group=group or None, consolidated=False, chunks=None)
    return opened.load()
