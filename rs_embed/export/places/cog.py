"""Exports as cloud-optimised GeoTIFF: a file a place and model, one band a feature."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rs_embed.core.errors import SpecError
from rs_embed.export.cog import write_cog
from rs_embed.export.places import Records
from rs_embed.export.places.npz import LayersOnDemand
from rs_embed.export.record import ModelRecord, PlaceRecord, head_of
from rs_embed.raster.embedding_array import grid_array

_SAID = ("model", "variant", "licence", "citation")


def write_place(record: PlaceRecord, manifest: Mapping[str, Any], folder: Path) -> list[str]:
    """One place: ``<name>.<label>.tif`` for each model that gave a grid."""
    heads = {model["label"]: model for model in manifest["request"]["models"]}
    names = []
    for one in record.models:
        layer = one.embedding
        if layer is None or layer.grid is None:
            continue
        head = heads.get(one.label, {})
        said = {
            key: head[key] for key in ("model", "variant", "licence", "citation") if key in head
        }
        meta = {**said, **one.row["meta"]}
        array = grid_array(np.asarray(layer.data, dtype=np.float32), layer.grid, meta)
        name = file_name(record.name, one.label)
        write_cog(array, layer.grid, folder / name)
        names.append(name)
    return names


def file_name(name: str, label: str) -> str:
    """The file of one model at one place."""
    return f"{name}.{re.sub('[^A-Za-z0-9_.#-]', '_', label)}.tif"


def read_place(folder: Path, name: str) -> tuple[dict[str, Any], PlaceRecord]:
    """The manifest, from its ``.json``, and the place that `write_place` wrote."""
    manifest: dict[str, Any] = json.loads((folder / f"{name}.json").read_text("utf-8"))

    def model(row: Mapping[str, Any]) -> ModelRecord:
        layers = dict(
            LayersOnDemand(row, lambda _: _pixels(folder / file_name(name, row["label"])))
        )
        return ModelRecord(row["label"], row, layers)

    models = tuple(model(row) for row in manifest["models"])
    return manifest, PlaceRecord(name, head_of(manifest), models)


def _pixels(path: Path) -> np.ndarray:
    import rasterio
    from rasterio.errors import RasterioError

    try:
        with rasterio.open(path) as opened:
            return np.asarray(opened.read())
    except RasterioError as error:
        raise OSError(str(error)) from error


def write_all(
    records: Records, manifest: Mapping[str, Any], path: Path, dims: Mapping[str, int]
) -> None:
    """A GeoTIFF holds one grid: SpecError."""
    raise SpecError("a cog holds one grid; use out_dir, a file a place and model")


def read_all(path: Path) -> Iterator[PlaceRecord]:
    """As `write_all`."""
    raise SpecError("a cog holds one grid; read the folder that it lies in")


def read_manifest(path: Path) -> dict[str, Any]:
    """As `write_all`."""
    raise SpecError("a cog holds one grid; its manifest is the .json of its place")
