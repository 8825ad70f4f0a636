"""Which files an xarray object was read from, so that none of them is written over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr

SOURCES = "rs_embed_sources"
"""Name in an embedding's encoding of the paths that its pixels came from."""


def sources_of(obj: xr.DataArray | xr.Dataset) -> tuple[str, ...]:
    """The paths that xarray and rioxarray noted on reading, and those that we noted ourselves."""
    stores = [obj.encoding]
    variables: Any = getattr(obj, "data_vars", {})
    stores += [one.encoding for one in (*variables.values(), *obj.coords.values())]
    found = [store["source"] for store in stores if isinstance(store.get("source"), str)]
    ours = [path for store in stores for path in store.get(SOURCES, ())]
    return tuple(dict.fromkeys([*found, *ours]))


def note_sources(embedding: xr.DataArray, pixels: xr.DataArray | xr.Dataset) -> xr.DataArray:
    """The embedding, with the files that its pixels were read from in its encoding alone."""
    paths = sources_of(pixels)
    if paths:
        embedding.encoding[SOURCES] = paths
    return embedding
