"""Galileo's branches: groups, months, hidden steps, holes, patches, keys, and the real scene."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from affine import Affine

from rs_embed import (
    ModelChoice,
    OutputSpec,
    PointBuffer,
    TemporalSpec,
    get_embedding,
    load_model,
    register_provider,
)
from rs_embed.core.errors import ModelError
from rs_embed.core.grid import Grid
from rs_embed.core.model import Model
from rs_embed.core.patch import Patch
from rs_embed.core.plan import place_windows
from rs_embed.core.prepare import Windows
from rs_embed.core.result import unwrap_or_raise
from rs_embed.core.token_grid import position_share
from rs_embed.core.tokens import Tokens
from rs_embed.embedders.catalog import find_model
from rs_embed.embedders.families import galileo
from rs_embed.embedders.runtime import LoadedModel, encode, prepare, unload_models
from rs_embed.parity import write_checkpoint
from rs_embed.pipeline import encode_inputs, tiled_input
from rs_embed.pipeline.assemble import assemble_embedding
from rs_embed.plugins.notices import RsEmbedWarning, forget
from rs_embed.providers.memory import MemoryProvider

SHARED = Path(__file__).resolve().parents[2] / "shared"
REAL = SHARED / "weights/galileo-nano/encoder.pt"
SCENE = SHARED / "imagery/spain_20190918_s2_l1c.tif"
ONE_MONTH = TemporalSpec.range("2022-06-01", "2022-07-01")
SIDES = (
    "ndvi", "location", "srtm", "dw", "dw_static", "wc", "wc_static", "era5", "tc", "viirs",
    "landscan",
)  # fmt: skip
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    """The nano variant's file as the authors lay it out, with recipe weights."""
    path = tmp_path_factory.mktemp("w") / "encoder.pt"
    return str(write_checkpoint((galileo.SPEC, "nano"), path))


@pytest.fixture(scope="module", autouse=True)
def _free():
    yield
    unload_models()


@pytest.fixture
def model(weights):
    """``model(modality=..., option=...)``: a Model with 16 px windows of 8 px patches."""

    def resolved(modality: str = "s2", **options) -> Model:
        full = {"window_px": 16, **options}
        return unwrap_or_raise(find_model(ModelChoice("galileo", None, modality, full, weights)))

    return resolved


def intervals(*months: str) -> tuple[tuple[str, str], ...]:
    return tuple((f"{month}-05", f"{month}-25") for month in months)


JUNE = intervals("2022-06")


def windows(of: Model, *, batch=1, dates=JUNE, steps=None, seed=0) -> Windows:
    """Plausible raw pixels; two windows of one batch differ, and so do their places."""
    rng = np.random.default_rng(seed)
    side, count = of.window_px, steps or max(1, len(dates))
    scale = [3000.0 if band.startswith("B") else 1.0 for band in of.bands]
    pixels = rng.uniform(0.1, 1, (batch, count, len(of.bands), side, side))
    lonlat = np.array([[121.5, 31.2], [-70.0, -45.0]])[:batch]
    values = (pixels * np.array(scale)[:, None, None]).astype(np.float32)
    return Windows(values, of.bands, (dates,) * batch, lonlat, 10.0)


def without(given: Windows, *where: object) -> Windows:
    """The same with NaN at an index of ``(B, T, C, H, W)``."""
    pixels = given.pixels.copy()
    pixels[where] = np.nan
    return replace(given, pixels=pixels)


def tokens(of: Model, given: Windows) -> Tokens:
    choice = ModelChoice("galileo", of.variant.name, of.modality, of.options, of.weights)
    ready: LoadedModel = load_model(choice, device="cpu")
    return encode(ready, prepare(of, given), of)


# -- groups ------------------------------------------------------------------------------------


def test_every_group_is_reached(model) -> None:
    of = model("s2s1", **dict.fromkeys(SIDES, True))
    given = windows(of, batch=2, dates=intervals("2022-06", "2022-07"))
    arrays = prepare(of, given)
    assert [group.name for group in galileo.groups(of)] == [g.name for g in galileo.GROUPS]
    assert arrays["visible"].shape == (2, 2, len(galileo.GROUPS))
    assert arrays["visible"].all()
    for group in galileo.GROUPS:
        steps = 2 if "time" in group.kind else 1
        side = 16 if "space" in group.kind else 1
        assert arrays[group.name].shape == (2, steps, group.channels, side, side)
        assert arrays[group.name].dtype == np.float32
    out = tokens(of, given)
    assert out.grid.shape == (2, 2, 2, 128)
    assert out.image.shape == (2, 128)
    assert np.isfinite(out.grid).all()


@pytest.mark.parametrize("option", SIDES)
def test_each_option_changes_the_numbers_and_nothing_else_is_needed(model, option) -> None:
    plain, with_it = model(), model(**{option: True})
    given = windows(with_it)
    assert given.bands[:10] == plain.bands
    bare = replace(given, pixels=given.pixels[:, :, :10], bands=plain.bands)
    assert np.abs(tokens(with_it, given).grid - tokens(plain, bare).grid).max() > 1e-3


def test_inputs_of_two_options_are_asked_for_once(model) -> None:
    both = model(dw=True, dw_static=True)
    assert [item.name for item in both.inputs] == ["s2", "dw"]
    assert len(set(both.bands)) == len(both.bands)


def test_static_layers_are_the_same_in_every_step(model) -> None:
    of = model(srtm=True, landscan=True)
    given = windows(of, dates=intervals("2022-06", "2022-07"))
    given.pixels[:, :, 10:] = given.pixels[:, :1, 10:]
    once = without(given, 0, 1, slice(10, None))
    for name in ("SRTM", "LS"):
        np.testing.assert_array_equal(prepare(of, given)[name], prepare(of, once)[name])


def test_location_is_the_windows_centre(model) -> None:
    of = model(location=True)
    vector = prepare(of, windows(of, batch=2))["location"][:, 0, :, 0, 0]
    lon, lat = np.radians([-70.0, -45.0])
    expected = [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)]
    np.testing.assert_allclose(vector[1], expected, atol=1e-7)
    np.testing.assert_allclose(np.linalg.norm(vector, axis=-1), 1, atol=1e-6)


def test_ndvi_is_of_the_raw_numbers(model) -> None:
    of = model(ndvi=True)
    given = windows(of)
    given.pixels[0, 0, :, 0, 0] = 0  # nothing to divide by
    near, red = (given.pixels[0, 0, of.bands.index(band)] for band in ("B8", "B4"))
    wanted = (near - red) / np.maximum(near + red, 1)
    np.testing.assert_allclose(prepare(of, given)["NDVI"][0, 0, 0], wanted, atol=1e-6)


def test_the_windows_own_values_are_normalised_by_the_published_statistics(model) -> None:
    of = model("s2s1")
    given = windows(of)
    got = prepare(of, given)
    b8 = (given.pixels[0, 0, 6] - (2410.3377187373408 - 2 * 1098.979177731649)) / (
        4 * 1098.979177731649
    )
    vh = (given.pixels[0, 0, 11] - (-18.85558188024017 - 2 * 5.730270320384293)) / (
        4 * 5.730270320384293
    )
    np.testing.assert_allclose(got["S2_NIR_10m"][0, 0, 0], b8, atol=1e-6)
    np.testing.assert_allclose(got["S1"][0, 0, 1], vh, atol=1e-6)


# -- time --------------------------------------------------------------------------------------


def test_months_are_those_of_the_midpoints_from_zero(model) -> None:
    of = model()
    dates = (
        ("2021-12-01", "2022-01-01"),
        ("2022-01-20", "2022-03-01"),
        ("2022-12-31", "2023-01-31"),
    )
    assert prepare(of, windows(of, dates=dates))["months"].tolist() == [[11, 1, 0]]


def test_another_month_is_another_embedding(model) -> None:
    of = model()
    june, july = (tokens(of, windows(of, dates=intervals(m))).grid for m in ("2022-06", "2022-07"))
    assert np.abs(june - july).max() > 1e-3
    again = tokens(of, windows(of, dates=intervals("2019-06"))).grid
    np.testing.assert_array_equal(june, again)


def test_undated_pixels_take_the_month_they_are_given(model) -> None:
    dated, undated = model(), model(month=6)
    wanted = tokens(dated, windows(dated)).grid
    np.testing.assert_array_equal(tokens(undated, windows(undated, dates=())).grid, wanted)


@pytest.mark.parametrize(
    ("option", "dates", "steps", "words"),
    [
        ({}, (), 1, "no date"),
        ({"month": 6}, (), 2, "2 steps"),
        ({"month": 6}, intervals("2022-06"), 1, "leave month out"),
        ({}, intervals(*(f"20{y}-{m:02d}" for y in (20, 21) for m in range(1, 13)), "2022-01"), 25,
         "at most 24"),
    ],
)  # fmt: skip
def test_time_that_cannot_be_told_is_an_error(model, option, dates, steps, words) -> None:
    of = model(**option)
    with pytest.raises(ModelError, match=words):
        prepare(of, windows(of, dates=dates, steps=steps))


def test_a_full_series_of_24_months_runs(model) -> None:
    of = model(window_px=8)
    dates = intervals(*(f"20{y}-{m:02d}" for y in (20, 21) for m in range(1, 13)))
    assert np.isfinite(tokens(of, windows(of, dates=dates)).grid).all()


# -- what is missing ---------------------------------------------------------------------------

MONTHS = intervals("2022-06", "2022-07", "2022-08")


def test_an_empty_step_is_hidden_not_filled(model) -> None:
    of = model()
    given = windows(of, dates=MONTHS)
    hidden = without(given, 0, 2)
    assert prepare(of, hidden)["visible"][0, :, 0].tolist() == [True, True, False]
    # The last step changes no other step's place, so the series without it is the same.
    shorter = replace(given, pixels=given.pixels[:, :2], intervals=(MONTHS[:2],))
    np.testing.assert_allclose(tokens(of, hidden).grid, tokens(of, shorter).grid, **CLOSE)
    np.testing.assert_allclose(tokens(of, hidden).image, tokens(of, shorter).image, **CLOSE)


class Cloudy(MemoryProvider):
    """The memory provider's world, without a Sentinel-2 pixel in July."""

    def fetch(self, plan):
        return super().fetch(plan).map(self._clouded)

    def _clouded(self, patch: Patch) -> Patch:
        gone = np.array([start.startswith("2022-07") for start, _ in patch.intervals], dtype=bool)
        data = np.where(gone[:, None, None, None], np.float32(np.nan), patch.data)
        return patch if "B2" not in patch.bands else replace(patch, data=data)


@pytest.mark.parametrize(("modality", "empty"), [("s2", 1), ("s2s1", 0)])
def test_empty_months_are_counted(weights, modality, empty) -> None:
    register_provider(f"cloudy_{modality}", Cloudy())
    emb = get_embedding(
        ModelChoice("galileo", None, modality, {"window_px": 16, "srtm": True}, weights),
        spatial=PointBuffer(121.5, 31.2, 80),
        temporal=TemporalSpec.range("2022-06-01", "2022-09-01"),
        backend=f"cloudy_{modality}", device="cpu",
    )  # fmt: skip
    assert emb.meta["empty_intervals"] == empty
    assert len(emb.meta["intervals"]) == 3
    assert np.isfinite(emb.data).all()


def test_an_empty_step_in_front_keeps_the_others_in_their_places(model) -> None:
    of = model()
    given = windows(of, dates=MONTHS)
    hidden = tokens(of, without(given, 0, 0))
    shorter = replace(given, pixels=given.pixels[:, 1:], intervals=(MONTHS[1:],))
    assert np.abs(hidden.grid - tokens(of, shorter).grid).max() > 1e-3


def test_a_ragged_batch_equals_one_by_one(model) -> None:
    of = model("s2s1", era5=True)
    given = without(without(windows(of, batch=2, dates=MONTHS), 1, 1), 0, 2, slice(10, 12))
    both = tokens(of, given)
    for i in range(2):
        alone = replace(
            given,
            pixels=given.pixels[i : i + 1],
            intervals=(MONTHS,),
            lonlat=given.lonlat[i : i + 1],
        )
        one = tokens(of, alone)
        np.testing.assert_allclose(both.grid[i], one.grid[0], **CLOSE)
        np.testing.assert_allclose(both.image[i], one.image[0], **CLOSE)


def test_a_sensor_missing_in_one_step_hides_its_own_tokens(model) -> None:
    of = model("s2s1")
    seen = prepare(of, without(windows(of, dates=MONTHS), 0, 1, slice(0, 10)))["visible"][0]
    shown = {g.name: seen[:, i].tolist() for i, g in enumerate(galileo.groups(of))}
    assert shown["S1"] == [True] * 3
    assert all(shown[name] == [True, False, True] for name in shown if name != "S1")


def test_a_band_missing_throughout_hides_its_group(model) -> None:
    of = model()
    red_edge = of.bands.index("B6")
    seen = prepare(of, without(windows(of, dates=MONTHS), 0, slice(None), red_edge))["visible"]
    names = [group.name for group in galileo.groups(of)]
    assert not seen[0, :, names.index("S2_Red_Edge")].any()
    assert seen[0].sum() == 3 * (len(names) - 1)


def test_missing_pixels_are_their_bands_mean_over_space_then_steps(model) -> None:
    of = model()
    given = without(windows(of, dates=MONTHS), 0, 0, slice(None), slice(0, 4), slice(0, 8))
    b8 = given.pixels[0, :, of.bands.index("B8")].astype(np.float64)
    fill = np.mean([np.nanmean(step) for step in b8])
    got = prepare(of, given)["S2_NIR_10m"][0, :, 0]
    wanted = (np.where(np.isfinite(b8), b8, fill) - 212.37936) / 4395.91671
    np.testing.assert_allclose(got, wanted, atol=1e-6)


def test_infinities_are_missing_too(model) -> None:
    of = model()
    given = without(windows(of), 0, 0, 3, 0, 0)
    endless = replace(given, pixels=np.where(np.isnan(given.pixels), np.inf, given.pixels))
    for name, array in prepare(of, given).items():
        np.testing.assert_array_equal(array, prepare(of, endless)[name])


def test_a_window_without_pixels_is_nan_and_disturbs_no_other(model) -> None:
    of = model()
    given = windows(of, batch=2)
    out = tokens(of, without(given, 1))
    assert np.isnan(out.grid[1]).all()
    assert np.isnan(out.image[1]).all()
    np.testing.assert_allclose(out.grid[0], tokens(of, given).grid[0], **CLOSE)
    assert np.isnan(tokens(of, without(given, slice(None))).grid).all()


# -- space -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("row", "col"), [(0, 0), (0, 3), (3, 0), (3, 3), (1, 2)])
def test_a_bright_cell_lights_its_own_place(model, row, col) -> None:
    of = model(patch_px=4)
    flat = windows(of)
    flat = replace(flat, pixels=np.full_like(flat.pixels, 800))
    bright = replace(flat, pixels=flat.pixels.copy())
    bright.pixels[..., 4 * row : 4 * row + 4, 4 * col : 4 * col + 4] = 6000
    change = np.linalg.norm(tokens(of, bright).grid[0] - tokens(of, flat).grid[0], axis=-1)
    assert np.unravel_index(change.argmax(), change.shape) == (row, col)


def test_bands_are_taken_by_name(model) -> None:
    of = model("s2s1")
    given = windows(of)
    grid = Grid("EPSG:32650", Affine(10, 0, 500_000, 0, -10, 4_000_000), (16, 16))
    planned = place_windows(of, grid, "native", 0, (0, 0, 0, 0))
    loaded = load_model(ModelChoice("galileo", None, "s2s1", of.options, of.weights), device="cpu")

    def through(order: list[int]) -> np.ndarray:
        bands, units = (tuple(named[i] for i in order) for named in (of.bands, of.units))
        patch = Patch(given.pixels[0][:, order], bands, units, grid, given.intervals[0])
        return encode_inputs(loaded, [unwrap_or_raise(tiled_input(planned, patch))])[0].cells

    straight = list(range(len(of.bands)))
    np.testing.assert_array_equal(through(straight[::-1]), through(straight))
    np.testing.assert_allclose(through(straight), tokens(of, given).grid[0], **CLOSE)


@pytest.mark.parametrize("patch", range(1, 9))
def test_every_patch_size_runs(model, patch) -> None:
    of = model(patch_px=patch, window_px=2 * patch)
    assert tokens(of, windows(of)).grid.shape == (1, 2, 2, 128)


def test_positions_follow_the_metres_of_a_pixel(model) -> None:
    of = model()
    near = windows(of)
    far = replace(near, scale_m=20.0)
    assert np.abs(tokens(of, far).grid - tokens(of, near).grid).max() > 1e-3
    # The first patch stands at zero, whatever the scale; with one patch nothing changes.
    one = model(window_px=8)
    near = windows(one)
    np.testing.assert_array_equal(
        tokens(one, replace(near, scale_m=20.0)).grid, tokens(one, near).grid
    )


def test_a_resampled_region_tells_its_true_metres(model, monkeypatch) -> None:
    of = model()
    told: list[float] = []
    own = galileo.prepare
    monkeypatch.setattr(
        galileo, "prepare", lambda given, m: told.append(given.scale_m) or own(given, m)
    )
    get_embedding(
        ModelChoice("galileo", options=of.options, weights=of.weights),
        spatial=PointBuffer(121.5, 31.2, 160), temporal=ONE_MONTH, output=OutputSpec.grid(),
        backend="memory", device="cpu", input_prep="resize",
    )  # fmt: skip
    assert told == [20.0]


# -- options and keys --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"patch_px": 9}, "patch_px must be 1..8"),
        ({"patch_px": 0}, "patch_px must be 1..8"),
        ({"patch_px": 3, "window_px": 64}, "63 would do"),
        ({"month": 13}, "month must be 1..12"),
        ({"month": 0}, "month must be 1..12"),
        ({"srtm": 1}, "srtm takes bool"),
        ({"dem": True}, "no option 'dem'"),
    ],
)
def test_options_that_cannot_be_name_what_can(options, words) -> None:
    with pytest.raises(ModelError, match=words):
        unwrap_or_raise(find_model(ModelChoice("galileo", options=options)))


def test_ndvi_needs_sentinel_2(model) -> None:
    of = model("s1", ndvi=True)
    with pytest.raises(ModelError, match="modality 's2' or 's2s1'"):
        prepare(of, windows(of))


def test_one_network_serves_every_patch_size(weights) -> None:
    networks = {
        id(load_model(ModelChoice("galileo", options=o, weights=weights), device="cpu").network)
        for o in ({}, {"patch_px": 4}, {"srtm": True})
    }
    assert len(networks) == 1


@pytest.mark.parametrize("key", ["blocks.2.attn.k.weight", "space_time_embed.S1.proj.bias"])
def test_a_missing_key_is_named(weights, tmp_path, key) -> None:
    state = torch.load(weights, weights_only=True)
    del state[key]
    torch.save(state, tmp_path / "encoder.pt")
    with pytest.raises(ModelError, match=f"1 missing from the file: {key}"):
        load_model(ModelChoice("galileo", weights=str(tmp_path / "encoder.pt")), device="cpu")


def test_an_added_key_is_named(weights, tmp_path) -> None:
    state = torch.load(weights, weights_only=True)
    torch.save({**state, "cls_token": torch.zeros(1)}, tmp_path / "encoder.pt")
    with pytest.raises(ModelError, match="1 in the file only: cls_token"):
        load_model(ModelChoice("galileo", weights=str(tmp_path / "encoder.pt")), device="cpu")


def test_a_stray_backbone_in_a_key_is_taken_out(weights, tmp_path, model) -> None:
    state = torch.load(weights, weights_only=True)
    stray = {key.replace(".", ".backbone.", 1): value for key, value in state.items()}
    torch.save(stray, tmp_path / "encoder.pt")
    of = model()
    given = windows(of)
    other = replace(of, weights=str(tmp_path / "encoder.pt"))
    np.testing.assert_array_equal(tokens(other, given).grid, tokens(of, given).grid)


def test_the_network_can_be_trained_on(model, weights) -> None:
    of = model("s2s1", era5=True, location=True)
    network = load_model(
        ModelChoice("galileo", None, "s2s1", of.options, weights), device="cpu"
    ).network
    arrays = prepare(of, without(windows(of, batch=2, dates=MONTHS), 1, 1))
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    network.requires_grad_(True)
    try:
        network(**tensors)["grid"].square().sum().backward()
        used = [network.pos_embed, network.s_t_channel_embed, network.month_embed.weight]
        used.append(network.space_time_embed["S2_RGB"]["proj"].weight)
        assert all(float(p.grad.abs().sum()) > 0 for p in used)
    finally:
        network.zero_grad(set_to_none=True)
        network.requires_grad_(False)
        unload_models()


# -- windows that show -------------------------------------------------------------------------


def grid_of_windows(weights: str, overlap: int = 0, **options):
    return get_embedding(
        ModelChoice("galileo", options={"window_px": 16, **options}, weights=weights),
        spatial=PointBuffer(121.5, 31.2, 160), temporal=ONE_MONTH,
        output=OutputSpec.grid(), backend="memory", device="cpu", overlap=overlap,
    )  # fmt: skip


def test_a_grid_that_shows_its_windows_says_so_once(weights) -> None:
    forget()
    with pytest.warns(RsEmbedWarning, match=r"4 windows .* overlap=4, or a window_px of 8"):
        emb = grid_of_windows(weights)
    assert emb.meta["position_share"] > 0.2
    grid_of_windows(weights)  # a second warning would be an error


def test_the_cures_are_not_warned_of(weights) -> None:
    forget()
    grid_of_windows(weights, overlap=2)
    grid_of_windows(weights, window_px=8)


# -- the real scene ----------------------------------------------------------------------------

real = pytest.mark.skipif(
    not (REAL.is_file() and SCENE.is_file()), reason="needs the shared weights and imagery"
)
SEPTEMBER = (("2019-09-01", "2019-10-01"),)


@pytest.fixture(scope="module")
def spain() -> Patch:
    """The scene's 384 x 384 pixels, taken as 10 m pixels; thirteen bands, named."""
    import rioxarray

    with rioxarray.open_rasterio(SCENE) as scene:
        names = tuple(scene.attrs["long_name"])
        pixels = scene.values.astype(np.float32)
    grid = Grid("EPSG:32630", Affine(10, 0, 694_000, 0, -10, 4_222_000), pixels.shape[1:])
    return Patch(pixels[None], names, ("reflectance_x10000",) * 13, grid, SEPTEMBER)


def on_spain(spain: Patch, overlap: int = 0, **options):
    choice = ModelChoice("galileo", options=options, weights=str(REAL))
    planned = place_windows(
        unwrap_or_raise(find_model(choice)), spain.grid, "native", overlap, (0, 0, 0, 0)
    )
    loaded = load_model(choice, device="cpu")
    return planned, encode_inputs(
        loaded, [unwrap_or_raise(tiled_input(planned, spain))], batch_size=48
    )[0]


@real
def test_real_pixels_take_the_official_path(spain) -> None:
    """Bands, order, normalisation, month and means written out again, on a window of the scene."""
    planned, field = on_spain(spain)
    order = ["B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12"]
    raw = spain.data[0, [spain.bands.index(b) for b in order], 64:128, 128:192].astype(np.float64)
    mean = np.array([1395.3408730676722, 1338.4026921784578, 1343.09883810357, 1543.8607982512297,
                     2186.2022069512263, 2525.0932853316694, 2410.3377187373408,
                     2750.2854646886753, 2234.911100061487, 1474.5311266077113])  # fmt: skip
    std = np.array([917.7041440370853, 913.2988423581528, 1092.678723527555, 1047.2206083460424,
                    1048.0101611156767, 1143.6903026819996, 1098.979177731649, 1204.472755085893,
                    1145.9774063078878, 980.2429840007796])[:, None, None]  # fmt: skip
    x = torch.from_numpy((raw - (mean[:, None, None] - 2 * std)) / (4 * std)).float()[None, None]
    parts = {"S2_RGB": (0, 3), "S2_Red_Edge": (3, 6), "S2_NIR_10m": (6, 7), "S2_NIR_20m": (7, 8),
             "S2_SWIR": (8, 10)}  # fmt: skip
    network = load_model(ModelChoice("galileo", weights=str(REAL)), device="cpu").network
    with torch.inference_mode():
        out = network(
            months=torch.tensor([[8]]), scale_m=torch.tensor(10.0), patch_px=torch.tensor(8),
            **{name: x[:, :, a:b] for name, (a, b) in parts.items()},
        )  # fmt: skip
    wanted = out["grid"][0].numpy()
    np.testing.assert_allclose(field.cells[8:16, 16:24], wanted, rtol=1e-4, atol=1e-4)
    emb = unwrap_or_raise(assemble_embedding(planned, field, OutputSpec.pooled(), {}))
    np.testing.assert_allclose(emb.data, field.cells.mean((0, 1)), rtol=1e-5, atol=1e-6)


@real
@pytest.mark.parametrize(
    ("overlap", "options", "share"),
    [
        (0, {}, 0.5999),
        (2, {}, 0.2867),
        pytest.param(4, {}, 0.0777, marks=pytest.mark.full),
        (0, {"window_px": 8}, 0.0),
    ],
)
def test_place_share_of_the_scene(spain, overlap, options, share) -> None:
    """How much of a grid is the place in the window; with windows of one token there is none."""
    planned, field = on_spain(spain, overlap, **options)
    assert position_share(field.cells, planned.tiling) == pytest.approx(share, abs=2e-3)
    if options:
        # Counted by the 8 x 8 places of a larger window, the share is near chance.
        eight = place_windows(
            unwrap_or_raise(find_model("galileo")), spain.grid, "native", 0, (0, 0, 0, 0)
        ).tiling
        assert position_share(field.cells, eight) == pytest.approx(0.0213, abs=2e-3)
