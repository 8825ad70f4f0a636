"""Every model of the catalogue through every door: shapes, ground, determinism, equality."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rioxarray  # noqa: F401  # for .rio on what comes out

from rs_embed import ModelChoice, OutputSpec, get_embeddings_batch
from rs_embed.core.grid import roi_grid
from rs_embed.core.model import Model
from rs_embed.core.result import unwrap_or_raise
from rs_embed.embedders.catalog import MODEL_SPECS
from rs_embed.embedders.run import unload_models
from tests.doors import SEASON, embed, resolved, smallest, square

# Told once of models whose windows show; seen or not depends on which test runs first.
pytestmark = pytest.mark.filterwarnings("ignore:the tokens of .* show their place")

# One ROI more or fewer in a batch may change the last bits of torch's sums.
CLOSE = {"rtol": 1e-4, "atol": 2e-5}


@dataclass(frozen=True)
class Door:
    choice: ModelChoice
    model: Model


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module", params=list(MODEL_SPECS))
def door(request, folder):
    choice = smallest(MODEL_SPECS[request.param], folder)
    yield Door(choice, resolved(choice))
    unload_models()  # one model at a time in memory
    gc.collect()


@pytest.fixture(scope="module")
def elsewhere(folder) -> dict[str, np.ndarray]:
    """What another process gives, for all models."""
    choices = [smallest(spec, folder) for spec in MODEL_SPECS.values()]
    asked, out = folder / "choices.json", folder / "out.npz"
    asked.write_text(json.dumps([(c.id, c.variant, c.weights) for c in choices]))
    subprocess.run(
        [sys.executable, "-m", "tests.doors", str(asked), str(out)],
        cwd=Path(__file__).parents[1],
        check=True,
        timeout=600,
    )
    with np.load(out) as arrays:
        return dict(arrays)


def sizes(model: Model) -> dict[str, tuple[int, int]]:
    """(pixels a side of the ROI, cells a side of its grid)."""
    per_window = model.window_px // model.token_px
    return {
        "below a token": (max(1, model.token_px // 2), 1),
        "below a window": (max(1, per_window // 2) * model.token_px, max(1, per_window // 2)),
        "at a window": (model.window_px, per_window),
        "above a window": (model.window_px + model.token_px, per_window + 1),
    }


@pytest.mark.parametrize(
    "size", ["below a token", "below a window", "at a window", "above a window"]
)
def test_grid_and_pooled_of_any_size(door, size) -> None:
    pixels, cells = sizes(door.model)[size]
    place = square(door.model, pixels)
    grid = embed(door.choice, place)
    assert grid.data.dims == ("feature", "y", "x")
    assert grid.data.shape == (door.model.dim, cells, cells)
    assert grid.data.dtype == np.float32
    assert np.isfinite(grid.data).all()

    roi = unwrap_or_raise(roi_grid(place, door.model.scale_m))
    cell = door.model.token_px * door.model.scale_m
    assert grid.data.rio.crs.to_string() == roi.crs
    assert grid.data.rio.transform() == grid.data.rio.transform(recalc=True)
    assert grid.data.rio.resolution() == (cell, -cell)
    np.testing.assert_allclose(grid.data.rio.bounds(), roi.bounds, atol=cell / 2)
    assert (grid.meta["model"], grid.meta["variant"]) == (door.model.id, door.model.variant.name)

    pooled = embed(door.choice, place, OutputSpec.pooled())
    assert isinstance(pooled.data, np.ndarray)
    assert pooled.data.shape == (door.model.dim,)
    np.testing.assert_allclose(pooled.data, grid.data.mean(("y", "x")), rtol=1e-5, atol=1e-6)
    largest = embed(door.choice, place, OutputSpec.pooled(pooling="max"))
    np.testing.assert_allclose(largest.data, grid.data.max(("y", "x")), rtol=1e-5, atol=1e-6)


def test_the_same_call_gives_the_same_bits(door) -> None:
    place = square(door.model, door.model.window_px)
    first = embed(door.choice, place).data
    assert np.array_equal(first, embed(door.choice, place).data)
    unload_models()
    assert np.array_equal(first, embed(door.choice, place).data)


def test_another_process_gives_the_same_numbers(door, elsewhere) -> None:
    here = embed(door.choice, square(door.model, door.model.window_px)).data
    np.testing.assert_allclose(elsewhere[door.model.id], here, **CLOSE)


def test_other_pixels_give_other_numbers(door) -> None:
    side = door.model.window_px
    here = embed(door.choice, square(door.model, side)).data.values
    there = embed(door.choice, square(door.model, side, lon=-64.2, lat=-31.4)).data.values
    assert np.abs(here - there).max() > 1e-3 * np.abs(here).max()


def test_a_batch_equals_one_by_one(door) -> None:
    side, token = door.model.window_px, door.model.token_px
    places = [
        square(door.model, side),
        square(door.model, side + token, lat=31.9),
        square(door.model, token, lon=-64.2, lat=-31.4),
        square(door.model, side),
    ]
    batch = get_embeddings_batch(
        door.choice,
        spatials=places,
        temporal=SEASON if door.model.cadence.kind != "none" else None,
        output=OutputSpec.grid(),
        backend="memory",
        device="cpu",
        batch_size=3,
    )
    assert len(batch) == len(places)
    for place, one in zip(places, batch, strict=True):
        alone = embed(door.choice, place)
        np.testing.assert_allclose(one.data, alone.data, **CLOSE)
        assert one.data.rio.transform() == alone.data.rio.transform()
    assert np.array_equal(batch[0].data, batch[3].data)
