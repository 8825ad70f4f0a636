"""What may be asked of a collection: which sensors fit its row, and which dates."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace

from returns.result import Failure, Success

from rs_embed.core.errors import SpecError
from rs_embed.core.patch import Interval
from rs_embed.core.result import Outcome
from rs_embed.core.specs import SensorSpec
from rs_embed.providers.collections import Collection


def check_sensor_fits(row: Collection, sensor: SensorSpec) -> Outcome[None]:
    """Failure(SpecError) where the sensor asks what the collection cannot do."""
    masks = ("none", *row.cloud_masks)
    if sensor.cloud_mask not in masks:
        return Failure(
            SpecError(
                f"{row.id} has no cloud_mask {sensor.cloud_mask!r}; it takes "
                f"{', '.join(map(repr, masks))}"
            )
        )
    if sensor.orbit is not None and row.orbit_property is None:
        return Failure(SpecError(f"{row.id} has no orbit; leave orbit out (it is Sentinel-1's)"))
    if sensor.resampling == "bilinear" and not _interpolates(row, sensor.bands):
        return Failure(
            SpecError(
                f"bands {', '.join(sensor.bands)} of {row.id} cannot be interpolated; use "
                "resampling='nearest'"
            )
        )
    stated = {band.units for band in row.pick(sensor.bands)}
    if sensor.units is not None and stated != {sensor.units}:
        return Failure(
            SpecError(
                f"the units of {row.id} are known ({', '.join(sorted(stated))}), not "
                f"{sensor.units!r}; leave SensorSpec.units out"
            )
        )
    return Success(None)


def side_sensor(row: Collection, sensor: SensorSpec, bands: Sequence[str]) -> SensorSpec:
    """The caller's sensor without what is not meant for a side layer: masks, orbit, resampling.

    For the collection that the sensor is about, `check_sensor_fits` has refused these.
    """
    return replace(
        sensor,
        cloud_mask=sensor.cloud_mask if sensor.cloud_mask in row.cloud_masks else "none",
        orbit=sensor.orbit if row.orbit_property else None,
        resampling=sensor.resampling if _interpolates(row, bands) else "nearest",
    )


def _interpolates(row: Collection, bands: Sequence[str]) -> bool:
    """Whether there is anything to interpolate; classes beside it are never."""
    return row.bilinear and any(band.averaged != "never" for band in row.pick(bands))


def check_frames(row: Collection, intervals: Sequence[Interval]) -> Outcome[None]:
    """Failure(SpecError) where an annual collection is asked for other than whole years it has."""
    if row.time != "annual":
        return Success(None)
    for start, end in intervals:
        first = dt.date.fromisoformat(start)
        if start != f"{first.year}-01-01" or end != f"{first.year + 1}-01-01":
            return Failure(
                SpecError(
                    f"{row.id} has one layer a calendar year, so {start}..{end} cannot be "
                    f"honoured; use TemporalSpec.year({first.year})"
                )
            )
        if row.years and not row.years[0] <= first.year <= row.years[1]:
            return Failure(
                SpecError(
                    f"{row.id} has the years {row.years[0]} to {row.years[1]}, not {first.year}"
                )
            )
    return Success(None)
