"""Every model of the catalogue, from an Earth Engine expression to an embedding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rs_embed import (
    ModelChoice,
    ModelError,
    OutputSpec,
    PointBuffer,
    TemporalSpec,
    get_embedding,
    open_roi,
)
from rs_embed.core.model import ModelSpec
from rs_embed.core.result import unwrap_or_raise
from rs_embed.embedders.catalog import MODEL_SPECS, find_model
from rs_embed.embedders.runtime import unload_models
from rs_embed.parity import write_checkpoint
from rs_embed.providers.collections import COLLECTIONS
from tests.doors import short_networks
from tests.earth_engine import Server
from tests.gee.plans import requests_of

SUMMER = TemporalSpec.range("2022-06-01", "2022-09-01")
CASES = [(spec.id, name) for spec in MODEL_SPECS.values() for name in spec.modalities]
SERVED = [
    (model, modality)
    for model, modality in CASES
    if all(item.collection in COLLECTIONS for item in MODEL_SPECS[model].modalities[modality])
]
NOT_SERVED = sorted({*CASES} - {*SERVED})


def smallest(spec: ModelSpec) -> str:
    """The variant with the fewest parameters."""
    return min(spec.variants, key=lambda v: (v.params_m or 0, v.dim)).name


@pytest.fixture(scope="module", autouse=True)
def _short():
    with short_networks():
        yield


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory):
    """A local checkpoint for a model, written once, numbers by the recipe."""
    folder = tmp_path_factory.mktemp("weights")

    def of(spec: ModelSpec, modality: str) -> str | None:
        variant = next(v for v in spec.variants if v.name == smallest(spec))
        if variant.weights is None:
            return None
        path = Path(folder) / f"{spec.id}-{modality if spec.modality_builds else 'any'}.pt"
        if not path.exists():
            model = unwrap_or_raise(find_model(ModelChoice(spec.id, variant.name, modality)))
            write_checkpoint((spec, variant.name), path, model=model)
        return str(path)

    yield of
    unload_models()


@pytest.mark.parametrize(("model", "modality"), SERVED, ids=map(":".join, SERVED))
def test_the_same_numbers_as_from_the_same_pixels(
    server: Server, weights, model: str, modality: str
) -> None:
    spec = MODEL_SPECS[model]
    choice = ModelChoice(model, smallest(spec), modality, weights=weights(spec, modality))
    timeless = all(item.static for item in spec.modalities[modality])
    when = None if timeless else TemporalSpec.year(2022) if model == "gse_annual" else SUMMER
    # A region of exactly one window, so that neither way sees any surroundings.
    chosen = unwrap_or_raise(find_model(choice))
    place = PointBuffer(3.6, 40.6, chosen.window_px * chosen.scale_m / 2)
    ours = get_embedding(choice, spatial=place, temporal=when, output=OutputSpec.grid())
    assert np.isfinite(ours.data).all()
    assert len(requests_of(server)) == sum(i["requests"] for i in _inputs(ours.meta))
    pixels = open_roi(place, when, choice).compute()
    theirs = pixels.rsembed.embed(choice, temporal=when)
    scale = float(np.abs(theirs).max())
    assert np.allclose(ours.data, theirs, rtol=1e-5, atol=1e-5 * scale)
    assert np.array_equal(ours.data.x, theirs.x)
    pooled = get_embedding(choice, spatial=place, temporal=when)
    assert np.allclose(pooled.data, ours.data.mean(("y", "x")), rtol=1e-5, atol=1e-5 * scale)


def _inputs(meta: dict) -> list[dict]:
    return meta["input"].get("sources", [meta["input"]])


@pytest.mark.parametrize(("model", "modality"), NOT_SERVED, ids=map(":".join, NOT_SERVED))
def test_what_earth_engine_lacks_is_told_before_any_request(
    server: Server, model: str, modality: str
) -> None:
    choice = ModelChoice(model, modality=modality)
    with pytest.raises(ModelError, match="backend 'gee' cannot serve the input"):
        get_embedding(choice, spatial=PointBuffer(3.6, 40.6, 320), temporal=SUMMER)
    assert server.counters == {}
