"""SatMAE, SatMAE++, Scale-MAE: what enters the network, where its cells lie, which files load."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import rioxarray  # noqa: F401  # registers .rio
import torch
import xarray as xr

from rs_embed import ModelChoice, OutputSpec, PointBuffer, TemporalSpec, get_embedding
from rs_embed.core.choice import resolve
from rs_embed.core.model import Model, ModelSpec
from rs_embed.core.prepare import Windows
from rs_embed.core.result import unwrap_or_raise
from rs_embed.embedders import catalog, runtime
from rs_embed.embedders.families import satmae, satmae_s2, scalemae
from rs_embed.parity import write_checkpoint

RGB, RGB_PP = satmae.SPECS
S2, S2_PP = satmae_s2.SPECS
WHERE = {"temporal": TemporalSpec.year(2022), "backend": "memory", "device": "cpu"}
PLACE = PointBuffer(-3.7, 40.4, 640)  # 128 x 128 pixels
SMALL = {"embed_dim": 64, "depth": 2, "num_heads": 4}
SIZES = {RGB: {"img_size": 64}, S2: {"img_size": 32, "channel_embed": 16}, scalemae.SPEC: {}}


def small(spec: ModelSpec) -> ModelSpec:
    """The family with narrow networks, under a name of its own."""
    variants = tuple(
        replace(v, dim=64, config={**v.config, **SMALL, **SIZES[spec]}) for v in spec.variants[:1]
    )
    return replace(spec, id=f"{spec.id}_small", aliases=(), variants=variants)


@pytest.fixture
def choose(monkeypatch, tmp_path):
    """``choose(spec, modality, **options)``: a small network with its weights in a file."""

    def choice(spec: ModelSpec, modality: str | None = None, **options) -> ModelChoice:
        tiny, side = small(spec), 32 if spec is S2 else 64
        monkeypatch.setitem(catalog._REGISTERED, tiny.id, tiny)
        path = tmp_path / f"{tiny.id}.pt"
        if not path.exists():
            write_checkpoint((tiny, None), path)
        return ModelChoice(
            tiny.id, None, modality, {"window_px": side} | options, weights=str(path)
        )

    yield choice
    runtime.unload_models()


def chosen(spec: ModelSpec, modality: str | None = None, **options) -> Model:
    return unwrap_or_raise(resolve(spec, ModelChoice(spec.id, None, modality, options)))


def prepared(model: Model, pixels: np.ndarray, scale_m: float = 10.0) -> dict[str, np.ndarray]:
    """What the network takes of ``(C, H, W)`` pixels."""
    data = np.asarray(pixels, dtype=np.float32)[None, None]
    windows = Windows(data, model.bands, ((),), np.zeros((1, 2)), scale_m)
    return runtime.prepare(model, windows)


# What enters the network


@pytest.mark.parametrize("spec", [RGB, RGB_PP, scalemae.SPEC], ids=lambda spec: spec.id)
def test_reflectance_is_shown_as_a_photograph(spec):
    shown = prepared(chosen(spec), np.array([0.0, 0.15, 0.9]).reshape(3, 1, 1))["image"]
    taken = prepared(chosen(spec, "rgb"), np.array([0.0, 127.0, 255.0]).reshape(3, 1, 1))["image"]
    np.testing.assert_array_equal(shown, taken)
    config = spec.variants[0].config
    wanted = (np.array([0, 127, 255]) / 255 - config["mean"]) / config["std"]
    np.testing.assert_allclose(shown.ravel(), wanted, rtol=1e-6)


@pytest.mark.parametrize("spec", [RGB, scalemae.SPEC], ids=lambda spec: spec.id)
def test_a_missing_pixel_is_next_to_the_mean(spec):
    pixels = np.full((3, 2, 2), 200.0)
    pixels[:, 0, 0] = np.nan
    image = prepared(chosen(spec, "rgb"), pixels)["image"][0]
    assert np.abs(image[:, 0, 0]).max() < 0.5 / 255 / min(spec.variants[0].config["std"])
    assert image[:, 1, 1].min() > 1


def test_bands_become_levels_two_deviations_about_their_mean():
    mean, std = np.array(satmae_s2.MEAN), np.array(satmae_s2.STD)
    for deviations, level in ((-2.5, 0), (-2, 0), (0, 127), (1, 191), (1.999, 254), (3, 255)):
        pixels = (mean + deviations * std + 0.01).reshape(-1, 1, 1)
        image = prepared(chosen(S2), pixels)["image"]
        np.testing.assert_array_equal(image.ravel(), np.float32(level / 255))
    gone = prepared(chosen(S2), np.full((10, 1, 1), np.nan))["image"]
    np.testing.assert_array_equal(gone.ravel(), np.float32(127 / 255))


def test_the_authors_resize_keeps_the_middle():
    pixels = np.zeros((3, 448, 448))
    pixels[:, 28:-28, 28:-28] = 255  # what the crop of 224 from 256 shows
    plain, smooth = (
        prepared(chosen(RGB, "rgb", prepare="official", antialias=choice), pixels)["image"][0]
        for choice in (False, True)
    )
    assert plain.shape == (3, 224, 224)
    white = (1 - np.array(satmae.MEAN)) / satmae.STD
    np.testing.assert_allclose(plain[:, 4:-4, 4:-4].mean((1, 2)), white, rtol=1e-5)
    assert np.abs(plain[0, 0] - white[0]).min() > 0.1  # the kernel reaches what lies beyond
    assert np.abs(plain - smooth).max() > 0.01


# The size of a pixel


def test_the_network_is_told_the_pixels_that_it_sees():
    pixels = np.zeros((3, 64, 64))
    sees = {
        10.0: prepared(chosen(scalemae.SPEC), pixels),
        0.5: prepared(chosen(scalemae.SPEC, scale_m=0.5), pixels, 0.5),
        1.0: prepared(chosen(scalemae.SPEC, input_res=1.0), pixels),
        2.5: prepared(chosen(scalemae.SPEC, prepare="official", window_px=256), pixels),
    }
    for metres, arrays in sees.items():
        assert arrays["res"].dtype == np.float32
        np.testing.assert_array_equal(arrays["res"], [metres])


def test_a_resized_region_has_pixels_of_its_own_size(choose, monkeypatch):
    told = []
    forward = scalemae.forward

    def listening(network, image, res):
        told.extend(res.tolist())
        return forward(network, image, res)

    monkeypatch.setattr(scalemae, "forward", listening)
    for options, input_prep in (
        ({}, "native"),
        ({}, "resize"),
        ({"prepare": "official"}, "native"),
    ):
        choice = choose(scalemae.SPEC, **options)
        get_embedding(choice, spatial=PLACE, input_prep=input_prep, **WHERE)
    assert told == [10.0] * 4 + [20.0] * 2  # four windows of 64; 128 pixels in one of 64, twice


def test_another_size_of_pixel_is_another_embedding(choose):
    near, far = (
        get_embedding(choose(scalemae.SPEC, input_res=res), spatial=PLACE, **WHERE).data
        for res in (1.0, 10.0)
    )
    assert np.abs(near - far).max() > 0.01


@pytest.mark.parametrize("spec", [RGB, scalemae.SPEC], ids=lambda spec: spec.id)
def test_a_photograph_keeps_its_own_pixels(spec, choose):
    values = np.random.default_rng(0).integers(0, 256, (3, 64, 64)).astype("uint8")
    coords = {
        "band": ["red", "green", "blue"],
        "y": 4_480_000 - 0.5 * np.arange(64) - 0.25,
        "x": 440_000 + 0.5 * np.arange(64) + 0.25,
    }
    picture = xr.DataArray(values, coords, ("band", "y", "x"), attrs={"units": "uint8"})
    picture = picture.rio.write_crs("EPSG:32630")
    made = picture.rsembed.embed(choose(spec, "rgb", scale_m=0.5), device="cpu")
    assert made.shape == (64, 4, 4)
    assert made.rio.resolution() == (8.0, -8.0)
    assert json.loads(made.attrs["rs_embed_meta"])["scale_m"] == 0.5


# Where the cells lie


@pytest.mark.parametrize(("spec", "kept"), [(RGB, 64 / 73), (S2, 32 / 36)], ids=["rgb", "s2"])
def test_a_cropped_image_has_cells_in_its_middle(spec, kept, choose):
    whole = get_embedding(choose(spec), spatial=PLACE, output=OutputSpec.grid(), **WHERE).data
    middle = get_embedding(
        choose(spec, prepare="official"), spatial=PLACE, output=OutputSpec.grid(), **WHERE
    ).data
    assert middle.shape == (64, 4, 4)
    (left, bottom, right, top), inner = whole.rio.bounds(), middle.rio.bounds()
    assert inner[2] - inner[0] == pytest.approx((right - left) * kept)
    assert inner[3] - inner[1] == pytest.approx((top - bottom) * kept)
    centre = [(inner[0] + inner[2] - left - right) / 2, (inner[1] + inner[3] - bottom - top) / 2]
    assert np.abs(centre).max() <= 1280 / 73 / 2  # half a pixel of the resized image


def test_missing_margins_of_a_cropped_image_leave_its_cells_whole(choose):
    """Validity is that of the ground under the cells, not of what the crop leaves out."""
    values = np.full((3, 128, 128), 0.1, dtype="float32")
    values[:, :8], values[:, -8:] = np.nan, np.nan
    array = xr.DataArray(
        values,
        {
            "band": ["B4", "B3", "B2"],
            "y": 5e6 - 10.0 * np.arange(128),
            "x": 5e5 + 10.0 * np.arange(128),
        },
        ("band", "y", "x"),
        attrs={"units": "reflectance"},
    ).rio.write_crs("EPSG:32630")
    made = array.rsembed.embed(choose(RGB, prepare="official"), device="cpu")
    assert np.isfinite(made).all()


def test_a_cell_is_the_mean_of_its_groups_or_all_of_them(choose):
    grids = [
        get_embedding(choose(S2, groups=cell), spatial=PLACE, output=OutputSpec.grid(), **WHERE)
        for cell in ("mean", "separate")
    ]
    mean, separate = (one.data.values for one in grids)
    assert (grids[1].meta["dim"], separate.shape[0]) == (192, 192)
    np.testing.assert_allclose(separate.reshape(3, *mean.shape).mean(0), mean, atol=1e-6)
    assert np.abs(separate[:64] - separate[64:128]).max() > 0.1


# Networks and files


@pytest.mark.parametrize("spec", [RGB, S2, scalemae.SPEC], ids=lambda spec: spec.id)
def test_other_windows_share_one_network(spec, choose):
    sides = (32, 64, 96)
    choices = [choose(spec, window_px=side) for side in sides]
    models = [unwrap_or_raise(catalog.find_model(choice)) for choice in choices]
    loaded = [unwrap_or_raise(runtime.load(model, "cpu")) for model in models]
    assert len({id(one.network) for one in loaded}) == 1
    for side, one in zip(sides, loaded, strict=True):
        cells = side // one.model.token_px
        pixels = np.full((len(one.model.bands), side, side), 0.1)
        grid = one.encode(prepared(one.model, pixels)).grid
        assert grid.shape == (1, cells, cells, 64)


def test_stored_positions_are_used_as_loaded(choose):
    choice = choose(RGB)
    loaded = unwrap_or_raise(runtime.load(unwrap_or_raise(catalog.find_model(choice)), "cpu"))
    image = torch.zeros(1, 3, 64, 64)
    before = loaded.network(image)["grid"]
    with torch.no_grad():
        loaded.network.pos_embed[:, 0, 0] += 1  # the class token's row counts too
    assert (loaded.network(image)["grid"] - before).abs().max() > 1e-4


@pytest.mark.parametrize("spec", [RGB, S2, scalemae.SPEC], ids=lambda spec: spec.id)
@pytest.mark.parametrize("prefix", ["", "model."])
def test_mirrors_of_plain_tensors_load(spec, prefix, choose, tmp_path):
    choice = choose(spec)
    state = torch.load(choice.weights, weights_only=False)["model"]
    path = tmp_path / "mirror.pt"
    torch.save({f"{prefix}{key}": value for key, value in state.items()}, path)
    there = get_embedding(replace(choice, weights=str(path)), spatial=PLACE, **WHERE).data
    np.testing.assert_array_equal(there, get_embedding(choice, spatial=PLACE, **WHERE).data)


def test_weights_are_pinned_as_far_as_anyone_states():
    records = {f"{s.id}:{v.name}": v.weights for s in (RGB, RGB_PP, S2, S2_PP, scalemae.SPEC)
               for v in s.variants}  # fmt: skip
    assert {name for name, record in records.items() if record.sha256 is None} == {
        "satmae_rgb:large", "satmae_s2_10b:base",
    }  # fmt: skip
    assert {name for name, record in records.items() if record.md5} == {
        "satmae_s2_10b:large", "satmae_s2_10b:base",
    }  # fmt: skip
    assert records["satmae_rgb:large"].revision
    assert {name for name, record in records.items() if record.restricted} == {
        "satmae_rgb:large", "scalemae_rgb:large",
    }  # fmt: skip
