"""The ``.rsembed`` accessors; importing this package registers them."""

from rs_embed.accessors.dataarray import DataArrayAccessor
from rs_embed.accessors.dataset import DatasetAccessor

__all__ = ["DataArrayAccessor", "DatasetAccessor"]
