"""What comes out: an array of features, and everything that made it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rs_embed.core.jsonable import to_jsonable

if TYPE_CHECKING:
    import numpy as np
    import xarray

FEATURE = "feature"
META_ATTR = "rs_embed_meta"
_FLAT = ("model", "variant", "source", "collection", "input_time", "rs_embed_version")


@dataclass(frozen=True, eq=False)
class Embedding:
    """An embedding and its description.

    Parameters
    ----------
    data : ndarray or DataArray
        float32. Pooled: ``(D,)`` numpy. Grid: ``(D, H, W)`` DataArray with dims
        ``("feature", "y", "x")``, CRS, transform and cell-centre coordinates; NaN where no pixel
        of a cell is valid.
    meta : dict
        Model, weights, source, dates, windows, fractions, and what was decided on the way;
        plain data that goes to JSON. `docs/concepts.md` lists every field.
    """

    data: np.ndarray | xarray.DataArray
    meta: dict[str, Any] = field(default_factory=dict)

    def to_xarray(self) -> xarray.DataArray:
        """The data as a DataArray with attributes; pooled data has the one dim ``"feature"``."""
        import xarray as xr

        if isinstance(self.data, xr.DataArray):
            return self.data
        name = str(self.meta.get("model", "embedding"))
        return xr.DataArray(self.data, dims=(FEATURE,), name=name, attrs=attrs_of(self.meta))

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write to ``.nc`` (netCDF), ``.zarr``, ``.tif`` (a grid, as COG) or ``.npz``.

        The file appears whole or not at all. What rs_embed wrote there before is replaced; a file
        of another origin only with ``overwrite=True``, a folder of another origin never.
        `rs_embed.open_embedding` reads it back.

        Raises
        ------
        SpecError
            For another suffix, a pooled vector as ``.tif``, or a path that may not be written.
        ProviderError
            Where writing fails on the way; what was there is as it was.
        """
        saved: Path = self.to_xarray().rsembed.save(path, overwrite=overwrite)
        return saved


def attrs_of(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Flat strings and numbers, which every file format takes; the whole description as JSON."""
    flat = {
        key: meta[key]
        for key in _FLAT
        if isinstance(meta.get(key), str | int | float) and not isinstance(meta.get(key), bool)
    }
    return {
        **flat,
        "long_name": f"{meta.get('model', 'embedding')} embedding",
        "units": "1",
        META_ATTR: json.dumps(to_jsonable(meta), allow_nan=False),
    }
