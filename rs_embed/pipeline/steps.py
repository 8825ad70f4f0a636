"""The steps of the pipeline: spec -> plan -> pixels -> tensors -> tokens -> Embedding.

Each step is a small public function; analysis code can compose them, or put its own in a step's
place. `docs/pipeline.md` works through an example.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from returns.result import Failure, Result, Success

from rs_embed.core.bands import match_bands
from rs_embed.core.embedding import Embedding
from rs_embed.core.errors import ModelError, SpecError
from rs_embed.core.model import Model, ModelChoice
from rs_embed.core.patch import (
    Patch,
    PatchReader,
    ReadWindow,
    any_valid,
    stack_readers,
)
from rs_embed.core.plan import InputPrep, RoiPlan, plan_roi
from rs_embed.core.result import Outcome, collect
from rs_embed.core.specs import OutputSpec, SensorSpec, SpatialSpec, TemporalSpec
from rs_embed.core.token_grid import nothing_valid
from rs_embed.core.units import check_convertible
from rs_embed.embedders.catalog import find_model
from rs_embed.embedders.runtime import LoadedModel, load
from rs_embed.pipeline.assemble import assemble_embedding, collections_of
from rs_embed.pipeline.encoding import TiledInput, encode_input
from rs_embed.pipeline.options import EmbedOptions, check_plan, check_request
from rs_embed.plugins.notices import warn_caller
from rs_embed.providers.base import Provider, list_scenes


def embed(
    model: str | ModelChoice,
    spatial: SpatialSpec,
    temporal: TemporalSpec | None,
    provider: Provider,
    *,
    output: OutputSpec | None = None,
    device: str = "auto",
) -> Outcome[Embedding]:
    """The whole pipeline for one ROI, as one expression: read it to learn the steps."""
    wanted = output or OutputSpec.pooled()
    return Result.do(
        embedding
        for chosen in find_model(model)
        for _ in check_request(chosen, EmbedOptions(wanted))
        for planned in plan(chosen, spatial, temporal, provider, output=wanted)
        for loaded in load(chosen, device)
        for tiled in open_input(planned, provider)
        for cells in encode_input(loaded, tiled)
        for _ in check_values([tiled])
        for embedding in assemble_embedding(
            planned, cells, wanted, provenance(tiled, loaded, provider), flip_rows=south_up(tiled)
        )
    )


def plan(
    model: Model,
    spatial: SpatialSpec,
    temporal: TemporalSpec | None,
    provider: Provider,
    *,
    sensor: SensorSpec | None = None,
    input_prep: InputPrep = "native",
    overlap: int = 0,
    output: OutputSpec | None = None,
) -> Outcome[RoiPlan]:
    """Which pixels to fetch for a ROI and which windows to lay over them; fetches nothing."""
    return Result.do(
        planned
        for sources in collect(provider.describe(item, sensor) for item in model.inputs)
        for roi in plan_roi(
            model, spatial, temporal, sources,
            sensor=sensor, input_prep=input_prep, overlap=overlap,
        )
        for planned in check_plan(roi, output or OutputSpec.pooled())
    )  # fmt: skip


def fetch(planned: RoiPlan, provider: Provider) -> Outcome[Patch]:
    """The pixels of a plan, every input of the model side by side, all at once."""
    return open_pixels(planned, provider).map(PatchReader.patch)


def open_pixels(planned: RoiPlan, provider: Provider) -> Outcome[PatchReader]:
    """As `fetch`, to be read window by window."""
    return collect(provider.open(one) for one in planned.fetch_plans).map(stack_readers)


def open_input(planned: RoiPlan, provider: Provider) -> Outcome[TiledInput]:
    """A plan with its pixels at hand, ready to be cut into windows."""
    return open_pixels(planned, provider).bind(lambda reader: tiled_input(planned, reader))


def tiled_input(planned: RoiPlan, pixels: Patch | PatchReader) -> Outcome[TiledInput]:
    """A plan and the pixels fetched for it, ready to be cut into windows.

    A patch that is not quite the plan's own is taken by its band names.

    Fails with ProviderError where no pixel of a patch is valid, with ModelError where it lacks
    a band of the model, with SpecError where its units cannot become the model's.
    """
    if isinstance(pixels, Patch) and not any_valid(pixels.data):
        return Failure(nothing_valid(collections_of(planned)))
    reader = pixels.reader() if isinstance(pixels, Patch) else pixels
    return Result.do(
        _tiled(planned, reader, places)
        for places in _band_places(planned, reader.bands)
        for _ in check_convertible(
            planned.model.bands, tuple(reader.units[i] for i in places), planned.model.units
        )
    )


def _tiled(planned: RoiPlan, reader: PatchReader, places: tuple[int, ...]) -> TiledInput:
    row0, col0 = planned.fetch_window[:2]
    in_order = places == tuple(range(len(reader.bands)))

    def opened() -> ReadWindow:
        inner = reader.open()

        def read(row: int, col: int, height: int, width: int) -> np.ndarray:
            pixels = inner(row - row0, col - col0, height, width)
            return pixels if in_order else pixels[:, list(places)]

        return read

    bands, units = (tuple(of[i] for i in places) for of in (reader.bands, reader.units))
    return TiledInput(
        planned, opened, bands, units, reader.intervals, dict(reader.meta), reader.looks
    )


def provenance(
    tiled: TiledInput,
    loaded: LoadedModel,
    provider: Provider,
    scenes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What the source and the weights say of themselves, for `assemble_embedding`.

    ``scenes`` is what the source lists of the fetches, by fingerprint; None asks it.
    """
    fetch_plans = tiled.plan.fetch_plans
    if scenes is None:
        listed = list_scenes(provider, list(fetch_plans))
        scenes = {one.fingerprint: facts for one, facts in zip(fetch_plans, listed, strict=True)}
    found = {one.collection: scenes[one.fingerprint] for one in fetch_plans}
    listing = {} if None in found.values() else {"scenes": found}
    return {
        "backend": provider.name,
        "input": {
            "bands": list(tiled.bands), "units": list(tiled.units), **tiled.meta, **listing,
        },
        "value_warnings": tiled.value_problems(),
        "weights": dict(loaded.provenance),
    }  # fmt: skip


def check_values(tiled: Sequence[TiledInput], strict: bool = False) -> Outcome[None]:
    """Warn of odd values that were read, each once; Failure(SpecError) instead where ``strict``."""
    said = dict.fromkeys(text for one in tiled for text in one.value_problems())
    if said and strict:
        return Failure(SpecError("strict: " + "; ".join(said)))
    warn_of_values(said)
    return Success(None)


def warn_of_values(texts: Iterable[str]) -> None:
    """Say what `TiledInput.value_problems` found in a run."""
    for text in texts:
        warn_caller(text)


def south_up(tiled: TiledInput) -> bool:
    """Whether the source's own rows run south to north."""
    return bool(tiled.meta.get("south_up"))


def _band_places(planned: RoiPlan, found: Sequence[str]) -> Outcome[tuple[int, ...]]:
    """Where the model's bands are in a patch. A source's own names stand in the model's order."""
    if tuple(found) == tuple(band for one in planned.fetch_plans for band in one.bands):
        return Success(tuple(range(len(found))))
    return match_bands(planned.model.bands, found, error=ModelError, where="the patch")
