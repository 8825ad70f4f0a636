"""How alike the cells of an embedding are to a vector or a place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from returns.result import Failure, Success

from rs_embed.analysis.cells import map_cells, origin, unflatten
from rs_embed.analysis.sample import Place, sample
from rs_embed.core.embedding import FEATURE
from rs_embed.core.errors import SpecError
from rs_embed.core.result import Outcome
from rs_embed.core.scalars import python_scalar
from rs_embed.raster.embedding_array import check_embedding

if TYPE_CHECKING:
    import xarray as xr


def similarity(array: Any, target: Any) -> Outcome[xr.DataArray]:
    """Cosine of each cell with a vector or with the cell at a place, ``("y", "x")``, -1 to 1.

    Parameters
    ----------
    array : DataArray
        An embedding.
    target : (lon, lat), or array of shape (D,)
        A tuple of two numbers is a place; an array, DataArray or Embedding is a vector.

    Fails with SpecError for a place outside the grid or without a valid cell, and for a vector of
    another length, of zeros, or that is not finite.
    """
    return check_embedding(array).bind(
        lambda found: _target(found, target).map(lambda vector: _cosine(found, vector))
    )


def _target(array: xr.DataArray, target: Any) -> Outcome[np.ndarray]:
    if isinstance(target, tuple) and len(target) == 2:
        place = (python_scalar(target[0]), python_scalar(target[1]))
        return sample(array, [place]).bind(lambda found: _of_place(found, place))
    data = np.asarray(getattr(target, "data", target))
    features = array.sizes[FEATURE]
    if data.shape != (features,) or not np.issubdtype(data.dtype, np.number):
        return Failure(
            SpecError(
                f"similarity takes a (lon, lat) tuple or a vector of {features} numbers, not "
                f"{data.dtype} of shape {data.shape}"
            )
        )
    if not np.isfinite(data).all() or not np.any(data):
        return Failure(SpecError("the vector must be finite and not all zeros"))
    return Success(data.astype(np.float64))


def _of_place(found: xr.DataArray, place: Place) -> Outcome[np.ndarray]:
    if found.ndim != 2:
        return Failure(
            SpecError(
                f"the embedding has further dims {found.dims[:-2]}; select one entry, or pass a "
                "vector"
            )
        )
    if found.attrs["points_outside"]:
        return Failure(SpecError(f"(lon, lat) {place} lies outside the embedding; give one inside"))
    vector = np.asarray(found[0], dtype=np.float64)
    if not np.isfinite(vector).all():
        return Failure(SpecError(f"the cell at (lon, lat) {place} is missing; give another place"))
    return Success(vector)


def _cosine(array: xr.DataArray, vector: np.ndarray) -> xr.DataArray:
    unit = vector / np.linalg.norm(vector)

    def cosines(cells: np.ndarray) -> np.ndarray:
        norms = np.sqrt(np.einsum("nd,nd->n", cells, cells))
        with np.errstate(invalid="ignore", divide="ignore"):
            cosine: np.ndarray = np.clip(cells @ unit / norms, -1, 1)[:, None]
            return cosine

    out = map_cells(array, cosines, 1)
    attrs = {**origin(array), "long_name": "cosine similarity", "units": "1"}
    return unflatten(array, out, None).rename("similarity").assign_attrs(attrs)
