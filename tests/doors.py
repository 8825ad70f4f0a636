"""Each model of the catalogue in its smallest variant, with weights anyone can rebuild.

Run as ``python -m tests.doors choices.json out.npz`` it embeds one place with each in a process of
its own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rioxarray  # noqa: F401  # for .rio
import xarray as xr

from rs_embed import Embedding, ModelChoice, OutputSpec, PointBuffer, TemporalSpec, get_embedding
from rs_embed.core.model import Model, ModelSpec
from rs_embed.core.plan import midpoint
from rs_embed.core.result import unwrap_or_raise
from rs_embed.embedders import catalog
from rs_embed.embedders.catalog import find_model
from rs_embed.embedders.runtime import function, unload_models
from rs_embed.parity import write_checkpoint
from rs_embed.parity.rows import DATA, rows_of
from rs_embed.pipeline import fetch, plan
from rs_embed.providers.memory import MemoryProvider

SEASON = TemporalSpec.range("2022-06-01", "2022-09-01")
PLACE = (121.5, 31.2)


LARGE_M = 50  # millions of parameters


def shortened(spec: ModelSpec) -> ModelSpec:
    """The spec with two blocks in its large networks, as the raw cases have; all else published."""
    sizes = rows_of(spec.id, DATA)["sizes"]
    depths = (sizes.get("depth", "depth"), sizes.get("inner_depth"))

    def two_blocks(config: Mapping[str, Any]) -> dict[str, Any]:
        named = [key for key in depths if isinstance(config.get(key), int)]
        return {**config, **dict.fromkeys(named, 2)}

    variants = tuple(
        replace(v, config=two_blocks(v.config)) if (v.params_m or 0) > LARGE_M else v
        for v in spec.variants
    )
    return replace(spec, variants=variants)


@contextmanager
def short_networks() -> Iterator[dict[str, ModelSpec]]:
    """The catalogue `shortened`; yields its models."""
    kept = dict(catalog.MODEL_SPECS)
    short = {name: shortened(spec) for name, spec in kept.items()}
    catalog._REGISTERED.update(short)
    try:
        yield short
    finally:
        catalog._REGISTERED.update(kept)
        unload_models()


def smallest(spec: ModelSpec, folder: Path) -> ModelChoice:
    """The variant with the fewest parameters; its weights are written to the folder."""
    variant = min(spec.variants, key=lambda v: (v.params_m or 0, v.dim))
    if function(spec, "build") is None or not spec.device:
        return ModelChoice(spec.id, variant.name)
    path = folder / f"{spec.id}-{variant.name}.pt"
    if not path.exists():
        write_checkpoint((spec, variant.name), path)
    return ModelChoice(spec.id, variant.name, weights=str(path))


def resolved(choice: ModelChoice) -> Model:
    return unwrap_or_raise(find_model(choice))


def square(model: Model, side_px: int, *, lon=PLACE[0], lat=PLACE[1]) -> PointBuffer:
    """A region of ``side_px`` pixels a side at the model's own scale."""
    return PointBuffer(lon, lat, side_px * model.scale_m / 2)


def embed(choice: ModelChoice, spatial: PointBuffer, output: OutputSpec | None = None) -> Embedding:
    """The embedding of a place in the memory provider's world."""
    return get_embedding(
        choice,
        spatial=spatial,
        temporal=season(resolved(choice)),
        output=output or OutputSpec.grid(),
        backend="memory",
        device="cpu",
    )


def array_of(choice: ModelChoice, spatial: PointBuffer) -> tuple[xr.DataArray, dict[str, str]]:
    """The same pixels as a user's own array, and the units of its bands."""
    model, provider = resolved(choice), MemoryProvider()
    planned = unwrap_or_raise(plan(model, spatial, season(model), provider))
    # The region alone: what windows would see around it is not the array's to give.
    fetch_plans = tuple(replace(one, grid=planned.roi) for one in planned.fetch_plans)
    patch = unwrap_or_raise(fetch(replace(planned, fetch_plans=fetch_plans), provider))
    array = xr.DataArray(
        patch.data,
        dims=("time", "band", "y", "x"),
        coords={"band": list(patch.bands), "y": planned.roi.y(), "x": planned.roi.x()},
    ).rio.write_crs(planned.roi.crs)
    # One pixel alone has no spacing but that of its transform.
    array = array.rio.write_transform(planned.roi.transform)
    units = dict(zip(patch.bands, patch.units, strict=True))
    if len(patch.intervals) < 2:
        return array.isel(time=0), units
    days = [np.datetime64(midpoint(interval), "ns") for interval in patch.intervals]
    return array.assign_coords(time=days), units


def season(model: Model) -> TemporalSpec | None:
    """The dates to ask for; None where a model has no time."""
    return None if model.cadence.kind == "none" else SEASON


def main(choices: str, out: str) -> None:
    arrays = {}
    with short_networks():
        for name, variant, weights in json.loads(Path(choices).read_text()):
            choice = ModelChoice(name, variant, weights=weights)
            model = resolved(choice)
            arrays[name] = embed(choice, square(model, model.window_px)).data.values
            unload_models()  # one at a time in memory
    np.savez(out, **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
