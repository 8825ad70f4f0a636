"""DOFA: any bands with their wavelengths, the scale of training, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import rioxarray  # noqa: F401  # registers .rio
import xarray as xr

from rs_embed import ModelChoice, ModelError, OutputSpec, PointBuffer, TemporalSpec, get_embedding
from rs_embed.core.bands import common_name
from rs_embed.core.choice import resolve
from rs_embed.core.model import Model
from rs_embed.core.prepare import Windows
from rs_embed.core.result import unwrap_or_raise
from rs_embed.embedders import catalog, runtime
from rs_embed.embedders.families.dofa import SPEC
from rs_embed.embedders.families.dofa_sensors import levels_of, statistics_of, wavelengths_of
from rs_embed.parity import write_checkpoint
from tests.parity.raw_cases import RAW

S2_MEAN, S2_STD = statistics_of("s2", wavelengths_of("s2", {}))


def chosen(modality: str | None = None, **options) -> Model:
    return unwrap_or_raise(resolve(SPEC, ModelChoice(SPEC.id, None, modality, options)))


def prepared(model: Model, value: float) -> dict[str, np.ndarray]:
    pixels = np.full((1, 1, len(model.bands), 16, 16), value, dtype=np.float32)
    pixels[..., 0, 0] = np.nan
    return runtime.prepare(model, Windows(pixels, model.bands, ((),), np.zeros((1, 2)), 10.0))


def test_reflectance_becomes_the_levels_of_training() -> None:
    waves = wavelengths_of("s2", {})
    for reflectance, visible, others in ((0.15, 127, 46), (0.9, 255, 255), (-0.1, 0, 0)):
        pixels = np.full((1, 9, 1, 1), reflectance * 1e4)
        levels = levels_of(pixels, ("reflectance_x10000",) * 9, waves, 0.3)[0, :, 0, 0]
        assert levels.tolist() == [visible] * 3 + [others] * 6
        same = levels_of(pixels / 1e4, ("reflectance",) * 9, waves, 0.3)[0, :, 0, 0]
        assert same.tolist() == levels.tolist()
    kept = levels_of(np.full((1, 9, 1, 1), 12.5), ("uint8",) * 9, waves, 0.3)
    assert set(kept.ravel()) == {12.5}


@pytest.mark.parametrize(("modality", "told"), [("s2", "s2"), ("s1", "s1"), ("rgb", "naip")])
def test_published_wavelengths_and_statistics_are_the_authors_own(modality, told) -> None:
    facts = json.loads((RAW / "dofa-raw.json").read_text())["facts"]["sensors"][told]
    waves = wavelengths_of(modality, {})
    mean, std = statistics_of(modality, waves)
    assert [*map(common_name, SPEC.modalities[modality][0].bands)] == [
        *map(common_name, facts["bands"])
    ]
    assert waves.tolist() == facts["wavelength_um"]
    assert (mean.tolist(), std.tolist()) == (facts["mean"], facts["std"])


@pytest.mark.parametrize("modality", SPEC.modalities)
def test_every_sensor_has_a_wavelength_and_statistics_for_each_band(modality) -> None:
    model = chosen(modality)
    arrays = prepared(model, 0.2)
    assert arrays["wavelengths"].shape == (len(model.bands),)
    assert arrays["image"].shape == (1, len(model.bands), 16, 16)
    assert (arrays["image"][..., 0, 0] == 0).all(), "missing"
    mean, std = statistics_of(modality, wavelengths_of(modality, {}))
    assert mean.shape == std.shape == (len(model.bands),)


def test_bands_of_ones_own_replace_those_of_the_modality() -> None:
    model = chosen(wavelengths="B8A=0.864, B4=0.665")
    assert model.bands == ("B8A", "B4")
    assert model.units == ("reflectance_x10000",) * 2
    assert model.inputs[0].collection == "COPERNICUS/S2_HARMONIZED"
    arrays = prepared(model, 1500.0)
    np.testing.assert_allclose(arrays["wavelengths"], [0.864, 0.665])
    # The nearest published bands: B8, by 32, and B4, whose levels reach 255 at 0.3.
    np.testing.assert_allclose(
        arrays["image"][0, :, 5, 5],
        [(46 - S2_MEAN[6]) / S2_STD[6], (127 - S2_MEAN[0]) / S2_STD[0]],
        rtol=1e-6,
    )


def test_statistics_of_ones_own_are_in_the_units_of_the_pixels() -> None:
    model = chosen("planet", wavelengths="a=0.5,b=0.9", mean="0.1,0.2", std="0.05, 0.1")
    np.testing.assert_allclose(prepared(model, 0.3)["image"][0, :, 5, 5], [4, 1], rtol=1e-6)


@pytest.mark.parametrize(
    ("modality", "options", "text"),
    [
        ("s2_tci", {"wavelengths": "a=0.5"}, "use it with modality"),
        ("s1", {"wavelengths": "a=0.5"}, "use it with modality"),
        ("rgb", {"mean": "1,2,3"}, "3 numbers each"),
        ("rgb", {"mean": "1,2", "std": "1,2"}, "3 numbers each"),
        ("rgb", {"mean": "1,2,3", "std": "1,2,0"}, "std above 0"),
        ("rgb", {"mean": "a,b,c", "std": "1,2,3"}, "3 numbers each"),
    ],
)
def test_what_does_not_go_together_is_refused(modality, options, text) -> None:
    with pytest.raises(ModelError, match=text):
        runtime.function(SPEC, "check")(chosen(modality, **options), ())


@pytest.mark.parametrize("text", ["nir", "nir=", "=0.8", "nir=-1", "nir=x", "B8=0.8,nir=0.8", ""])
def test_wavelengths_that_are_none_are_refused(text) -> None:
    with pytest.raises(ModelError, match="option wavelengths"):
        chosen(wavelengths=text)


@pytest.fixture
def small(monkeypatch, tmp_path):
    """``small(variant)``: a narrow network with its weights in a file."""
    narrow = {"embed_dim": 64, "depth": 2, "num_heads": 4, "img_size": 112}
    variants = tuple(replace(v, dim=64, config={**v.config, **narrow}) for v in SPEC.variants)
    spec = replace(SPEC, id="dofa_small", variants=variants)
    monkeypatch.setitem(catalog._REGISTERED, spec.id, spec)

    def choice(variant: str, modality: str | None = None, **options) -> ModelChoice:
        path = tmp_path / f"{variant}.pt"
        if not path.exists():
            write_checkpoint((spec, variant), path)
        return ModelChoice(
            spec.id, variant, modality, {"window_px": 112, **options}, weights=str(path)
        )

    yield choice
    runtime.unload_models()


def pooled(choice: ModelChoice, pooling: str) -> np.ndarray:
    return get_embedding(
        choice,
        spatial=PointBuffer(11.35, 47.26, 560),
        temporal=TemporalSpec.range("2022-06-01", "2022-09-01"),
        output=OutputSpec.pooled(pooling=pooling),
        backend="memory",
        device="cpu",
    ).data


def test_only_the_first_version_has_a_vector_of_an_image(small) -> None:
    vector, mean = (pooled(small("base"), how) for how in ("model", "mean"))
    wanted = (mean - mean.mean()) / np.sqrt(mean.var() + 1e-6)
    np.testing.assert_allclose(vector, wanted, rtol=1e-4, atol=1e-4)
    assert np.isfinite(pooled(small("v2_base"), "mean")).all()
    with pytest.raises(ModelError, match="dofa_small:v2_base defines no image-level vector"):
        pooled(small("v2_base"), "model")


def test_hyperspectral_pixels_go_in_by_their_wavelengths(small) -> None:
    """Each band by its name; the order of the bands does not matter, their wavelengths do."""
    waves = np.linspace(0.42, 2.4, 24).round(3)
    names = [f"band_{i}" for i in range(24)]
    rng = np.random.default_rng(0)
    array = xr.DataArray(
        rng.uniform(0, 0.5, (24, 112, 112)).astype(np.float32),
        dims=("band", "y", "x"),
        coords={
            "band": names,
            "y": 4_600_000 - 30 * (np.arange(112) + 0.5),
            "x": 500_000 + 30 * (np.arange(112) + 0.5),
        },
    ).rio.write_crs(32632)

    def embedded(order) -> np.ndarray:
        told = ", ".join(f"{names[i]}={waves[j]}" for i, j in order)
        choice = small("base", "planet", wavelengths=told, scale_m=30.0)
        found = array.rsembed.embed(choice, units="reflectance", device="cpu")
        assert found.shape == (64, 7, 7)
        return found.values

    straight = embedded([(i, i) for i in range(24)])
    mixed = embedded([(i, i) for i in rng.permutation(24)])
    np.testing.assert_allclose(mixed, straight, rtol=1e-4, atol=1e-4)
    assert not np.allclose(embedded([(i, 23 - i) for i in range(24)]), straight, atol=1e-2)
