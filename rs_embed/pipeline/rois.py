"""Many ROIs: each distinct plan fetched and run once, in groups that bound memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from returns.result import Failure, Success

from rs_embed.core import specs
from rs_embed.core.embedding import Embedding
from rs_embed.core.errors import SpecError
from rs_embed.core.grid import Grid
from rs_embed.core.model import Model, ModelChoice
from rs_embed.core.patch import Patch, stack_patches
from rs_embed.core.plan import FetchPlan, RoiPlan
from rs_embed.core.resample import check_cells
from rs_embed.core.result import Outcome, caused, collect
from rs_embed.core.specs import OutputSpec, SensorSpec, SpatialSpec, TemporalSpec
from rs_embed.embedders.catalog import find_model
from rs_embed.embedders.runtime import LoadedModel, load
from rs_embed.pipeline.assemble import assemble_embedding
from rs_embed.pipeline.inspect import with_checks
from rs_embed.pipeline.steps import (
    Progress,
    TiledInput,
    check_output,
    check_running,
    encoded,
    plan,
    provenance,
    south_up,
    tiled_input,
)
from rs_embed.providers.auto import choose_provider
from rs_embed.providers.base import Provider, check_available, list_scenes

Key = tuple[Grid, tuple[str, ...]]
# Pixel values fetched ahead and held at once: 256 MB of float32.
_GROUP_VALUES = 64_000_000


def embed_rois(
    model: str | ModelChoice,
    spatials: Sequence[SpatialSpec],
    temporal: TemporalSpec | None,
    *,
    sensor: SensorSpec | None,
    output: OutputSpec,
    backend: str,
    device: str,
    source: Any,
    input_prep: str,
    overlap: int,
    batch_size: int | None,
    progress: Progress | None,
) -> Outcome[list[Outcome[Embedding]]]:
    """An Outcome for each ROI, in order; a Failure where the request as a whole is wrong."""
    if not isinstance(spatials, list | tuple) or not spatials:
        return Failure(SpecError("spatials must be a non-empty list of BBox or PointBuffer"))
    checked = collect(
        check
        for check in (
            specs.check_output(output),
            Success(None) if sensor is None else specs.check_sensor(sensor),
            check_running(batch_size, progress),
        )
    )
    return checked.bind(lambda _: find_model(model)).bind(
        lambda chosen: check_output(chosen, output)
        .bind(lambda _: choose_provider(chosen, backend, source))
        .bind(
            lambda provider: _embed(
                chosen, with_checks(provider, sensor), list(spatials), temporal, sensor, output,
                device, input_prep, overlap, batch_size, progress,
            )
        )
    )  # fmt: skip


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
    model: Model,
    provider: Provider,
    spatials: list[SpatialSpec],
    temporal: TemporalSpec | None,
    sensor: SensorSpec | None,
    output: OutputSpec,
    device: str,
    input_prep: Any,
    overlap: int,
    batch_size: int | None,
    progress: Progress | None,
) -> Outcome[list[Outcome[Embedding]]]:
    plans = [
        plan(
            model, one, temporal, provider, sensor=sensor, input_prep=input_prep, overlap=overlap
        ).bind(lambda p: check_cells(p.roi, output).map(lambda _, p=p: p))  # type: ignore[misc]
        for one in spatials
    ]
    distinct = {_key(p.unwrap()): p.unwrap() for p in plans if isinstance(p, Success)}
    # A batch that cannot be planned at all needs neither weights nor pixels.
    if not distinct:
        return Success([p.map(_never) for p in plans])
    note = _scale_note(model, sensor)

    def run(loaded: LoadedModel) -> list[Outcome[Embedding]]:
        results: dict[Key, Outcome[Embedding]] = {}
        total = sum(len(planned.tiling) for planned in distinct.values())
        before = 0
        for keys, jobs, scenes in _groups(distinct, provider):
            good = [(k, j.unwrap()) for k, j in zip(keys, jobs, strict=True) if _ok(j)]
            results.update(
                {k: j.map(_never) for k, j in zip(keys, jobs, strict=True) if not _ok(j)}
            )
            fields = encoded(
                loaded,
                [j for _, j in good],
                batch_size=batch_size,
                progress=_counted(progress, before, total),
            )
            before += sum(len(distinct[key].tiling) for key in keys)
            told = scenes()
            for i, (key, one) in enumerate(good):
                meta = {**provenance(one, loaded, provider, told), **note}
                results[key] = fields.bind(
                    lambda cells, i=i, one=one, meta=meta: assemble_embedding(  # type: ignore[misc]
                        one.plan, cells[i], output, meta, flip_rows=south_up(one)
                    )
                )
        return [p.bind(lambda ok: results[_key(ok)]) for p in plans]

    return check_available(provider).bind(lambda _: load(model, device)).map(run)


def _counted(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Progress of one group, told as progress of them all."""
    if progress is None:
        return None
    return lambda done, _: progress(before + done, total)


Scenes = Callable[[], dict[str, Any]]
"""What the source tells of the scenes of a group's fetches, by fingerprint."""


def _groups(
    plans: dict[Key, RoiPlan], provider: Provider
) -> Iterator[tuple[list[Key], list[Outcome[TiledInput]], Scenes]]:
    """Jobs in groups small enough to hold; the next group is fetched while one is run.

    The scenes of a whole group are listed in one go, while its pixels come.
    """
    groups = list(_by_size(plans))
    if provider.workers <= 1:
        for group in groups:
            yield list(group), _jobs(group, provider.fetch), lambda g=group: _listed(g, provider)  # type: ignore[misc]
        return
    with ThreadPoolExecutor(provider.workers) as pool:
        ahead = _submit(pool, groups[0], provider)
        for i, group in enumerate(groups):
            futures, ahead = ahead, {}
            scenes = pool.submit(_listed, group, provider)
            if i + 1 < len(groups):
                ahead = _submit(pool, groups[i + 1], provider)
            jobs = _jobs(group, lambda f, now=futures: now[f.fingerprint].result())  # type: ignore[misc]
            yield list(group), jobs, scenes.result


def _jobs(
    group: dict[Key, RoiPlan], fetch: Callable[[FetchPlan], Outcome[Patch]]
) -> list[Outcome[TiledInput]]:
    """The jobs of a group, each distinct fetch made once."""
    done: dict[str, Outcome[Patch]] = {}

    def once(one: FetchPlan) -> Outcome[Patch]:
        if one.fingerprint not in done:
            done[one.fingerprint] = fetch(one)
        return done[one.fingerprint]

    return [
        collect(once(one) for one in planned.fetch_plans)
        .map(stack_patches)
        .bind(lambda patch, planned=planned: tiled_input(planned, patch))  # type: ignore[misc]
        for planned in group.values()
    ]


def _submit(
    pool: ThreadPoolExecutor, group: dict[Key, RoiPlan], provider: Provider
) -> dict[str, Future[Outcome[Patch]]]:
    fetch_plans = {
        one.fingerprint: one for planned in group.values() for one in planned.fetch_plans
    }
    return {key: pool.submit(provider.fetch, one) for key, one in fetch_plans.items()}


def _listed(group: dict[Key, RoiPlan], provider: Provider) -> dict[str, Any]:
    fetch_plans = {
        one.fingerprint: one for planned in group.values() for one in planned.fetch_plans
    }
    found = list_scenes(provider, list(fetch_plans.values()))
    return dict(zip(fetch_plans, found, strict=True))


def _by_size(plans: dict[Key, RoiPlan]) -> Iterator[dict[Key, RoiPlan]]:
    # Regions that see the same pixels stay together, so that these are fetched once.
    alike: dict[tuple[str, ...], dict[Key, RoiPlan]] = {}
    for key, planned in plans.items():
        alike.setdefault(tuple(f.fingerprint for f in planned.fetch_plans), {})[key] = planned
    group: dict[Key, RoiPlan] = {}
    held = 0
    for members in alike.values():
        size = sum(
            len(f.bands) * max(1, len(f.intervals)) * f.grid.height * f.grid.width
            for f in next(iter(members.values())).fetch_plans
        )
        if group and held + size > _GROUP_VALUES:
            yield group
            group, held = {}, 0
        group.update(members)
        held += size
    if group:
        yield group


def _key(planned: RoiPlan) -> Key:
    """Two ROIs with one key have the same embedding."""
    return planned.roi, tuple(one.fingerprint for one in planned.fetch_plans)


def _scale_note(model: Model, sensor: SensorSpec | None) -> dict[str, Any]:
    if sensor is None or float(sensor.scale_m) == model.scale_m:
        return {}
    from rs_embed.plugins.notices import warn_once

    note = (
        f"{model.id} was trained at {model.scale_m:g} m; the sensor's scale_m {sensor.scale_m} "
        "is used as given"
    )
    warn_once(("scale", model.id, sensor.scale_m), note)
    return {"model_scale_m": model.scale_m, "notes": [note]}


def _ok(outcome: Outcome[Any]) -> bool:
    return isinstance(outcome, Success)


def _never(value: Any) -> Any:
    raise AssertionError("a success cannot pass for a failure")
