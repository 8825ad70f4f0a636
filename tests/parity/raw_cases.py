"""Raw cases: pixels with names, dates and a place through `get_embedding`, as a user would.

Nothing but pixels is handed over: bands, their order, units, statistics, months, heads and pooling
are the product's. A case names a published variant; the one thing that may be shortened is depth.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from returns.result import Failure, Success

from rs_embed import ModelChoice, OutputSpec, PointBuffer, TemporalSpec, get_embedding
from rs_embed.core.bands import match_bands
from rs_embed.core.errors import ModelError
from rs_embed.core.model import InputSpec, Model, ModelSpec, Variant
from rs_embed.core.patch import Patch
from rs_embed.core.plan import FetchPlan, SourceInfo
from rs_embed.core.result import unwrap_or_raise
from rs_embed.embedders import catalog, runtime
from rs_embed.parity import Case, recipe, write_checkpoint
from rs_embed.parity.compare import Comparison, compare_outputs
from rs_embed.parity.rows import Rows, rows_of
from rs_embed.parity.runner import day_after, differences, lay_out, tidy
from rs_embed.pipeline import open_input, plan, stack_windows, windows
from rs_embed.providers.base import Provider

RAW = Path(__file__).parent / "raw"
NORMALISED = {"tensor": "image", "layout": "bchw->tchw"}


@dataclass(frozen=True)
class CasePixels(Provider):
    """A source that has exactly the pixels of a case, wherever it is asked."""

    case: Case
    name: str = "raw_case"
    workers: int = 1

    def describe(self, item: InputSpec, sensor: object):
        for i, given in enumerate(self.case.data["inputs"]):
            places = match_bands(item.bands, given["bands"], error=ModelError)
            if isinstance(places, Success):
                names = tuple(given["bands"][p] for p in places.unwrap())
                dated = self.case.data["raw"]["dates"] is not None and not item.static
                source = f"{self.case.name}/{i}"
                units = (given["units"],) * len(names)
                return Success(SourceInfo(source, names, units, dated=dated))
        return Failure(ModelError(f"{self.case.name} has no pixels for {item.name}: {item.bands}"))

    def fetch(self, asked: FetchPlan):
        given = self.case.data["inputs"][int(asked.collection.rpartition("/")[2])]
        pixels = raw_pixels(given)
        places = [given["bands"].index(band) for band in asked.bands]
        assert asked.grid.shape == pixels.shape[2:], "a case is one window"
        # The dates are the case's own days, whatever equal parts a plan would cut.
        days = self.case.data["raw"]["dates"] or []
        own = tuple((day, day_after(day)) for day in days) if asked.intervals else ()
        assert len(own) == len(asked.intervals)
        if own and len(pixels) == 1:
            # A layer that the authors take once a window, and the product once a step.
            pixels = np.repeat(pixels, len(own), axis=0)
        return Success(Patch(pixels[:, places], asked.bands, asked.units, asked.grid, own))


def raw_pixels(given: Mapping[str, Any]) -> np.ndarray:
    """``(T, C, H, W)`` float32 of one input of a case, in its units."""
    u = recipe.array(given["seed"], tuple(given["shape"]), 0, 1).astype(np.float64)
    scale, offset = (np.array(given[key], dtype=np.float64) for key in ("scale", "offset"))
    values = u * scale[:, None, None] + offset[:, None, None]
    return (np.floor(values) if given["whole"] else values).astype(np.float32)


def rows(case: Case) -> Rows:
    return rows_of(case.model_id, Path(__file__).parent / "data")


def raw_row(case: Case) -> dict[str, Any]:
    """What ``[raw]`` says of all cases of a family, and then of this one."""
    told = dict(rows(case)["raw"])
    return {**told, **told.get(case.name, {})}


def variant_of(case: Case, spec: ModelSpec) -> Variant:
    """The catalogue's variant, shortened if the case is; refused where its config differs."""
    wanted = case.data["raw"]["variant"]
    variant = next(v for v in spec.variants if tidy(v.name) == tidy(wanted))
    differing = differences(case.config, variant, rows(case)["aside"])
    depth = rows(case)["sizes"].get("depth", "depth")
    shortened = case.data["raw"].get("depth") is not None
    refused = {key: value for key, value in differing.items() if not (shortened and key == depth)}
    if refused:
        ours = {key: variant.config.get(key) for key in refused}
        raise ModelError(f"{case.name} is not {spec.id}:{variant.name}: {refused}, ours {ours}")
    return replace(variant, config={**variant.config, **differing})


@contextmanager
def in_catalogue(spec: ModelSpec, variant: Variant):
    """The catalogue with a shortened variant in the place of its own, for one case."""
    kept = catalog._REGISTERED[spec.id]
    others = tuple(v if v.name != variant.name else variant for v in spec.variants)
    catalog._REGISTERED[spec.id] = replace(kept, variants=others)
    try:
        yield
    finally:
        catalog._REGISTERED[spec.id] = kept
        runtime.unload_models()


def compare_raw(case: Case, folder: Path) -> tuple[Comparison, ...]:
    """How close the product comes to a raw case."""
    spec = catalog.MODEL_SPECS[case.model_id]
    variant = variant_of(case, spec)
    with in_catalogue(spec, variant):
        return compare_outputs(case, _results(case, spec, variant, folder))


def _results(case: Case, spec: ModelSpec, variant: Variant, folder: Path) -> dict[str, Any]:
    raw, told = case.data["raw"], raw_row(case)
    options = {**raw.get("options", {}), **told.get("options", {}), **_sizes(case, spec)}
    modality = told.get("modality", raw.get("modality"))
    choice = ModelChoice(spec.id, variant.name, modality, options)
    model = unwrap_or_raise(catalog.find_model(choice))
    path = folder / f"{case.name}.pt"
    if runtime.function(spec, "build") is not None and not path.exists():
        write_checkpoint(case, path, model=model)
    choice = replace(choice, weights=str(path) if path.exists() else None)
    place = PointBuffer(*raw["lonlat"], raw["window_px"] * raw["scale_m"] / 2)
    when = _temporal(model, raw["dates"])
    found: dict[str, Any] = {}

    def asked(output: OutputSpec, choice: ModelChoice = choice) -> np.ndarray:
        embedding = get_embedding(
            choice, spatial=place, temporal=when, output=output,
            backend="raw_case", source=case, device="cpu",
        )  # fmt: skip
        return np.asarray(embedding.data)

    found["grid"] = asked(OutputSpec.grid()).transpose(1, 2, 0)
    if "pooled" in case.outputs:
        found["pooled"] = asked(OutputSpec.pooled())
    if "image" in case.outputs and spec.image_vector is not None:
        found["image"] = asked(OutputSpec.pooled(pooling="model"))
    for name, modality in told.get("images", {}).items():
        other = replace(choice, modality=modality)
        found[name] = asked(OutputSpec.pooled(pooling="model"), other)
    arrays = _network_input(model, place, when, case)
    for name, rule in told.get("outputs", {"normalised": NORMALISED}).items():
        if name in case.outputs:
            found[name] = lay_out(arrays, rule, case.outputs[name]["shape"])
    return found


def _sizes(case: Case, spec: ModelSpec) -> dict[str, int]:
    """The options that set the window and the token to the case's."""
    known = {option.sets: option.name for option in spec.options if option.sets}
    raw = case.data["raw"]
    wanted = {
        "window_px": raw["window_px"],
        "token_px": raw["token_px"],
        "frames": len(raw["dates"] or [0]),
    }
    return {known[field]: value for field, value in wanted.items() if field in known}


def _temporal(model: Model, dates: list[str] | None) -> TemporalSpec | None:
    """Dates that the model's cadence cuts into as many parts as the case has."""
    if dates is None:
        return None
    first = dt.date.fromisoformat(dates[0])
    if model.cadence.kind != "months":
        return TemporalSpec.range(dates[0], day_after(dates[-1]))
    month = first.month - 1 + len(dates)
    end = dt.date(first.year + month // 12, month % 12 + 1, 1)
    return TemporalSpec.range(first.replace(day=1).isoformat(), end.isoformat())


def _network_input(
    model: Model, place: PointBuffer, when: TemporalSpec | None, case: Case
) -> dict[str, np.ndarray]:
    source = CasePixels(case)
    planned = unwrap_or_raise(plan(model, place, when, source))
    ready = unwrap_or_raise(open_input(planned, source))
    return runtime.prepare(model, stack_windows(list(windows(ready))))
