"""One runner for the fixtures of every family: the product's own variant, unless it differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from rs_embed.core.choice import resolve
from rs_embed.core.errors import ModelError
from rs_embed.core.model import Model, ModelChoice, ModelSpec, Variant
from rs_embed.core.prepare import Windows
from rs_embed.core.result import unwrap_or_raise
from rs_embed.embedders import runtime
from rs_embed.parity.case import Case
from rs_embed.parity.checkpoint import case_state, filled
from rs_embed.parity.layout import after_sizes, arrange
from rs_embed.parity.rows import Rows

DEFAULTS: dict[str, Any] = {
    "grid": {"tensor": "grid", "layout": "bhwd->bdhw"},
    "pooled": {"tensor": "grid", "layout": "bhwd->bd"},
    "image": {"tensor": "image"},
}


def run_rows(case: Case, spec: ModelSpec, rows: Rows) -> dict[str, np.ndarray]:
    """What the product gives on a fixture, by the fixture's names."""
    preparations = list(rows.preparations(case.name))
    if preparations:
        found: dict[str, np.ndarray] = {}
        for entry in preparations:
            for name, array in _prepared(case, spec, rows, entry).items():
                found[name] = np.concatenate([found[name], array]) if name in found else array
        return found
    return _encoded(case, spec, rows)


def model_of(
    case: Case, spec: ModelSpec, rows: Rows, told: Mapping[str, Any] | None = None
) -> Model:
    """The product's own model of a case, smaller only where the family's row allows it.

    Raises
    ------
    ModelError
        Where the case's config is not the product's.
    """
    told = rows.of_case(case.name) if told is None else told
    variant, shrunk = _variant(case, spec, told)
    aside = {**rows["aside"], **told.get("aside", {})}
    differing = differences(case.config, variant, aside)
    refused = {k: v for k, v in differing.items() if not (shrunk and k in rows["shrinks"])}
    if refused:
        theirs = "; ".join(
            f"{key}: {case.config[key]!r}, ours {variant.config.get(key)!r}" for key in refused
        )
        raise ModelError(
            f"{case.name} is not of {spec.id}:{variant.name} as the catalogue has it: {theirs}"
        )
    stored = {key: _frozen(value) for key, value in told.get("stored", {}).items()}
    config = {**variant.config, **differing, **stored}
    sizes = {ours: key for ours, key in rows["sizes"].items() if key in differing}
    changed: dict[str, Any] = {
        name: _one(config[sizes[name]])
        for name in ("dim", "token_px", "window_px")
        if name in sizes
    }
    small = replace(variant, config=config, **changed)
    only = replace(spec, variants=(small,), default_variant=small.name)
    choice = ModelChoice(spec.id, small.name, told.get("modality"), told.get("options", {}))
    return unwrap_or_raise(resolve(only, choice))


def differences(
    config: Mapping[str, Any], variant: Variant, aside: Mapping[str, str]
) -> dict[str, Any]:
    """What a fixture's config says otherwise than a variant's, in the form that ours has."""
    plain = {key: _frozen(value) for key, value in config.items() if key not in aside}
    missing = object()
    return {
        key: value
        for key, value in plain.items()
        if _frozen(variant.config.get(key, missing)) != value
    }


def _variant(case: Case, spec: ModelSpec, told: Mapping[str, Any]) -> tuple[Variant, bool]:
    """The variant that a case is about, and whether it may be smaller."""
    known = {tidy(variant.name): variant for variant in spec.variants}
    named = known.get(tidy(str(case.data.get("variant", ""))))
    chosen = told.get("variant")
    if chosen is not None and tidy(chosen) not in known:
        raise ModelError(f"the row of {case.name} names {chosen!r}, which {spec.id} has not")
    variant = known[tidy(chosen)] if chosen else named or known[tidy(spec.default_variant)]
    return variant, bool(told.get("shrunk", named is None))


def tidy(name: str) -> str:
    """A variant's name without regard to case, dots and kind of dash."""
    return name.lower().replace("-", "_").replace(".", "_")


def _frozen(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, Mapping):
        return {key: _frozen(item) for key, item in value.items()}
    return value


def _one(value: Any) -> int:
    """A size given as a number, or for each axis, the last of which counts."""
    return int(value[-1]) if isinstance(value, tuple) else int(value)


def _encoded(case: Case, spec: ModelSpec, rows: Rows) -> dict[str, np.ndarray]:
    told = rows.of_case(case.name)
    model = model_of(case, spec, rows)
    arrays = _inputs(case, {**rows["inputs"], **told.get("inputs", {})})
    rules = {**DEFAULTS, **rows["outputs"], **told.get("outputs", {})}
    wanted = {name: _rule(case, name, rules) for name in case.outputs}
    modules = {rule["module"] for rule in wanted.values() if "module" in rule}
    found = _forward(case, model, arrays, modules)
    return {
        name: lay_out(found, rule, case.outputs[name]["shape"]) for name, rule in wanted.items()
    }


def _forward(
    case: Case, model: Model, arrays: Mapping[str, np.ndarray], modules: set[str]
) -> dict[str, np.ndarray]:
    """What the network gives with the case's weights, and the named modules on the way."""
    import torch

    network = filled(model, case_state(case, model))
    if case.tolerance.dtype == "float64":
        network = network.double()
    with torch.inference_mode(), _watched(network, modules) as seen:
        given = runtime.forward(model.spec, network, arrays)
    return {name: tensor.numpy() for name, tensor in {**given, **seen}.items()}


def _rule(case: Case, name: str, rules: Mapping[str, Any]) -> Mapping[str, Any]:
    rule = rules.get(name)
    if rule is None:
        raise ModelError(f"{case.name} has an output {name!r} that no row tells the place of")
    return {"module": rule} if isinstance(rule, str) else rule


def _inputs(case: Case, rules: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The tensors of `forward` by name."""
    given, out, used = case.inputs(), {}, set()
    for name, rule in rules.items():
        told = {"from": rule} if isinstance(rule, str) else rule
        if "config" in told:
            if told["config"] in case.config:
                out[name] = np.array(case.config[told["config"]], dtype=told.get("dtype"))
            continue
        if told["from"] not in given:
            continue
        used.add(told["from"])
        out[name] = _arranged(given[told["from"]], told)
    return {**{name: array for name, array in given.items() if name not in used}, **out}


def _arranged(array: np.ndarray, rule: Mapping[str, Any]) -> np.ndarray:
    if "pick" in rule:
        array = array[..., rule["pick"]]
    if "layout" in rule:
        array = arrange(array, rule["layout"])
    if "equals" in rule:
        array = array == rule["equals"]
    return array.astype(rule["dtype"]) if "dtype" in rule else array


def lay_out(found: Mapping[str, np.ndarray], rule: Mapping[str, Any], shape: list[int]) -> Any:
    """One output as the fixture lays it out."""
    names = rule.get("module", rule.get("tensor"))
    parts = []
    for name in [names] if isinstance(names, str) else names:
        if name not in found:
            raise ModelError(f"there is no {name!r} in what the network gave: {sorted(found)}")
        array = found[name]
        if "sample" in rule:
            array = array[rule["sample"]]
        if "drop" in rule:
            array = array[..., rule["drop"] :, :]
        for letter, places in rule.get("pick", {}).items():
            array = array.take(places, axis=rule["layout"].index(letter))
        if "times" in rule:
            array = array * rule["times"]
        if "layout" in rule:
            array = arrange(array, rule["layout"], after_sizes(rule["layout"], shape))
        if rule.get("cut"):
            array = array[tuple(slice(size) for size in shape)]
        parts.append(array)
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=rule.get("axis", -1))


@contextmanager
def _watched(network: Any, names: set[str]) -> Iterator[dict[str, Any]]:
    """What the named modules of a network give, by name, filled as it runs."""
    seen: dict[str, Any] = {}
    handles = []
    for name in names:
        first, *others = (_module(network, part) for part in name.split(">"))

        def watch(_: Any, __: Any, output: Any, name: str = name, others: Any = others) -> None:
            value = output.clone()
            for other in others:
                value = other(value)
            seen[name] = value

        handles.append(first.register_forward_hook(watch))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _module(network: Any, name: str) -> Any:
    """A part of a network by its dotted name."""
    found = network
    for part in name.split("."):
        found = found[int(part)] if part.lstrip("-").isdigit() else _part(found, part)
    return found


def _part(module: Any, name: str) -> Any:
    try:
        return getattr(module, name)
    except AttributeError as error:
        raise ModelError(f"{type(module).__name__} has no part {name!r}") from error


def _prepared(
    case: Case, spec: ModelSpec, rows: Rows, entry: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Raw pixels of a case through the family's ``prepare``."""
    inputs, model = case.inputs(), model_of(case, spec, rows, entry)
    taken = {key: _frozen(case.config[key]) for key in entry.get("takes", ())}
    variant = replace(model.variant, config={**model.variant.config, **taken})
    model = replace(model, variant=variant, window_px=entry.get("window_px", model.window_px))
    parts = [_pixels(inputs, rule) for rule in entry["pixels"]]
    shape = np.broadcast_shapes(*((*p.shape[:2], 1, *p.shape[3:]) for p in parts))
    whole = [np.broadcast_to(p, (*shape[:2], p.shape[2], *shape[3:])) for p in parts]
    pixels = np.concatenate(whole, axis=2).astype(np.float32)
    place = entry.get("lonlat", [0.0, 0.0])
    lonlat = inputs[place].reshape(-1, 2)[:, ::-1] if isinstance(place, str) else place
    dates = tuple((day, day_after(day)) for day in entry.get("dates", ()))
    windows = Windows(
        pixels, model.bands, (dates,) * len(pixels),
        np.broadcast_to(np.asarray(lonlat, dtype=np.float64), (len(pixels), 2)), model.scale_m,
    )  # fmt: skip
    arrays: Mapping[str, np.ndarray] = runtime.prepare(model, windows)
    if entry.get("run"):
        modules = {rule["module"] for rule in entry["outputs"].values() if "module" in rule}
        arrays = _forward(case, model, arrays, modules)
    return {
        name: lay_out(arrays, rule, case.outputs[name]["shape"])
        for name, rule in entry["outputs"].items()
    }


def _pixels(inputs: Mapping[str, np.ndarray], rule: Mapping[str, Any]) -> np.ndarray:
    """``(B, T, C, H, W)`` of one input, whole numbers where the authors take whole numbers."""
    array = inputs[rule["from"]].astype(np.float64)
    if "round" in rule:
        array = np.round(array) if rule["round"] == "even" else np.floor(array)
    if "pick" in rule:
        array = array[..., rule["pick"]]
    array = arrange(array, rule["layout"])
    if "absent" in rule:
        array[:, :, rule["absent"]] = np.nan
    if "missing" in rule:
        hole = rule["missing"]
        gone = arrange(inputs[hole["from"]], hole["layout"]) > hole["above"]
        array = np.where(gone, np.nan, array)
    return array


def day_after(day: str) -> str:
    """The next day of an ISO date."""
    import datetime as dt

    return (dt.date.fromisoformat(day) + dt.timedelta(days=1)).isoformat()
