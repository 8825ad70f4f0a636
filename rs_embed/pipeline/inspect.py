"""A look at the pixels before a model sees them: fetch, report, quicklooks."""

from __future__ import annotations

import re
import struct
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from returns.result import Failure, Result, Success

from rs_embed.core.bands import common_name
from rs_embed.core.errors import ProviderError, SpecError
from rs_embed.core.fetch import FetchPlan, SourceInfo
from rs_embed.core.grid import MAX_PIXELS, roi_grid
from rs_embed.core.intervals import plan_intervals
from rs_embed.core.model import Cadence, InputSpec
from rs_embed.core.patch import Patch
from rs_embed.core.result import Outcome, caused
from rs_embed.core.specs import SensorSpec, SpatialSpec, TemporalSpec, check_sensor, dates
from rs_embed.pipeline.quality import Quality, check_pixels, quicklook
from rs_embed.providers.auto import choose_backend
from rs_embed.providers.base import Provider, list_scenes
from rs_embed.providers.source import Scenes


def inspect_patch(
    spatial: SpatialSpec,
    temporal: TemporalSpec | None,
    sensor: SensorSpec,
    *,
    backend: str,
    name: str,
    value_range: tuple[float, float] | None,
    return_array: bool,
) -> Outcome[dict[str, Any]]:
    """What `rs_embed.inspect_gee_patch` returns. A bad patch is a report, not a Failure."""
    return Result.do(
        found
        for _ in check_sensor(sensor)
        for _ in _check_words(name, value_range)
        for provider in choose_backend(backend)
        for plan in patch_plan(provider, spatial, temporal, sensor)
        for found in _inspected(provider, plan, temporal, sensor, name, value_range, return_array)
    )


def patch_plan(
    provider: Provider,
    spatial: SpatialSpec,
    temporal: TemporalSpec | None,
    sensor: SensorSpec,
    max_pixels: float = MAX_PIXELS,
) -> Outcome[FetchPlan]:
    """The fetch of a place's pixels as a sensor describes them, without any model."""
    return Result.do(
        FetchPlan(
            source.collection, source.bands, source.units, grid, intervals,
            replace(sensor, bands=source.bands), source.content_hash,
        )
        for source in provider.describe_sensor(sensor)
        for intervals in plan_intervals(Cadence("single"), temporal, [source])
        for grid in roi_grid(spatial, float(sensor.scale_m), max_pixels=max_pixels)
    )  # fmt: skip


def save_quicklooks(patch: Patch, folder: str, name: str) -> Outcome[dict[str, str]]:
    """PNGs of a patch: each band, and true colour where red, green and blue are there.

    The first date of a series is shown. Fails with SpecError where the folder cannot be written.
    """
    chw = patch.data[0]
    places = {common_name(band): i for i, band in enumerate(patch.bands)}
    shown = {band: [i] for i, band in enumerate(patch.bands)}
    if {"red", "green", "blue"} <= set(places):
        shown["rgb"] = [places[colour] for colour in ("red", "green", "blue")]
    made: dict[str, str] = {}
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for label, indices in shown.items():
            path = Path(folder) / f"{name}_{_file_word(label)}.png"
            _write_whole(path, png(quicklook(chw[indices])))
            made[label] = str(path)
    except OSError as error:
        return Failure(
            caused(SpecError(f"check_save_dir {folder!r} cannot be written: {error}"), by=error)
        )
    return Success(made)


def png(pixels: np.ndarray) -> bytes:
    """``(H, W, 2)`` grey or ``(H, W, 4)`` colour with alpha, uint8, as a PNG file."""
    height, width, channels = pixels.shape
    kind = {2: 4, 4: 6}[channels]
    rows = np.concatenate(
        [np.zeros((height, 1), np.uint8), pixels.reshape(height, width * channels)], axis=1
    )

    def chunk(tag: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))

    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows.tobytes()))
        + chunk(b"IEND", b"")
    )


@dataclass(frozen=True)
class CheckedProvider(Provider):
    """A source whose patches are checked as the sensor asks before a model sees them.

    Whole patches are judged, so they are fetched whole. Fetches fail with ProviderError where a
    patch is unfit and ``check_raise`` is set; else the report goes into the patch's ``meta`` as
    ``"check"``.
    """

    source: Provider
    name: str
    workers: int

    def describe(self, item: InputSpec, sensor: SensorSpec | None) -> Outcome[SourceInfo]:
        """What the source says."""
        return self.source.describe(item, sensor)

    def fetch(self, plan: FetchPlan) -> Outcome[Patch]:
        """The source's patch, checked."""
        return self.source.fetch(plan).bind(lambda patch: check_patch(patch, plan))

    def check_available(self) -> Outcome[None]:
        """Whether the source can be asked."""
        return self.source.check_available()

    def scenes(self, plans: Sequence[FetchPlan]) -> Outcome[list[Scenes]]:
        """The scenes behind each plan, where the source tells them."""
        return self.source.scenes(plans)

    def describe_sensor(self, sensor: SensorSpec) -> Outcome[SourceInfo]:
        """What the source says of the caller's own bands."""
        return self.source.describe_sensor(sensor)

    def read(self, plan: FetchPlan) -> Outcome[Patch]:
        """The source's part of a region, checked."""
        return self.source.read(plan).bind(lambda patch: check_patch(patch, plan))

    def explain_empty(self, plan: FetchPlan) -> Outcome[None]:
        """Why a plan has no scene, where the source tells."""
        return self.source.explain_empty(plan)


def with_checks(provider: Provider, sensor: SensorSpec | None) -> Provider:
    """The source itself; or, where the sensor says ``check_input``, one that checks patches."""
    if sensor is None or not sensor.check_input:
        return provider
    return CheckedProvider(provider, provider.name, provider.workers)


def check_patch(patch: Patch, plan: FetchPlan) -> Outcome[Patch]:
    """The patch with the report of its checks in ``meta``, as the plan's sensor asks for them.

    Fails with ProviderError where it is unfit and ``check_raise`` is set.
    """
    sensor = plan.sensor
    quality = check_pixels(patch.data, patch.bands, patch.units, fill_value=sensor.fill_value)
    name = f"{_file_word(plan.collection)}_{plan.fingerprint[:12]}"

    def judged(artifacts: Mapping[str, str]) -> Outcome[Patch]:
        if not quality.ok and sensor.check_raise:
            seen = f" See {sensor.check_save_dir}." if artifacts else ""
            return Failure(
                ProviderError(
                    f"the patch of {plan.collection} is unfit: {'; '.join(quality.problems)}."
                    f"{seen} Widen the temporal or loosen the cloud filter, or set "
                    "check_raise=False to run on it all the same"
                )
            )
        check = {**_quality_meta(quality), "artifacts": dict(artifacts)}
        return Success(replace(patch, meta={**patch.meta, "check": check}))

    return _quicklooks(patch, sensor, name).bind(judged)


def _inspected(
    provider: Provider,
    plan: FetchPlan,
    temporal: TemporalSpec | None,
    sensor: SensorSpec,
    name: str,
    value_range: tuple[float, float] | None,
    return_array: bool,
) -> Outcome[dict[str, Any]]:
    def report(patch: Patch, artifacts: Mapping[str, str]) -> dict[str, Any]:
        quality = check_pixels(
            patch.data, patch.bands, patch.units,
            fill_value=sensor.fill_value, value_range=value_range,
        )  # fmt: skip
        found = {
            "ok": quality.ok,
            "report": {**_quality_meta(quality), **dict(patch.meta), **_scenes(provider, plan)},
            "sensor": {**asdict(sensor), "bands": list(sensor.bands)},
            "temporal": None if temporal is None else _dates(temporal),
            "backend": provider.name,
            "name": name,
            "grid": plan.grid.to_json(),
            "artifacts": dict(artifacts),
        }
        if return_array:
            found["array_chw"] = patch.chw
        return found

    return provider.fetch(plan).bind(
        lambda patch: _quicklooks(patch, sensor, name).map(lambda made: report(patch, made))
    )


def _quality_meta(quality: Quality) -> dict[str, Any]:
    return {
        **quality.report,
        "ok": quality.ok,
        "problems": list(quality.problems),
        "warnings": list(quality.warnings),
    }


def _scenes(provider: Provider, plan: FetchPlan) -> dict[str, Any]:
    return {"scenes": list_scenes(provider, [plan])[0]}


def _dates(temporal: TemporalSpec) -> dict[str, str]:
    start, end = dates(temporal)
    return {"mode": temporal.mode, "start": start.isoformat(), "end": end.isoformat()}


def _quicklooks(patch: Patch, sensor: SensorSpec, name: str) -> Outcome[dict[str, str]]:
    if sensor.check_save_dir is None:
        return Success({})
    return save_quicklooks(patch, sensor.check_save_dir, name)


def _check_words(name: str, value_range: Any) -> Outcome[None]:
    if not isinstance(name, str) or not name or name.startswith(".") or name != _file_word(name):
        return Failure(
            SpecError(f"name becomes a file name: letters, digits, '_', '-', '.', not {name!r}")
        )
    if value_range is None:
        return Success(None)
    try:
        low, high = (float(value) for value in value_range)
    except (TypeError, ValueError):
        return Failure(SpecError(f"value_range must be (low, high), not {value_range!r}"))
    if not low < high:
        return Failure(SpecError(f"value_range must be low < high, not {low:g}, {high:g}"))
    return Success(None)


def _file_word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text)


def _write_whole(path: Path, data: bytes) -> None:
    """Under another name in the same folder first, so that no reader meets half a file."""
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as part:
        part.write(data)
    Path(part.name).replace(path)
