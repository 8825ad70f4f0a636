"""What comes out: an array of features, and everything that made it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import xarray


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
        from rs_embed.georef import embedding_to_xarray

        return embedding_to_xarray(self)

    def save(self, path: str | Path) -> Path:
        """Write to ``.nc`` (netCDF), ``.zarr``, ``.tif`` (a grid, as COG) or ``.npz``.

        The file appears whole or not at all. SpecError for another suffix, or a pooled vector
        as ``.tif``.
        """
        from rs_embed.georef import save_embedding

        return save_embedding(self, path)
