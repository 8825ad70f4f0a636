"""Panopticon: the tables and codes of each modality, and channels that are not there."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from rs_embed.core.choice import resolve
from rs_embed.core.model import Model, ModelChoice
from rs_embed.core.prepare import Windows
from rs_embed.core.result import unwrap_or_raise
from rs_embed.embedders import runtime
from rs_embed.embedders.families import panopticon
from rs_embed.parity import read_case
from rs_embed.parity.checkpoint import case_state, filled
from rs_embed.parity.rows import DATA, rows_of
from rs_embed.parity.runner import model_of
from tests.parity.raw_cases import RAW

FACTS = json.loads((RAW / "panopticon-raw.json").read_text())["facts"]["variants"]["vitb14"]


def chosen(modality: str, **options) -> Model:
    choice = ModelChoice("panopticon", None, modality, options)
    return unwrap_or_raise(resolve(panopticon.SPEC, choice))


def prepared(model: Model, pixels: np.ndarray) -> dict[str, np.ndarray]:
    windows = Windows(
        pixels.astype(np.float32), model.bands, ((),) * len(pixels),
        np.zeros((len(pixels), 2)), 10.0,
    )  # fmt: skip
    return runtime.prepare(model, windows)


@pytest.mark.parametrize(("modality", "facts"), [("s2", "s2"), ("s2_l2a", "s2_benv2")])
def test_the_optical_tables_are_the_authors(modality, facts) -> None:
    told, model = FACTS[facts], chosen(modality)
    assert list(model.bands) == told["bands"]
    assert set(model.units) == {told["units"]}
    pixels = (np.array(told["mean"]) + np.array(told["std"]))[:, None, None] * np.ones((14, 14))
    arrays = prepared(model, pixels[None, None])
    np.testing.assert_allclose(arrays["imgs"], 1, rtol=1e-5)
    assert arrays["chn_ids"].tolist() == [told["channel_ids"]]


@pytest.mark.parametrize(
    ("orbit", "codes"),
    [("mean", [-1, -2]), ("ascending", [-5, -6]), ("descending", [-9, -10])],
)
def test_each_polarisation_has_its_own_numbers_and_code(orbit, codes) -> None:
    """The authors' radar numbers stand as VH, VV; ours as the bands."""
    told, model = FACTS["s1_benv2"], chosen("s1", orbit=orbit)
    assert model.bands == ("VV", "VH")
    pixels = (np.array(told["mean"]) + np.array(told["std"]))[::-1, None, None] * np.ones((14, 14))
    arrays = prepared(model, pixels[None, None])
    np.testing.assert_allclose(arrays["imgs"], 1, rtol=1e-5)
    assert arrays["chn_ids"].tolist() == [codes]


def test_both_sensors_side_by_side() -> None:
    arrays = prepared(chosen("s2s1"), np.zeros((2, 1, 14, 14, 14)))
    assert arrays["chn_ids"][1].tolist() == [*FACTS["s2_benv2"]["channel_ids"], -1, -2]


def test_missing_pixels_are_the_mean_and_missing_channels_are_told() -> None:
    model = chosen("s1")
    pixels = np.full((3, 1, 2, 14, 14), -10.0)
    pixels[0, 0, 0, 3, 4] = np.nan
    pixels[1, 0, 1] = np.nan
    pixels[2] = np.nan
    arrays = prepared(model, pixels)
    assert arrays["imgs"][0, 0, 3, 4] == 0
    assert arrays["seen"].tolist() == [[True, True], [True, False], [True, True]]
    assert "seen" not in prepared(model, pixels[:1])


def test_a_channel_that_is_not_there_is_not_looked_at() -> None:
    """As if the window had been given without it."""
    case = read_case(DATA / "panopticon-tiny.json")
    model = model_of(case, panopticon.SPEC, rows_of("panopticon", DATA))
    network = filled(model, case_state(case, model))
    given = case.inputs()
    imgs, ids = torch.tensor(given["imgs"]), torch.tensor(given["chn_ids"]).long()
    seen = torch.ones(1, 12, dtype=torch.bool)
    seen[0, [2, 7]] = False
    kept = seen[0]
    with torch.inference_mode():
        masked = network(imgs, ids, seen)
        without = network(imgs[:, kept], ids[:, kept])
        whole = network(imgs, ids)
    torch.testing.assert_close(masked["grid"], without["grid"], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(masked["grid"], whole["grid"], atol=1e-3)
