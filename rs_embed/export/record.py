"""One place of an export as it is written: its models, their arrays, and where these are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rs_embed.core.grid import Grid

KINDS = ("embedding", "input", "context")
"""What an array can be; its name begins with it."""


@dataclass(frozen=True, eq=False)
class Layer:
    """An array and where its pixels are; a vector has no grid.

    Parameters
    ----------
    data : ndarray
        ``(D,)``, ``(D, H, W)`` or ``(T, C, H, W)``.
    grid : Grid or None
        Of the last two axes.
    scale : ndarray or None
        What int8 values are multiplied by: a number, ``()``, or one a cell, ``(H, W)``.
    bands : tuple of str
        Names along C; empty for features.
    """

    data: np.ndarray
    grid: Grid | None = None
    scale: np.ndarray | None = None
    bands: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ModelRecord:
    """One model at one place.

    ``row`` is the manifest's; ``layers`` the arrays by name, as `docs/export.md` lists them.
    """

    label: str
    row: Mapping[str, Any]
    layers: Mapping[str, Layer] = field(default_factory=dict)

    @property
    def embedding(self) -> Layer | None:
        """The embedding; None where it failed or was not saved."""
        return self.layers.get(f"embedding/{self.label}")


@dataclass(frozen=True, eq=False)
class PlaceRecord:
    """All models at one place, in the order of the request; ``place`` is the manifest's head."""

    name: str
    place: Mapping[str, Any]
    models: tuple[ModelRecord, ...]

    def layers(self) -> Iterator[tuple[str, Layer]]:
        """Every array with its name."""
        for one in self.models:
            yield from one.layers.items()


def head_of(place: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest says of a place itself, without its models."""
    return {key: place[key] for key in ("index", "name", "spatial", "lon", "lat")}


def checksum(array: np.ndarray) -> str:
    """SHA-256 of an array: its type, shape and bytes in row order, little-endian."""
    plain = np.ascontiguousarray(array)
    if plain.dtype.byteorder == ">":
        plain = plain.astype(plain.dtype.newbyteorder("<"))
    digest = hashlib.sha256(f"{plain.dtype.str} {plain.shape} ".encode())
    digest.update(plain.data if plain.size else b"")
    return digest.hexdigest()


def layer_json(layer: Layer) -> dict[str, Any]:
    """What the manifest says of an array."""
    told: dict[str, Any] = {
        "shape": list(layer.data.shape),
        "dtype": str(layer.data.dtype),
        "sha256": checksum(layer.data),
    }
    if layer.scale is not None:
        told["scale_sha256"] = checksum(layer.scale)
    if layer.grid is not None:
        told |= {"crs": layer.grid.crs, "transform": layer.grid.to_json()["transform"]}
    if layer.bands:
        told["bands"] = list(layer.bands)
    return told


def layers_intact(row: Mapping[str, Any], layers: Mapping[str, Layer]) -> bool:
    """Whether the arrays of a row are all there and are those that the manifest was made of."""
    told = {name: entry for kind in KINDS for name, entry in (row.get(kind) or {}).items()}
    return bool(told) and all(
        name in layers and layer_json(layers[name])["sha256"] == entry["sha256"]
        and _scale_intact(layers[name], entry)
        for name, entry in told.items()
    )  # fmt: skip


def _scale_intact(layer: Layer, entry: Mapping[str, Any]) -> bool:
    if "scale_sha256" not in entry:
        return layer.scale is None
    return layer.scale is not None and checksum(layer.scale) == entry["scale_sha256"]


def stored(values: np.ndarray, dtype: str) -> tuple[np.ndarray, np.ndarray | None, dict[str, Any]]:
    """Features as another type: the array, its scale, and the error that this makes.

    Parameters
    ----------
    values : ndarray
        ``(D,)`` or ``(D, H, W)`` float32.
    dtype : {"float32", "float16", "int8"}
        int8 is symmetric, one scale a vector: ``values = data * scale``; -128 marks a missing one.

    Returns
    -------
    data, scale, told
        ``told`` has the largest absolute and the root mean square error; empty for float32.
    """
    if dtype == "float32":
        return values, None, {}
    if dtype == "float16":
        data = np.clip(values, -65504, 65504).astype(np.float16)
        return data, None, _error(values, data.astype(np.float32))
    valid = np.isfinite(values)
    largest = np.max(np.abs(np.where(valid, values, 0)), axis=0)
    scale = np.asarray(np.where(largest > 0, largest / 127, 1), dtype=np.float32)
    steps = np.rint(np.where(valid, values, 0) / scale)
    data = np.where(valid, np.clip(steps, -127, 127), -128).astype(np.int8)
    return data, scale, _error(values, restored(data, scale))


def restored(data: np.ndarray, scale: np.ndarray | None) -> np.ndarray:
    """The features that `stored` was given, as near as their type allows; float32."""
    if scale is None:
        return np.asarray(data, dtype=np.float32)
    values = np.where(data == -128, np.float32(np.nan), data.astype(np.float32))
    return np.asarray(values * scale, dtype=np.float32)


def _error(values: np.ndarray, back: np.ndarray) -> dict[str, Any]:
    off = (back - values)[np.isfinite(values)].astype(np.float64)
    if not off.size:
        return {"error_max": None, "error_rms": None}
    return {
        "error_max": float(np.abs(off).max()),
        "error_rms": float(np.sqrt(np.square(off).mean())),
    }
