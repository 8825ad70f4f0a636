"""``Dataset.rsembed``: data variables are bands."""

from __future__ import annotations

import xarray as xr

from rs_embed.accessors.pixels import PixelsAccessor


@xr.register_dataset_accessor("rsembed")  # type: ignore[no-untyped-call]
class DatasetAccessor(PixelsAccessor):
    """Embeddings of a Dataset whose data variables are the bands."""
