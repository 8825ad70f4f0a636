"""The dates of an array."""

from __future__ import annotations

import numpy as np
import xarray as xr
from returns.result import Failure, Success

from rs_embed.core.errors import SpecError
from rs_embed.core.patch import Interval
from rs_embed.core.result import Outcome
from rs_embed.raster.dims import DimRoles


def find_intervals(layout: DimRoles) -> Outcome[tuple[Interval, ...]]:
    """One half-open day for each step of time, in the array's order; none for an undated array.

    A scalar coordinate "time" dates an array without a time dimension. Fails with SpecError where
    a time dimension has no dates.
    """
    name = layout.time or "time"
    coord = _without_zone(layout.obj.coords.get(name))
    if coord is None and layout.time is None:
        return Success(())
    if coord is None or coord.dtype.kind != "M" or np.isnat(coord.values).any():
        what = "has no coordinate" if coord is None else f"holds {coord.dtype}, not dates"
        if coord is not None and coord.dtype.kind == "M":
            what = "has steps without a date"
        return Failure(
            SpecError(
                f"the dimension {name!r} {what}; give it dates: "
                f"da.assign_coords({name}=pd.to_datetime([...])), or select one step: "
                f"da.isel({name}=0, drop=True)"
            )
        )
    days = np.atleast_1d(coord.values).astype("datetime64[D]")
    following = days + np.timedelta64(1, "D")
    return Success(tuple((str(a), str(b)) for a, b in zip(days, following, strict=True)))


def _without_zone(coord: xr.DataArray | None) -> xr.DataArray | None:
    """Times of a zone (pandas' "datetime64[ns, UTC]") as the same moments of UTC."""
    if coord is None or getattr(coord.dtype, "tz", None) is None:
        return coord
    moments = coord.to_index().tz_convert("UTC").tz_localize(None)
    return xr.DataArray(np.asarray(moments, dtype="datetime64[ns]"), dims=coord.dims)
