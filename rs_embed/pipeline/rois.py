"""Many ROIs of one model: the loop of `rs_embed.pipeline.stream`, its results kept in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

from returns.result import Failure, Result, Success

from rs_embed.core.embedding import Embedding
from rs_embed.core.errors import ModelError, RsEmbedError, SpecError
from rs_embed.core.fetch import SourceInfo
from rs_embed.core.model import Model, ModelChoice
from rs_embed.core.result import Outcome, caused, collect
from rs_embed.core.specs import SensorSpec, SpatialSpec, check_spatial
from rs_embed.core.token_grid import TokenGrid
from rs_embed.embedders.catalog import find_model
from rs_embed.embedders.runtime import LoadedModel, load
from rs_embed.pipeline.assemble import assemble_embedding
from rs_embed.pipeline.inspect import check_patch
from rs_embed.pipeline.lanes import Lane, Settings, plan_lane
from rs_embed.pipeline.options import EmbedOptions, check_request
from rs_embed.pipeline.steps import provenance, south_up, warn_of_values
from rs_embed.pipeline.stream import Stream, StreamResult
from rs_embed.plugins.notices import warn_once
from rs_embed.providers.auto import choose_provider
from rs_embed.providers.base import Provider


def embed_rois(
    model: str | ModelChoice,
    spatials: Sequence[SpatialSpec],
    options: EmbedOptions,
    *,
    stop: bool = False,
) -> Outcome[list[Outcome[Embedding]]]:
    """An Outcome for each ROI, in order; a Failure where the request as a whole is wrong.

    With ``stop``, the first ROI that fails is the Failure, and what is queued is dropped.
    """
    if not isinstance(spatials, list | tuple) or not spatials:
        return Failure(SpecError("spatials must be a non-empty list of BBox or PointBuffer"))
    return Result.do(
        done
        for chosen in find_model(model)
        for _ in check_request(chosen, options)
        for source in choose_provider(chosen, options.backend, options.source)
        for sources in collect(source.describe(item, options.sensor) for item in chosen.inputs)
        for done in _embedded(_lane(chosen, source, sources, options), spatials, options, stop)
    )


def _lane(
    model: Model, source: Provider, sources: tuple[SourceInfo, ...], options: EmbedOptions
) -> Lane:
    sensor = options.sensor
    check = check_patch if sensor is not None and sensor.check_input else None
    return Lane(model.id, model, source, sources, sensor, options.temporal, check)


def _embedded(
    lane: Lane, spatials: Sequence[SpatialSpec], options: EmbedOptions, stop: bool
) -> Outcome[list[Outcome[Embedding]]]:
    return _Rois(lane, spatials, options, stop).run()


def with_roi_context(index: int, spatial: SpatialSpec, error: RsEmbedError) -> RsEmbedError:
    """The error, saying which ROI it belongs to."""
    return caused(
        type(error)(f"spatials[{index}] {spatial}: {error}", transient=error.transient), by=error
    )


def embeddings_or_errors(
    outcomes: Outcome[list[Outcome[Embedding]]], spatials: Sequence[SpatialSpec], on_error: str
) -> Outcome[list[Any]]:
    """What `rs_embed.get_embeddings_batch` returns: an error stands where its ROI failed.

    Fails with SpecError for an ``on_error`` that is none.
    """
    if on_error not in ("raise", "return"):
        return Failure(SpecError(f"on_error must be 'raise' or 'return', not {on_error!r}"))

    def own(i: int, one: Outcome[Embedding]) -> Embedding | RsEmbedError:
        if isinstance(one, Failure):
            return with_roi_context(i, spatials[i], one.failure())
        return one.unwrap()

    return outcomes.map(lambda each: [own(i, one) for i, one in enumerate(each)])


class _Rois:
    """One call of `embed_rois`."""

    def __init__(
        self, lane: Lane, spatials: Sequence[SpatialSpec], options: EmbedOptions, stop: bool
    ) -> None:
        self._lane, self._spatials = lane, spatials
        self._options, self._stop = options, stop
        self._results: dict[int, Outcome[Embedding]] = {}
        self._alike: dict[SpatialSpec, list[int]] = {}
        self._unusable: RsEmbedError | None = None
        input_prep: Any = options.input_prep
        self._settings = Settings(
            options.output, input_prep, options.overlap, options.batch_size, ran=self._ran
        )
        self._done = 0
        self._total: int | None = None
        self._odd: dict[str, None] = {}

    def run(self) -> Outcome[list[Outcome[Embedding]]]:
        for i, spatial in enumerate(self._spatials):
            found = check_spatial(spatial)
            if isinstance(found, Failure):
                self._results[i] = found
                if self._stop:
                    return self._stopped()
            else:
                self._alike.setdefault(spatial, []).append(i)
        if self._options.progress is not None:
            self._total = sum(self._windows(spatial) for spatial in self._alike)
        with Stream([self._lane], self._load, self._settings) as stream:
            for result in stream.results(self._places()):
                if self._unusable is not None:
                    return Failure(self._unusable)
                if not self._note(result, stream) and self._stop:
                    return self._stopped()
        if self._stop and any(isinstance(one, Failure) for one in self._results.values()):
            return self._stopped()
        warn_of_values(self._odd)
        return Success([self._results[i] for i in range(len(self._spatials))])

    def _places(self) -> Iterator[tuple[int, SpatialSpec, tuple[int, ...]]]:
        for spatial, indices in self._alike.items():
            yield indices[0], spatial, (0,)

    def _windows(self, spatial: SpatialSpec) -> int:
        planned = plan_lane(self._lane, spatial, self._settings)
        return len(planned.unwrap().tiling) if isinstance(planned, Success) else 0

    def _load(self, lane: Lane) -> Outcome[LoadedModel]:
        """The model; that it cannot be had is no ROI's fault."""
        found = lane.provider.check_available().bind(
            lambda _: load(lane.model, self._options.device)
        )
        if isinstance(found, Failure):
            self._unusable = found.failure()
        return found

    def _ran(self, windows: int) -> None:
        self._done += windows
        if self._options.progress is not None and self._total is not None:
            self._options.progress(self._done, self._total)

    def _note(self, result: StreamResult, stream: Stream) -> bool:
        """Keep a result, and tell whether it is well; of equal ROIs each has its own."""
        outcome = embedding_of(self._lane, result, stream.loaded.get(0), self._options)
        if result.ready is not None:
            self._odd |= dict.fromkeys(result.ready.value_problems())
        first, *others = self._alike[self._spatials[result.place]]
        self._results[first] = outcome
        for i in others:
            self._results[i] = outcome.map(deepcopy)
        return isinstance(outcome, Success)

    def _stopped(self) -> Outcome[Any]:
        index, failed = next(
            (i, one) for i, one in sorted(self._results.items()) if isinstance(one, Failure)
        )
        return Failure(with_roi_context(index, self._spatials[index], failed.failure()))


def embedding_of(
    lane: Lane, result: StreamResult, loaded: LoadedModel | None, options: EmbedOptions
) -> Outcome[Embedding]:
    """The embedding of a result. Fails with what failed on the way."""

    def assembled(cells: TokenGrid | None) -> Outcome[Embedding]:
        if cells is None or result.ready is None or loaded is None:
            return Failure(ModelError(f"{lane.model.id} was not asked to run"))
        tiled = result.ready
        meta = {
            **provenance(tiled, loaded, lane.provider, result.scenes),
            **scale_note(lane.model, lane.sensor),
        }
        return assemble_embedding(
            tiled.plan, cells, options.output, meta, flip_rows=south_up(tiled)
        )

    return result.cells.bind(assembled)


def scale_note(model: Model, sensor: SensorSpec | None) -> dict[str, Any]:
    """What ``meta`` says of a sensor of another pixel size than the model's."""
    if sensor is None or float(sensor.scale_m) == model.scale_m:
        return {}
    note = (
        f"{model.id} was trained at {model.scale_m:g} m; the sensor's scale_m {sensor.scale_m} "
        "is used as given"
    )
    warn_once(("scale", model.id, sensor.scale_m), note)
    return {"model_scale_m": model.scale_m, "notes": [note]}
