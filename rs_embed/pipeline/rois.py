"""Many ROIs: each distinct plan fetched and run once, in groups that bound memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from typing import Any

from returns.result import Failure, Result, Success

from rs_embed.core.embedding import Embedding
from rs_embed.core.errors import SpecError
from rs_embed.core.grid import Grid
from rs_embed.core.model import Model, ModelChoice
from rs_embed.core.patch import PatchReader, stack_readers
from rs_embed.core.plan import FetchPlan, RoiPlan
from rs_embed.core.result import Outcome, caused, collect
from rs_embed.core.specs import SensorSpec, SpatialSpec
from rs_embed.embedders.catalog import find_model
from rs_embed.embedders.runtime import LoadedModel, load
from rs_embed.pipeline.assemble import assemble_embedding
from rs_embed.pipeline.inspect import with_checks
from rs_embed.pipeline.options import EmbedOptions, Progress, check_request
from rs_embed.pipeline.steps import (
    TiledInput,
    encoded,
    plan,
    provenance,
    south_up,
    tiled_input,
    warn_of_values,
)
from rs_embed.plugins.notices import warn_once
from rs_embed.providers.auto import choose_provider
from rs_embed.providers.base import Provider, list_scenes
from rs_embed.providers.waiting import threads

Key = tuple[Grid, tuple[str, ...]]
# Pixel values fetched ahead and held at once: 256 MB of float32.
_GROUP_VALUES = 64_000_000


def embed_rois(
    model: str | ModelChoice, spatials: Sequence[SpatialSpec], options: EmbedOptions
) -> Outcome[list[Outcome[Embedding]]]:
    """An Outcome for each ROI, in order; a Failure where the request as a whole is wrong."""
    if not isinstance(spatials, list | tuple) or not spatials:
        return Failure(SpecError("spatials must be a non-empty list of BBox or PointBuffer"))
    return Result.do(
        done
        for chosen in find_model(model)
        for _ in check_request(chosen, options)
        for source in choose_provider(chosen, options.backend, options.source)
        for done in _embed(chosen, with_checks(source, options.sensor), list(spatials), options)
    )


def with_roi_context(
    index: int, spatial: SpatialSpec, outcome: Outcome[Embedding]
) -> Outcome[Embedding]:
    """The same Outcome; an error says which ROI it belongs to."""
    return outcome.alt(
        lambda error: caused(
            type(error)(f"spatials[{index}] {spatial}: {error}", transient=error.transient),
            by=error,
        )
    )


def _embed(
    model: Model, provider: Provider, spatials: list[SpatialSpec], options: EmbedOptions
) -> Outcome[list[Outcome[Embedding]]]:
    input_prep: Any = options.input_prep
    plans = [
        plan(
            model, one, options.temporal, provider, sensor=options.sensor, input_prep=input_prep,
            overlap=options.overlap, output=options.output,
        )
        for one in spatials
    ]  # fmt: skip
    distinct = {_key(p.unwrap()): p.unwrap() for p in plans if isinstance(p, Success)}
    # A batch that cannot be planned at all needs neither weights nor pixels.
    if not distinct:
        return Success(_in_order(plans, {}))
    return Result.do(
        _in_order(plans, _run(loaded, distinct, provider, options))
        for _ in provider.check_available()
        for loaded in load(model, options.device)
    )


def _run(
    loaded: LoadedModel, plans: dict[Key, RoiPlan], provider: Provider, options: EmbedOptions
) -> dict[Key, Outcome[Embedding]]:
    """The embedding of every plan."""
    note = _scale_note(loaded.model, options.sensor)
    results: dict[Key, Outcome[Embedding]] = {}
    total = sum(len(planned.tiling) for planned in plans.values())
    before = 0
    odd: dict[str, None] = {}
    for group, inputs, scenes in _groups(plans, provider):
        good = {key: one.unwrap() for key, one in inputs.items() if isinstance(one, Success)}
        grids = encoded(
            loaded,
            list(good.values()),
            batch_size=options.batch_size,
            progress=_counted(options.progress, before, total),
        )
        before += sum(len(planned.tiling) for planned in group.values())
        odd |= dict.fromkeys(text for one in good.values() for text in one.value_problems())
        listed = scenes()
        for (key, tiled), cells in zip(good.items(), grids, strict=True):
            meta = {**provenance(tiled, loaded, provider, listed), **note}
            results[key] = cells.bind(
                lambda found, tiled=tiled, meta=meta: assemble_embedding(  # type: ignore[misc]
                    tiled.plan, found, options.output, meta, flip_rows=south_up(tiled)
                )
            )
        for key, one in inputs.items():
            if key not in good:
                results[key] = Failure(one.failure())
    warn_of_values(odd)
    return results


def _in_order(
    plans: Sequence[Outcome[RoiPlan]], results: Mapping[Key, Outcome[Embedding]]
) -> list[Outcome[Embedding]]:
    """The result of every plan; of two equal plans each has its own."""
    handed_out: set[Key] = set()

    def own(planned: RoiPlan) -> Outcome[Embedding]:
        key = _key(planned)
        if key in handed_out:
            return results[key].map(deepcopy)
        handed_out.add(key)
        return results[key]

    return [planned.bind(own) for planned in plans]


def _counted(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Progress of one group, told as progress of them all."""
    if progress is None:
        return None
    return lambda done, _: progress(before + done, total)


Group = dict[Key, RoiPlan]
ListScenes = Callable[[], dict[str, Any]]
"""What the source tells of the scenes of a group's fetches, by fingerprint."""


def _groups(
    plans: Group, provider: Provider
) -> Iterator[tuple[Group, dict[Key, Outcome[TiledInput]], ListScenes]]:
    """Inputs in groups small enough to hold; the next group is opened while one is run.

    The scenes of a whole group are listed in one go, while its pixels come.
    """
    groups = list(_by_size(plans))
    if provider.workers <= 1:
        for group in groups:
            yield group, _inputs(group, provider.open), lambda g=group: _listed(g, provider)  # type: ignore[misc]
        return
    with threads(provider.workers) as pool:
        ahead = _submit(pool, groups[0], provider)
        for i, group in enumerate(groups):
            futures, ahead = ahead, {}
            scenes = pool.submit(_listed, group, provider)
            if i + 1 < len(groups):
                ahead = _submit(pool, groups[i + 1], provider)
            inputs = _inputs(group, lambda f, now=futures: now[f.fingerprint].result())  # type: ignore[misc]
            yield group, inputs, scenes.result


def _inputs(
    group: Group, open_plan: Callable[[FetchPlan], Outcome[PatchReader]]
) -> dict[Key, Outcome[TiledInput]]:
    """The inputs of a group, each distinct fetch made once."""
    opened: dict[str, Outcome[PatchReader]] = {}

    def once(one: FetchPlan) -> Outcome[PatchReader]:
        if one.fingerprint not in opened:
            opened[one.fingerprint] = open_plan(one)
        return opened[one.fingerprint]

    return {
        key: collect(once(one) for one in planned.fetch_plans)
        .map(stack_readers)
        .bind(lambda reader, planned=planned: tiled_input(planned, reader))  # type: ignore[misc]
        for key, planned in group.items()
    }


def _submit(
    pool: ThreadPoolExecutor, group: Group, provider: Provider
) -> dict[str, Future[Outcome[PatchReader]]]:
    return {key: pool.submit(provider.open, one) for key, one in _distinct(group).items()}


def _listed(group: Group, provider: Provider) -> dict[str, Any]:
    fetch_plans = _distinct(group)
    found = list_scenes(provider, list(fetch_plans.values()))
    return dict(zip(fetch_plans, found, strict=True))


def _distinct(group: Group) -> dict[str, FetchPlan]:
    """The fetches of a group by fingerprint."""
    return {one.fingerprint: one for planned in group.values() for one in planned.fetch_plans}


def _by_size(plans: dict[Key, RoiPlan]) -> Iterator[dict[Key, RoiPlan]]:
    # Regions that see the same pixels stay together, so that these are fetched once.
    alike: dict[tuple[str, ...], dict[Key, RoiPlan]] = {}
    for key, planned in plans.items():
        alike.setdefault(tuple(f.fingerprint for f in planned.fetch_plans), {})[key] = planned
    group: dict[Key, RoiPlan] = {}
    held = 0
    for sharing in alike.values():
        size = sum(
            len(f.bands) * max(1, len(f.intervals)) * f.grid.height * f.grid.width
            for f in next(iter(sharing.values())).fetch_plans
        )
        if group and held + size > _GROUP_VALUES:
            yield group
            group, held = {}, 0
        group.update(sharing)
        held += size
    if group:
        yield group


def _key(planned: RoiPlan) -> Key:
    """Two ROIs with one key have the same embedding."""
    return planned.roi, tuple(one.fingerprint for one in planned.fetch_plans)


def _scale_note(model: Model, sensor: SensorSpec | None) -> dict[str, Any]:
    if sensor is None or float(sensor.scale_m) == model.scale_m:
        return {}
    note = (
        f"{model.id} was trained at {model.scale_m:g} m; the sensor's scale_m {sensor.scale_m} "
        "is used as given"
    )
    warn_once(("scale", model.id, sensor.scale_m), note)
    return {"model_scale_m": model.scale_m, "notes": [note]}
