"""RemoteCLIP: its inputs, its two kinds of network, its files, its ways of preparing."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from returns.result import Failure

import rs_embed
from rs_embed import BBox, ModelChoice, ModelError, OutputSpec, PointBuffer, SpecError, TemporalSpec
from rs_embed.core.choice import resolve
from rs_embed.core.model import Model, Variant
from rs_embed.core.photographs import display_levels
from rs_embed.core.plan import place_windows
from rs_embed.core.prepare import Windows
from rs_embed.core.result import unwrap_or_raise
from rs_embed.embedders import catalog
from rs_embed.embedders import runtime as run
from rs_embed.embedders.families import remoteclip
from rs_embed.embedders.weights import build_on_meta, read_state
from rs_embed.parity import read_case, write_checkpoint
from rs_embed.parity.checkpoint import published_entries
from rs_embed.parity.rows import rows_of
from rs_embed.parity.runner import model_of

DATA = Path(__file__).parent / "parity" / "data"
SHARED = {"norm_eps": 1e-5, "mean": remoteclip.MEAN, "std": remoteclip.STD}
VIT = {
    "embed_dim": 32, "width": 64, "layers": 2, "heads": 2, "patch_size": 16, "image_size": 64,
    **SHARED,
}  # fmt: skip
RESNET = {
    "embed_dim": 32,
    "width": 16,
    "layers": (1, 1, 1, 1),
    "image_size": 64,
    "heads": 16,
    **SHARED,
}
TINY = replace(
    remoteclip.SPEC,
    id="remoteclip_tiny",
    aliases=(),
    variants=(Variant("vit", 64, VIT, token_px=16), Variant("resnet", 512, RESNET)),
    default_variant="vit",
)
WHERE = {"temporal": TemporalSpec.year(2022), "backend": "memory"}
PLACE = PointBuffer(-3.7, 40.4, 320)  # 64 x 64 pixels


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """``tiny(variant, **options)``: a ModelChoice of a small network with its weights in a file."""
    monkeypatch.setitem(catalog._REGISTERED, TINY.id, TINY)

    def choice(variant: str = "vit", modality: str | None = None, **options) -> ModelChoice:
        path = tmp_path / f"{variant}.pt"
        if not path.exists():
            write_checkpoint((TINY, variant), path)
        return ModelChoice(
            TINY.id, variant, modality, {"window_px": 64} | options, weights=str(path)
        )

    yield choice
    run.unload_models()


def small(variant: str = "vit", modality: str | None = None, **options) -> Model:
    choice = ModelChoice(TINY.id, variant, modality, {"window_px": 64} | options)
    return unwrap_or_raise(resolve(TINY, choice))


def as_windows(pixels: np.ndarray) -> Windows:
    """``(B, 3, H, W)`` as windows of one date."""
    lonlat = np.zeros((len(pixels), 2))
    data = np.asarray(pixels, dtype=np.float32)[:, None]
    return Windows(data, ("B4", "B3", "B2"), ((),) * len(pixels), lonlat, 10.0)


def flat(value: float, size: int = 64) -> np.ndarray:
    return np.full((1, 3, size, size), value, dtype=np.float32)


# What it is


@pytest.mark.parametrize("name", ["remoteclip", "remoteclip_s2rgb", " RemoteCLIP "])
def test_is_found_by_id_and_alias(name):
    assert unwrap_or_raise(catalog.find_model(name)).variant.name == "vit_b_32"


@pytest.mark.parametrize("variant", remoteclip.SPEC.variants, ids=lambda v: v.name)
def test_weights_are_pinned_and_their_licence_is_told(variant):
    record = variant.weights
    assert record.pinned
    assert record.restricted
    assert len(record.revision) == 40
    assert len(record.sha256) == 64
    assert record.size > 400_000_000


@pytest.mark.parametrize(
    ("variant", "options", "official"),
    [
        ("vit_b_32", {}, "vit_base_patch32_clip_224"),
        ("vit_b_32", {"activation": "quickgelu"}, "vit_base_patch32_clip_quickgelu_224"),
        ("vit_l_14", {}, "vit_large_patch14_clip_224"),
        ("rn50", {}, "resnet50_clip"),
    ],
)
def test_a_variant_is_the_network_that_timm_has(variant, options, official):
    import timm
    import torch

    choice = ModelChoice("remoteclip", variant, options=options)
    model = unwrap_or_raise(catalog.find_model(choice))
    ours = build_on_meta(lambda: remoteclip.build(model))
    with torch.device("meta"):
        theirs = timm.create_model(official, num_classes=model.variant.config["embed_dim"])
    shapes = [{k: v.shape for k, v in net.state_dict().items()} for net in (ours, theirs)]
    shapes[1].pop("head.bias", None)  # the published projection is a plain matrix
    assert shapes[0] == shapes[1]
    assert [type(m) for m in ours.modules()] == [type(m) for m in theirs.modules()]
    if variant == "rn50":
        assert ours.head.num_heads == theirs.head.num_heads == 32
    assert sum(p.numel() for p in ours.parameters()) / 1e6 == pytest.approx(
        model.variant.params_m, abs=0.1
    )


def test_looking_it_up_loads_no_torch():
    code = (
        "import sys; from rs_embed.embedders.catalog import find_model; find_model('remoteclip'); "
        "sys.exit(bool({'torch', 'timm', 'PIL'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Its files


@pytest.mark.parametrize("name", ["tiny", "tiny-quickgelu", "tiny-rn50", "vit-b-32-320"])
def test_the_published_keys_are_those_of_the_official_implementation(name):
    case = read_case(DATA / f"remoteclip_s2rgb-{name}.json")
    model = model_of(case, remoteclip.SPEC, rows_of(case.model_id, DATA))
    ours = {key: shape for key, shape, _ in published_entries(model)}
    official = {key: tuple(shape) for key, shape, _ in case.data["weights"]}
    read = {key: shape for key, shape in ours.items() if not run.keys(model).ignores(key)}
    assert read == official


def altered(path: Path, change) -> Path:
    """A copy of a checkpoint whose state dict ``change`` has edited."""
    import torch

    state = change(unwrap_or_raise(read_state(path)))
    out = path.with_name("altered.pt")
    torch.save({key: tensor.clone() for key, tensor in state.items()}, out)
    return out


def without(key):
    return lambda state: {k: v for k, v in state.items() if k != key}


def with_extra(key):
    return lambda state: {**state, key: next(iter(state.values()))}


@pytest.mark.parametrize("variant", ["vit", "resnet"])
def test_mirrors_and_bare_image_towers_load_as_the_authors_file_does(tiny, variant):
    choice = tiny(variant)
    path = Path(choice.weights)
    expected = rs_embed.get_embedding(choice, spatial=PLACE, **WHERE).data
    mirror = altered(path, lambda state: {f"model.{k}": v for k, v in state.items()})
    tower = altered(path, lambda s: {k: v for k, v in s.items() if k.startswith("visual.")})
    for file in (mirror, tower):
        again = rs_embed.get_embedding(replace(choice, weights=str(file)), spatial=PLACE, **WHERE)
        np.testing.assert_array_equal(again.data, expected)


@pytest.mark.parametrize(
    ("variant", "change", "named"),
    [
        ("vit", without("visual.ln_post.weight"), "1 missing from the file: visual.ln_post.weight"),
        ("vit", without("visual.proj"), "missing from the file: visual.proj"),
        (
            "vit",
            without("visual.transformer.resblocks.1.attn.in_proj_bias"),
            "missing from the file: visual.transformer.resblocks.1.attn.in_proj_bias",
        ),
        ("vit", with_extra("visual.ln_extra.weight"), "1 in the file only: visual.ln_extra.weight"),
        ("vit", with_extra("decoder.weight"), "1 in the file only: decoder.weight"),
        ("vit", with_extra("logit_bias"), "1 in the file only: logit_bias"),
        (
            "resnet",
            without("visual.layer4.0.bn3.running_var"),
            "missing from the file: visual.layer4.0.bn3.running_var",
        ),
        ("resnet", with_extra("visual.layer1.1.conv1.weight"), "visual.layer1.1.conv1.weight"),
        ("resnet", without("visual.attnpool.c_proj.bias"), "visual.attnpool.c_proj.bias"),
    ],
)
def test_a_key_missing_or_added_is_named_as_published(tiny, variant, change, named):
    choice = tiny(variant)
    broken = replace(choice, weights=str(altered(Path(choice.weights), change)))
    with pytest.raises(ModelError, match="do not fit") as error:
        rs_embed.get_embedding(broken, spatial=PLACE, **WHERE)
    assert named in str(error.value)


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("visual.conv1.weight", (64, 3, 8, 8)),
        ("visual.positional_embedding", (50, 64)),
        ("visual.ln_pre.weight", (48,)),
    ],
)
def test_a_tensor_of_another_shape_is_refused_and_never_resampled(tiny, key, shape):
    import torch

    choice = tiny()
    broken = altered(Path(choice.weights), lambda state: {**state, key: torch.zeros(shape)})
    with pytest.raises(ModelError) as error:
        rs_embed.get_embedding(replace(choice, weights=str(broken)), spatial=PLACE, **WHERE)
    assert str(shape).strip("(") in str(error.value)


def test_weights_of_another_variant_are_refused(tiny):
    with pytest.raises(ModelError, match="missing from the file"):
        rs_embed.get_embedding(
            replace(tiny("vit"), weights=tiny("resnet").weights), spatial=PLACE, **WHERE
        )


# From pixels to the network's input


def levels(values, **options) -> list[int]:
    pixels = np.zeros((1, 3, 1, len(values)), dtype=np.float32) + np.float32(values)
    modality = options.pop("modality", None)
    model = small(modality=modality, **options)
    return display_levels(pixels, model, remoteclip.MEAN)[0, 0, 0].tolist()


def test_reflectance_is_stretched_to_display_values_and_cut_off():
    assert levels([-0.1, 0, 0.1, 0.15, 0.2999, 0.3, 0.31, 5]) == [0, 0, 85, 127, 254, 255, 255, 255]
    assert levels([0.1, 0.15, 0.3, 1, 1.2], reflectance_max=1.0) == [25, 38, 76, 255, 255]


def test_whole_numbers_survive_their_way_through_float32():
    numbers = np.arange(0, 3001, 200)  # reflectance x 10000 that is a whole display value
    assert levels(numbers.astype(np.float32) / np.float32(10000)) == (numbers * 17 // 200).tolist()


def test_display_values_go_in_as_they_are():
    assert levels([0, 1, 127.9, 255], modality="rgb") == [0, 1, 127, 255]
    assert levels([300, -3], modality="rgb") == [255, 0]
    every = np.arange(256)
    assert levels(every, modality="rgb") == every.tolist()


def test_normalisation_is_that_of_open_clip():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 64, 64))
    got = remoteclip.prepare(as_windows(pixels), small(modality="rgb"))["image"]
    mean, std = (np.array(v)[:, None, None] for v in (remoteclip.MEAN, remoteclip.STD))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, (pixels / 255 - mean) / std, atol=1e-6)


@pytest.mark.parametrize("how", ["native", "official"])
@pytest.mark.parametrize("modality", ["s2_rgb", "rgb"])
def test_missing_pixels_become_the_mean(how, modality):
    model = small(modality=modality, prepare=how)
    got = remoteclip.prepare(as_windows(flat(np.nan)), model)["image"]
    assert np.abs(got).max() < 0.5 / 255 / min(remoteclip.STD) + 1e-6


def test_the_project_rules_stand_in_meta(tiny):
    meta = rs_embed.get_embedding(tiny(), spatial=PLACE, **WHERE).meta
    assert any("reflectance_max" in rule for rule in meta["assumptions"])
    assert meta["options"]["reflectance_max"] == 0.3


# What comes out


@pytest.mark.parametrize(("variant", "dim", "cell"), [("vit", 64, 160), ("resnet", 512, 320)])
def test_shapes_of_every_output(tiny, variant, dim, cell):
    def embedded(output):
        return rs_embed.get_embedding(tiny(variant), spatial=PLACE, output=output, **WHERE)

    grid = embedded(OutputSpec.grid())
    side = 640 // cell
    assert grid.data.shape == (dim, side, side)
    assert grid.meta["cell_m"] == cell
    mean, top = embedded(OutputSpec.pooled()).data, embedded(OutputSpec.pooled("max")).data
    np.testing.assert_allclose(mean, grid.data.values.mean(axis=(1, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(top, grid.data.values.max(axis=(1, 2)))
    projected = embedded(OutputSpec.pooled("model")).data
    assert projected.shape == (32,)
    assert abs(float(np.linalg.norm(projected)) - 1) > 1e-2  # not L2-normalised


def encoded(choice: ModelChoice, pixels: np.ndarray):
    model = unwrap_or_raise(catalog.find_model(choice))
    loaded = unwrap_or_raise(run.load(model, "cpu"))
    return run.encode(loaded, run.prepare(model, as_windows(pixels)), model)


@pytest.mark.parametrize("variant", ["vit", "resnet"])
@pytest.mark.parametrize("corner", [(0, 0), (0, -1), (-1, 0), (-1, -1)])
def test_a_bright_corner_lights_that_corner_of_the_grid(tiny, variant, corner):
    choice = tiny(variant, window_px=256)
    plain, bright = flat(0.05, 256), flat(0.05, 256)
    rows, cols = (slice(None, 32) if end == 0 else slice(-32, None) for end in corner)
    bright[..., rows, cols] = 0.3
    change = np.abs(encoded(choice, bright).grid - encoded(choice, plain).grid)[0].mean(axis=-1)
    half = change.shape[0] // 2
    row, col = np.unravel_index(change.argmax(), change.shape)
    assert (row < half, col < half) == (corner[0] == 0, corner[1] == 0)


def test_the_order_of_bands_matters(tiny):
    pixels = np.random.default_rng(1).uniform(0, 0.3, (1, 3, 64, 64))
    one, other = encoded(tiny(), pixels), encoded(tiny(), pixels[:, ::-1])
    assert np.abs(one.grid - other.grid).max() > 0.1


def test_quickgelu_is_another_network(tiny):
    pixels = np.random.default_rng(2).uniform(0, 0.3, (1, 3, 64, 64))
    exact, quick = tiny(), tiny(activation="quickgelu")
    difference = np.abs(encoded(exact, pixels).grid - encoded(quick, pixels).grid).max()
    assert 1e-3 < difference < 0.5


def test_other_window_sizes_share_one_network(tiny):
    sizes = [64, 96, 128]
    models = [unwrap_or_raise(catalog.find_model(tiny(window_px=size))) for size in sizes]
    networks = {id(unwrap_or_raise(run.load(model, "cpu")).network) for model in models}
    assert len(networks) == 1
    pixels = np.random.default_rng(3).uniform(0, 0.3, (1, 3, 128, 128))
    assert encoded(tiny(window_px=128), pixels).grid.shape == (1, 8, 8, 64)
    assert encoded(tiny("resnet", window_px=128), pixels).grid.shape == (1, 4, 4, 512)


def test_a_window_of_broken_tokens_is_refused():
    model = catalog.find_model(ModelChoice("remoteclip", options={"window_px": 300}))
    assert isinstance(model, Failure)
    assert "288" in str(model.failure())


def test_one_window_at_a_time_or_all_at_once(tiny):
    spot = PointBuffer(-3.7, 40.4, 800)
    grids = [
        rs_embed.get_embedding(
            tiny(), spatial=spot, output=OutputSpec.grid(), batch_size=size, **WHERE
        ).data.values
        for size in (1, 9)
    ]
    np.testing.assert_allclose(grids[0], grids[1], rtol=1e-5, atol=1e-5)


# The authors' own resize


def test_official_takes_the_whole_squared_region_as_one_window(tiny):
    wide = BBox(-3.70, 40.40, -3.68, 40.41)
    official = rs_embed.get_embedding(
        tiny(prepare="official"), spatial=wide, output=OutputSpec.grid(), **WHERE
    )
    native = rs_embed.get_embedding(tiny(), spatial=wide, output=OutputSpec.grid(), **WHERE)
    assert official.meta["windows"] == 1
    assert official.meta["input_prep"] == "resize"
    assert native.meta["windows"] > 1
    assert official.data.shape == (64, 4, 4)
    height, width = official.meta["roi_px"]
    assert height == width == max(native.meta["roi_px"])
    assert official.meta["cell_m"] == pytest.approx(width * 10 / 4)


def test_official_is_pillow_on_the_raw_pixels(tiny):
    from PIL import Image

    raw = np.random.default_rng(4).uniform(0, 0.4, (1, 3, 150, 150)).astype(np.float32)
    model = small(prepare="official")
    shown = display_levels(raw, model, remoteclip.MEAN)[0].transpose(1, 2, 0).astype(np.uint8)
    image = np.asarray(Image.fromarray(shown).resize((64, 64), Image.Resampling.BICUBIC))
    mean, std = np.array(remoteclip.MEAN), np.array(remoteclip.STD)
    expected = ((image / 255 - mean) / std).transpose(2, 0, 1)
    got = remoteclip.prepare(as_windows(raw), model)["image"][0]
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_official_differs_from_the_resize_of_every_model(tiny):
    spot = PointBuffer(-3.7, 40.4, 800)
    official = rs_embed.get_embedding(tiny(prepare="official"), spatial=spot, **WHERE)
    plain = rs_embed.get_embedding(tiny(), spatial=spot, input_prep="resize", **WHERE)
    assert official.meta["windows"] == plain.meta["windows"] == 1
    assert np.abs(official.data - plain.data).max() > 1e-3


def test_official_with_several_regions_of_several_sizes(tiny):
    spots = [PointBuffer(-3.7, 40.4, metres) for metres in (400, 800, 400, 320)]
    choice = tiny(prepare="official")
    together = rs_embed.get_embeddings_batch(choice, spatials=spots, **WHERE)
    for spot, one in zip(spots, together, strict=True):
        alone = rs_embed.get_embedding(choice, spatial=spot, **WHERE)
        np.testing.assert_allclose(one.data, alone.data, rtol=1e-5, atol=1e-5)


def test_official_refuses_overlap(tiny):
    with pytest.raises(SpecError, match="prepare='official'"):
        rs_embed.get_embedding(tiny(prepare="official"), spatial=PLACE, overlap=2, **WHERE)


def test_official_without_pillow_says_what_to_install(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ModelError, match=r"needs pillow: pip install .*pillow"):
        rs_embed.get_embedding(tiny(prepare="official"), spatial=PLACE, **WHERE)


def test_official_pads_a_region_that_ends():
    model = small(prepare="official")
    roi = unwrap_or_raise(rs_embed_grid())
    plan = place_windows(model, roi, "native", 0, (0.0, 0.0, 0.0, 0.0))
    assert plan.input_prep == "resize"
    assert plan.fetch_window[2:] == roi.shape


def rs_embed_grid():
    from rs_embed.core.grid import roi_grid

    return roi_grid(BBox(-3.70, 40.40, -3.68, 40.41), 10.0)


# Arrays


def array(values: np.ndarray, bands: list[str], units: str):
    """``(C, H, W)`` values on a grid of 10 m."""
    import rioxarray  # noqa: F401  # registers .rio
    import xarray as xr

    _, height, width = values.shape
    coords = {
        "band": bands,
        "y": 4_480_000 - 10 * np.arange(height) - 5.0,
        "x": 440_000 + 10 * np.arange(width) + 5.0,
    }
    made = xr.DataArray(values, coords, ("band", "y", "x"), attrs={"units": units})
    return made.rio.write_crs("EPSG:32630")


def test_bands_are_found_by_name_in_any_order(tiny):
    values = np.random.default_rng(5).uniform(0, 0.4, (4, 96, 64)).astype("float32")
    plain = array(values, ["B2", "B3", "B4", "B8"], "reflectance")
    expected = plain.rsembed.embed(tiny())
    assert expected.shape == (64, 6, 4)
    turned = plain.isel(band=[3, 1, 2, 0])
    named = array(values[::-1], ["nir", "red", "green", "blue"], "reflectance")
    for other in (turned, named):
        np.testing.assert_array_equal(other.rsembed.embed(tiny()), expected)


def test_a_picture_of_display_values_has_its_own_modality(tiny):
    values = np.random.default_rng(6).integers(0, 256, (3, 64, 64)).astype("uint8")
    picture = array(values, ["red", "green", "blue"], "uint8")
    reflectance = array(
        values / np.float32(255) * np.float32(0.3), ["B4", "B3", "B2"], "reflectance"
    )
    np.testing.assert_array_equal(
        picture.rsembed.embed(tiny(modality="rgb")), reflectance.rsembed.embed(tiny())
    )
    with pytest.raises(SpecError, match="modality='rgb'"):
        picture.rsembed.embed(tiny())
    with pytest.raises(SpecError, match="modality='s2_rgb'"):
        reflectance.rsembed.embed(tiny(modality="rgb"))


def test_official_on_an_array_pads_what_is_not_square(tiny):
    values = np.random.default_rng(7).uniform(0, 0.4, (3, 96, 64)).astype("float32")
    made = array(values, ["B4", "B3", "B2"], "reflectance").rsembed.embed(tiny(prepare="official"))
    assert made.shape == (64, 4, 4)
    meta = json.loads(made.attrs["rs_embed_meta"])
    assert meta["windows"] == 1
    assert meta["padded_fraction"] == pytest.approx(1 / 3)
