"""TerraMind: modalities alone and together, what a missing value is, which files load."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rs_embed import ModelChoice, ModelError, OutputSpec, PointBuffer, TemporalSpec, get_embedding
from rs_embed.core.choice import resolve
from rs_embed.core.model import Model
from rs_embed.core.prepare import Windows
from rs_embed.core.result import unwrap_or_raise
from rs_embed.core.statistics import TERRAMIND
from rs_embed.embedders import catalog, runtime
from rs_embed.embedders.families.terramind import SPEC
from rs_embed.embedders.families.terramind_inputs import INPUTS, PUBLISHED
from rs_embed.parity.checkpoint import filled, published_entries, recipe_state
from tests.parity.raw_cases import RAW

ALL = {name.lower(): True for name in INPUTS if name != "S2L2A"}
SMALL = {"dim": 64, "depth": 2, "num_heads": 2, "mlp_hidden": 256, "img_size": 64}


def small():
    variant = replace(SPEC.variants[0], dim=64, config={**SPEC.variants[0].config, **SMALL})
    return replace(SPEC, id="terramind_small", variants=(variant,), default_variant=variant.name)


def chosen(modality: str | None = None, **options) -> Model:
    spec = small()
    return unwrap_or_raise(resolve(spec, ModelChoice(spec.id, None, modality, options)))


def prepared(model: Model, value: float) -> dict[str, np.ndarray]:
    pixels = np.full((1, 1, len(model.bands), 16, 16), value, dtype=np.float32)
    pixels[..., 0, 0] = np.nan
    return runtime.prepare(model, Windows(pixels, model.bands, ((),), np.zeros((1, 2)), 10.0))


@pytest.mark.parametrize("name", INPUTS)
def test_each_modality_has_its_own_statistics(name) -> None:
    image = prepared(chosen(name), 3.0)
    assert list(image) == [name]
    mean, std = (np.array(one)[:, None] for one in TERRAMIND[name])
    np.testing.assert_allclose(image[name][0, :, 5], np.tile((3 - mean) / std, 16), rtol=1e-6)
    np.testing.assert_allclose(image[name][0, :, 0, 0], (-mean / std)[:, 0], rtol=1e-6)


def test_all_modalities_stand_side_by_side_under_bands_of_different_names() -> None:
    model = chosen(**ALL)
    assert {item.name for item in model.inputs} == set(INPUTS)
    assert len(set(model.bands)) == len(model.bands) == 12 + 13 + 3 + 2 + 2 + 1
    image = prepared(model, 3.0)
    assert {name: one.shape[1] for name, one in image.items()} == {
        name: len(item.bands) for name, item in INPUTS.items()
    }


def test_a_modality_beside_itself_is_refused() -> None:
    with pytest.raises(ModelError, match="S1GRD already"):
        runtime.function(SPEC, "check")(chosen("S1GRD", s1grd=True), ())


def test_a_file_of_all_modalities_serves_one(tmp_path) -> None:
    """As the published ones are: what another modality needs is not asked for and not missed."""
    everything = recipe_state(published_entries(chosen(**ALL)))
    for name in INPUTS:
        network = filled(chosen(name), everything)
        assert list(network.encoder_embeddings) == [PUBLISHED[name]]
    del everything["encoder_embeddings.untok_dem@224.proj.weight"]
    filled(chosen("S1GRD"), everything)
    with pytest.raises(ModelError, match=r"untok_dem@224\.proj\.weight"):
        filled(chosen(dem=True), everything)


def test_merging_takes_the_mean_or_the_largest() -> None:
    state = recipe_state(published_entries(chosen(s1grd=True)))
    tokens, grids = {}, {}
    for merge in ("mean", "max"):
        model = chosen(s1grd=True, merge=merge)
        network = filled(model, state)
        for name in ("S2L2A", "S1GRD"):
            network.tokens[name].register_forward_hook(
                lambda _, __, out, name=name: tokens.update({name: out})
            )
        rng = np.random.default_rng(0)
        images = {
            item.name: rng.normal(size=(2, len(item.bands), 64, 64)).astype(np.float32)
            for item in model.inputs
        }
        with torch.inference_mode():
            grids[merge] = runtime.forward(SPEC, network, images)["grid"].flatten(1, 2)
    both = torch.stack([tokens["S2L2A"], tokens["S1GRD"]])
    torch.testing.assert_close(grids["mean"], both.mean(0))
    torch.testing.assert_close(grids["max"], both.amax(0))


def test_sensors_together_through_the_front_door(monkeypatch, tmp_path) -> None:
    spec, path = small(), tmp_path / "all.pt"
    monkeypatch.setitem(catalog._REGISTERED, spec.id, spec)
    torch.save(recipe_state(published_entries(chosen(**ALL))), path)
    found = {}
    for options in ({}, {"s1grd": True, "dem": True}):
        choice = ModelChoice(spec.id, None, None, {"window_px": 64, **options}, weights=str(path))
        found[len(options)] = get_embedding(
            choice,
            spatial=PointBuffer(11.35, 47.26, 320),
            temporal=TemporalSpec.range("2022-06-01", "2022-09-01"),
            output=OutputSpec.grid(),
            backend="memory",
            device="cpu",
        )
    runtime.unload_models()
    one, three = found[0], found[2]
    assert one.data.shape == three.data.shape == (64, 4, 4)
    assert np.isfinite(three.data).all()
    assert not np.allclose(one.data, three.data)
    assert three.meta["options"]["dem"] is True


def test_the_catalogue_says_where_the_authors_put_each_file() -> None:
    facts = json.loads(Path(RAW / "terramind-raw.json").read_text())["facts"]["variants"]
    for variant in SPEC.variants:
        file = facts[variant.name]["file"]
        assert variant.weights.repo == file["hf_hub_id"]
        assert variant.weights.filename == file["hf_hub_filename"]


def test_bands_units_and_statistics_are_those_that_the_authors_publish() -> None:
    facts = json.loads(Path(RAW / "terramind-raw.json").read_text())["facts"]["sensors"]
    assert set(facts) == set(INPUTS)
    for name, told in facts.items():
        item = INPUTS[name]
        assert (list(item.bands), item.units) == (told["bands"], told["units"])
        assert [list(one) for one in TERRAMIND[name]] == [told["mean"], told["std"]]
