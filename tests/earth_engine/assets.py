"""Assets in the form of the REST interface, as getAsset and listAssets show them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .collection_functions import CATALOGUE, load_image
from .elements import Date, describe
from .errors import ServiceError
from .geometry import Projection, geojson
from .images import Band
from .scenes import Scene


def asset_name(asset: str) -> str:
    """The resource name of a public asset."""
    return f"projects/earthengine-public/assets/{asset}"


def get_asset(asset: str) -> dict[str, Any]:
    """The document of a collection or an image."""
    if asset in CATALOGUE.collections:
        return {"type": "IMAGE_COLLECTION", "name": asset_name(asset), "id": asset}
    if asset in CATALOGUE.scenes:
        return image_asset(CATALOGUE.scenes[asset])
    raise ServiceError(
        f"Asset '{asset}' not found (does not exist or caller does not have access).", 404
    )


def list_assets(asset: str, page_size: int | None) -> dict[str, Any]:
    """The images of a collection, cut at the page size; filters are ignored."""
    get_asset(asset)
    scenes = CATALOGUE.collections.get(asset, [])
    return {"assets": [image_asset(scene) for scene in scenes[:page_size]]}


def image_asset(scene: Scene) -> dict[str, Any]:
    """The document of one image."""
    image = load_image(id=scene.id)
    system = ("system:index", "system:time_start", "system:time_end")
    start, end = (image.get(name) for name in system[1:])
    return {
        "type": "IMAGE",
        "name": asset_name(scene.id),
        "id": scene.id,
        "startTime": _timestamp(start),
        "endTime": _timestamp(start if end is None else end),
        "geometry": geojson(image.footprint[0]) if image.footprint else None,
        "bands": [_band(band) for band in image.bands],
        "properties": describe({k: v for k, v in image.properties.items() if k not in system}),
    }


def _timestamp(ms: Any) -> str:
    return Date(int(ms)).when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _band(band: Band) -> dict[str, Any]:
    kind = np.dtype(band.dtype)
    precision = {"f4": "FLOAT", "f8": "DOUBLE"}.get(kind.str[1:], "INT")
    data_type: dict[str, Any] = {"precision": precision}
    if precision == "INT":
        limits = np.iinfo(kind)
        data_type["range"] = {"min": limits.min, "max": limits.max}
    return {
        "id": band.name,
        "dataType": data_type,
        "grid": _grid(band.projection, band.size),
        "pyramidingPolicy": band.pyramid.upper(),
    }


def _grid(projection: Projection, size: tuple[int, int] | None) -> dict[str, Any]:
    names = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
    width, height = size or (0, 0)
    return {
        "crsCode": projection.crs,
        "dimensions": {"width": width, "height": height},
        "affineTransform": dict(zip(names, projection.transform, strict=True)),
    }
