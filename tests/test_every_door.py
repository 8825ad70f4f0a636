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
import xarray as xr

from rs_embed import ModelChoice, OutputSpec, get_embedding, get_embeddings_batch
from rs_embed.core.grid import roi_grid
from rs_embed.core.model import Model
from rs_embed.core.result import unwrap_or_raise
from rs_embed.embedders.catalog import MODEL_SPECS
from rs_embed.embedders.runtime import unload_models
from tests.doors import (
    array_of,
    embed,
    resolved,
    season,
    short_networks,
    shortened,
    smallest,
    square,
)

# Told once of models whose windows show; seen or not depends on which test runs first.
pytestmark = pytest.mark.filterwarnings("ignore:the tokens of .* show their place")

# What batch, door or process may change: the last bits of float32 sums.
RTOL = 1e-5


def assert_close(found, wanted) -> None:
    """Equal to 1e-5 of each value, or of the features' own size where a value is near zero."""
    wanted = np.asarray(wanted)
    size = np.sqrt(np.mean(np.square(wanted, dtype=np.float64)))
    np.testing.assert_allclose(found, wanted, rtol=RTOL, atol=RTOL * size)


# Taken when tests are collected: other tests add models of their own while they run.
MODELS = {name: shortened(spec) for name, spec in MODEL_SPECS.items()}


@pytest.fixture(scope="module", autouse=True)
def _short():
    with short_networks():
        yield


@dataclass(frozen=True)
class Door:
    choice: ModelChoice
    model: Model


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module", params=list(MODELS))
def door(request, folder):
    choice = smallest(MODELS[request.param], folder)
    yield Door(choice, resolved(choice))
    unload_models()  # one model at a time in memory
    gc.collect()


@pytest.fixture(scope="module")
def elsewhere(folder) -> dict[str, np.ndarray]:
    """What another process gives, for all models."""
    choices = [smallest(spec, folder) for spec in MODELS.values()]
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


def through_array(
    door: Door, array: xr.DataArray, units: dict[str, str], **keywords
) -> xr.DataArray:
    return array.rsembed.embed(
        door.choice, temporal=season(door.model), units=units, device="cpu", **keywords
    )


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
    if size == "at a window":
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
    assert_close(elsewhere[door.model.id], here)


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
        temporal=season(door.model),
        output=OutputSpec.grid(),
        backend="memory",
        device="cpu",
        batch_size=3,
    )
    assert len(batch) == len(places)
    for place, one in zip(places, batch, strict=True):
        alone = embed(door.choice, place)
        assert_close(one.data, alone.data)
        assert one.data.rio.transform() == alone.data.rio.transform()
    assert np.array_equal(batch[0].data, batch[3].data)


def test_an_array_gives_what_the_functions_give(door) -> None:
    """Where the region is one window, every door sees the same pixels."""
    place = square(door.model, door.model.window_px)
    array, units = array_of(door.choice, place)
    wanted = embed(door.choice, place)
    found = through_array(door, array, units)
    assert_close(found, wanted.data)
    assert found.rio.transform() == wanted.data.rio.transform()
    assert found.rio.crs == wanted.data.rio.crs
    pooled = through_array(door, array, units, output=OutputSpec.pooled())
    assert_close(pooled, embed(door.choice, place, OutputSpec.pooled()).data)


def test_a_source_gives_what_its_array_gives(door) -> None:
    place = square(door.model, door.model.window_px)
    array, units = array_of(door.choice, place)
    (unit,) = set(units.values())
    array = array.assign_attrs(units=unit)
    # A source without dates cannot be asked for any.
    temporal = season(door.model) if "time" in array.dims else None
    found = get_embedding(
        door.choice, spatial=place, temporal=temporal, output=OutputSpec.grid(),
        backend="local", source=array, device="cpu",
    )  # fmt: skip
    wanted = array.rsembed.embed(door.choice, temporal=temporal, device="cpu")
    assert_close(found.data, wanted)
    assert found.data.rio.transform() == wanted.rio.transform()


@pytest.mark.parametrize(
    "size", ["below a token", "below a window", "at a window", "above a window"]
)
def test_arrays_of_any_size(door, size) -> None:
    pixels, cells = sizes(door.model)[size]
    array, units = array_of(door.choice, square(door.model, pixels))
    grid = through_array(door, array, units)
    assert grid.dims == ("feature", "y", "x")
    assert grid.shape == (door.model.dim, cells, cells)
    assert np.isfinite(grid).all()
    cell = door.model.token_px * door.model.scale_m
    assert grid.rio.resolution() == (cell, -cell)
    np.testing.assert_allclose(grid.rio.bounds(), array.rio.bounds(), atol=cell / 2)


def test_bands_are_found_by_name(door) -> None:
    array, units = array_of(door.choice, square(door.model, door.model.window_px))
    straight = through_array(door, array, units)
    turned = array.isel(band=slice(None, None, -1))
    assert np.array_equal(straight, through_array(door, turned, units))
    # The values under other names are other pixels.
    if array.sizes["band"] > 1:
        renamed = array.assign_coords(band=array.band.values[::-1])
        assert np.abs(through_array(door, renamed, units) - straight).max() > 1e-4


@pytest.mark.parametrize("south_up", [False, True], ids=["north up", "south up"])
def test_a_bright_corner_lights_that_corner(door, south_up) -> None:
    array, units = array_of(door.choice, square(door.model, door.model.window_px))
    flat = [dim for dim in array.dims if dim != "band"]
    low, high = (array.quantile(share, flat) for share in (0.25, 0.99))
    plain = (array * 0 + low).transpose(*array.dims).astype(np.float32)
    token = door.model.token_px
    bright = plain.copy()
    spot = {"y": slice(0, token), "x": slice(-token, None)}
    bright[spot] = (bright[spot] * 0 + high).transpose(*array.dims)
    if south_up:
        plain, bright = (one.isel(y=slice(None, None, -1)) for one in (plain, bright))
    change = np.linalg.norm(
        through_array(door, bright, units) - through_array(door, plain, units), axis=0
    )
    lit = np.unravel_index(change.argmax(), change.shape)
    assert lit == (0, change.shape[1] - 1), change.round(3)
