"""The models of an export made ready: sources asked what they give, fingerprints, records."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from returns.result import Failure, Success

from rs_embed.core import specs
from rs_embed.core.embedding import Embedding
from rs_embed.core.errors import ModelError, RsEmbedError
from rs_embed.core.fetch import FetchPlan
from rs_embed.core.grid import Grid, roi_grid
from rs_embed.core.model import Model
from rs_embed.core.patch import Patch, PatchReader
from rs_embed.core.plan import RoiPlan
from rs_embed.core.result import Outcome, caused, collect
from rs_embed.core.specs import SpatialSpec, TemporalSpec
from rs_embed.embedders.catalog import find_model
from rs_embed.embedders.runtime import LoadedModel
from rs_embed.export.manifest import row_json, without_secrets
from rs_embed.export.record import Layer, ModelRecord, layer_json, stored
from rs_embed.pipeline.assemble import assemble_embedding
from rs_embed.pipeline.export_plan import model_fingerprint
from rs_embed.pipeline.export_request import ExportRequest, labels, sensor_of
from rs_embed.pipeline.inspect import check_patch
from rs_embed.pipeline.lanes import Lane
from rs_embed.pipeline.options import EmbedOptions, check_request
from rs_embed.pipeline.rois import scale_note
from rs_embed.pipeline.steps import provenance, south_up
from rs_embed.pipeline.stream import StreamResult
from rs_embed.providers.auto import choose_provider
from rs_embed.providers.base import Provider


@dataclass(frozen=True, eq=False)
class ExportLane:
    """A lane of the loop, and what an export needs to know of it besides."""

    lane: Lane
    fingerprint: str
    note: Mapping[str, Any]


class BadInput:
    """Checks patches for ``fail_on_bad_input``, and remembers which errors were its own."""

    def __init__(self) -> None:
        self.errors: list[RsEmbedError] = []

    def check(self, patch: Patch, plan: FetchPlan) -> Outcome[Patch]:
        """The patch, or Failure(ProviderError) where it is unfit."""
        strict = replace(plan, sensor=replace(plan.sensor, check_raise=True))
        outcome = check_patch(patch, strict)
        if isinstance(outcome, Failure):
            self.errors.append(outcome.failure())
        return outcome


def export_lanes(request: ExportRequest, bad: BadInput) -> Outcome[tuple[ExportLane, ...]]:
    """A lane for each model; asks sources what they give, and fetches nothing.

    Fails with ModelError where a model cannot do what the keywords ask, or its source cannot
    serve it; with SpecError where no model honours ``temporal``.
    """
    opened: dict[str, Provider] = {}

    def provider(model: Model) -> Outcome[Provider]:
        # Models of one backend share its connections, and the pixels that it gives.
        name = str(model.backend or request.backend)
        if name in opened:
            return Success(opened[name])
        found = choose_provider(model, name, request.source)
        if isinstance(found, Success) and name != "auto":
            opened[name] = found.unwrap()
        return found

    def lane(label: str, given: Any) -> Outcome[Lane]:
        sensor = sensor_of(request, label)
        checked: Callable[[Patch, FetchPlan], Outcome[Patch]] | None = None
        if request.fail_on_bad_input:
            checked = bad.check
        elif sensor is not None and sensor.check_input:
            checked = check_patch
        return _lane(request, label, given, sensor, checked, provider)

    return labels(request.models).bind(
        lambda called: collect(
            lane(label, given) for label, given in zip(called, request.models, strict=True)
        )
    ).bind(lambda lanes: _dated(lanes, request)).bind(
        lambda lanes: collect(_with_fingerprint(one, request) for one in lanes)
    )  # fmt: skip


def _lane(
    request: ExportRequest,
    label: str,
    given: Any,
    sensor: Any,
    checked: Callable[[Patch, FetchPlan], Outcome[Patch]] | None,
    provider: Callable[[Model], Outcome[Provider]],
) -> Outcome[Lane]:
    def described(model: Model, source: Provider) -> Outcome[Lane]:
        return collect(source.describe(item, sensor) for item in model.inputs).map(
            lambda sources: Lane(label, model, source, sources, sensor, request.temporal, checked)
        )

    options = EmbedOptions(
        request.output, request.temporal, sensor, input_prep=request.input_prep,
        overlap=request.overlap, batch_size=request.batch_size,
    )  # fmt: skip
    return find_model(given).bind(
        lambda model: (
            check_request(model, options)
            .bind(lambda _: provider(model))
            .bind(lambda source: described(model, source))
        )
    )


def _dated(lanes: tuple[Lane, ...], request: ExportRequest) -> Outcome[tuple[Lane, ...]]:
    """In a call of several models, ``temporal`` is for those that have time."""
    undated = [not _has_time(lane) for lane in lanes]
    if request.temporal is None or all(undated):
        return Success(lanes)  # planning tells what is wrong with that
    return Success(
        tuple(
            replace(lane, temporal=None) if out else lane
            for lane, out in zip(lanes, undated, strict=True)
        )
    )


def _has_time(lane: Lane) -> bool:
    return lane.model.cadence.kind != "none" and any(one.dated for one in lane.sources)


def _with_fingerprint(lane: Lane, request: ExportRequest) -> Outcome[ExportLane]:
    def made(weights: str) -> ExportLane:
        found = model_fingerprint(
            lane.model, lane.sources, backend=lane.provider.name, weights=weights,
            sensor=lane.sensor, temporal=lane.temporal, output=request.output,
            input_prep=request.input_prep, overlap=request.overlap, dtype=request.dtype,
        )  # fmt: skip
        return ExportLane(lane, found, scale_note(lane.model, lane.sensor))

    return weights_identity(lane.model).map(made)


def weights_identity(model: Model) -> Outcome[str]:
    """What tells one content of a model's weights from another: of a local file, its SHA-256."""
    if model.weights is not None:
        try:
            with Path(model.weights).open("rb") as stream:
                return Success(hashlib.file_digest(stream, "sha256").hexdigest())
        except OSError as error:
            text = f"{model.id}: the weights file cannot be read: {error.strerror}"
            return Failure(caused(ModelError(text), by=error))
    record = model.variant.weights
    if record is None:
        return Success("none")
    pinned = f"{record.repo or record.url}/{record.filename}@{record.revision}"
    return Success(record.sha256 or pinned)


def model_json(one: ExportLane) -> dict[str, Any]:
    """What the manifest says of a model for all places."""
    model = one.lane.model
    return {
        "label": one.lane.label,
        "model": model.id,
        "variant": model.variant.name,
        "modality": model.modality,
        "options": dict(model.options),
        "dim": model.dim,
        "backend": one.lane.provider.name,
        "fingerprint": one.fingerprint,
        "licence": model.spec.licence,
        "citation": model.spec.citation,
    }


# Records


def failed_record(label: str, fingerprint: str, error: RsEmbedError) -> ModelRecord:
    """The record of a model that gave nothing at a place."""
    row = row_json(
        label=label, fingerprint=fingerprint, error=error, started=_moment(None), seconds=0,
        layers={}, meta={}, told={},
    )  # fmt: skip
    return ModelRecord(label, row)


def record_of(
    one: ExportLane,
    result: StreamResult,
    loaded: LoadedModel | None,
    request: ExportRequest,
    fingerprint: str,
    spatial: SpatialSpec,
) -> Outcome[ModelRecord]:
    """A result as it is written. Fails with ProviderError where no cell is valid."""
    lane = one.lane

    def embedded(cells: Any) -> Outcome[Embedding | None]:
        if cells is None or result.ready is None or loaded is None:
            return Success(None)
        meta = {**provenance(result.ready, loaded, lane.provider, result.scenes), **one.note}
        made: Outcome[Embedding | None] = assemble_embedding(
            result.ready.plan, cells, request.output, meta, flip_rows=south_up(result.ready)
        )
        return made

    def recorded(embedding: Embedding | None) -> ModelRecord:
        layers: dict[str, Layer] = {}
        told: dict[str, Any] = {}
        if embedding is not None and request.save_embeddings:
            layer, told = _embedding_layer(embedding, request.dtype)
            layers[f"embedding/{lane.label}"] = layer
        if request.save_inputs and result.plan is not None:
            layers |= input_layers(lane, result.plan, result.readers, spatial)
        by_kind: dict[str, dict[str, Any]] = {}
        for name, layer in layers.items():
            by_kind.setdefault(name.partition("/")[0], {})[name] = layer_json(layer)
        row = row_json(
            label=lane.label, fingerprint=fingerprint, error=None,
            started=_moment(result.started), seconds=result.seconds, layers=by_kind,
            meta={} if embedding is None else _public(embedding.meta), told=told,
        )  # fmt: skip
        return ModelRecord(lane.label, row, layers)

    try:
        return result.cells.bind(embedded).map(recorded)
    except RsEmbedError as error:  # pixels of a lazy source that cannot be read
        return Failure(error)


# What the head of a manifest says for all places.
_SAID_ONCE = ("licence", "citation", "options", "model", "variant", "modality", "rs_embed_version")


def _public(meta: Mapping[str, Any]) -> dict[str, Any]:
    """A description without what is said once for all places, and without paths."""
    return {key: _without_paths(value) for key, value in meta.items() if key not in _SAID_ONCE}


def _without_paths(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_paths(one) for key, one in value.items() if key != "artifacts"}
    if isinstance(value, list | tuple):
        return [_without_paths(one) for one in value]
    return without_secrets(value) if isinstance(value, str) and value[:1] in "/~" else value


def _embedding_layer(embedding: Embedding, dtype: str) -> tuple[Layer, dict[str, Any]]:
    values = np.asarray(embedding.data, dtype=np.float32)
    data, scale, told = stored(values, dtype)
    grid = None
    if values.ndim == 3:
        ref = embedding.data.coords["spatial_ref"].attrs  # type: ignore[union-attr]
        c, a, b, f, d, e = (float(v) for v in ref["GeoTransform"].split())
        shape = (values.shape[1], values.shape[2])
        grid = Grid(str(embedding.meta["crs"]), Affine(a, b, c, d, e, f), shape)
    return Layer(data, grid, scale), told


def input_layers(
    lane: Lane, planned: RoiPlan, readers: tuple[PatchReader, ...], spatial: SpatialSpec
) -> dict[str, Layer]:
    """The ROI's own pixels of each input, and all that was fetched where that is more."""
    several = len(lane.model.inputs) > 1
    roi = planned.roi
    if planned.input_prep == "resize":  # the plan's ROI is then a square around it
        scale = float(lane.sensor.scale_m) if lane.sensor else lane.model.scale_m
        own = roi_grid(spatial, scale)
        roi = own.unwrap() if isinstance(own, Success) else roi
    made: dict[str, Layer] = {}
    for item, reader in zip(lane.model.inputs, readers, strict=True):
        patch = reader.patch()
        name = f"{lane.label}/{item.name}" if several else lane.label
        data = patch.data[0] if len(patch.data) == 1 else patch.data
        made[f"input/{name}"] = Layer(cropped(data, patch.grid, roi), roi, None, patch.bands)
        if patch.grid != roi:
            made[f"context/{name}"] = Layer(data, patch.grid, None, patch.bands)
    return made


def cropped(data: np.ndarray, grid: Grid, roi: Grid) -> np.ndarray:
    """The pixels of ``roi`` out of those of ``grid``, one lattice; NaN where there are none."""
    if grid == roi:
        return data
    row = round((roi.transform.f - grid.transform.f) / grid.transform.e)
    col = round((roi.transform.c - grid.transform.c) / grid.transform.a)
    out = np.full((*data.shape[:-2], *roi.shape), np.nan, dtype=data.dtype)
    r0, c0 = max(row, 0), max(col, 0)
    r1, c1 = min(row + roi.height, grid.height), min(col + roi.width, grid.width)
    if r1 > r0 and c1 > c0:
        out[..., r0 - row : r1 - row, c0 - col : c1 - col] = data[..., r0:r1, c0:c1]
    return out


def _moment(seconds: float | None) -> str:
    moment = datetime.now(UTC) if not seconds else datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="seconds")


def temporal_json(temporal: TemporalSpec | None) -> list[str] | None:
    """The two dates of a temporal."""
    return None if temporal is None else [day.isoformat() for day in specs.dates(temporal)]
