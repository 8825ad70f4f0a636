"""The harness can fail: each of these breaks one thing and is told so."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rs_embed.core.errors import ModelError
from rs_embed.embedders.families import prithvi
from rs_embed.parity import compare, read_case, recipe, run
from rs_embed.parity.compare import compare_outputs
from tests.parity.conftest import KEPT, SHARED

PRITHVI = KEPT / "prithvi_eo_v2_s2_6b-tiny.json"
IN_64_BITS = KEPT / "prithvi_eo_v2_s2_6b-tiny-f64.json"
PREPROCESS = KEPT / "prithvi_eo_v2_s2_6b-preprocess.json"


def passed(path: Path) -> bool:
    return all(one.passed for one in compare(path))


def changed(tmp_path: Path, path: Path, **values) -> Path:
    copy = tmp_path / path.name
    copy.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return copy


def test_another_epsilon_is_seen(monkeypatch) -> None:
    assert passed(IN_64_BITS)
    build = prithvi.build

    def another(model):
        network = build(model)
        for module in network.modules():
            if isinstance(module, torch.nn.LayerNorm):
                module.eps = 1e-6
        return network

    monkeypatch.setattr(prithvi, "build", another)
    assert not passed(IN_64_BITS)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("norm_eps", 1e-6),
        ("mlp_ratio", 2),
        ("coords_encoding", ["location", "time"]),
        ("patch_size", [1, 8, 8]),
        ("rope", True),
    ],
)
def test_a_config_that_the_row_does_not_let_shrink_is_refused(tmp_path, key, value) -> None:
    config = {**json.loads(PRITHVI.read_text())["config"], key: value}
    with pytest.raises(ModelError, match=f"as the catalogue has it: {key}"):
        run(changed(tmp_path, PRITHVI, config=config))


def test_a_case_of_a_published_variant_shrinks_in_nothing(tmp_path) -> None:
    with pytest.raises(ModelError, match=r"of \S+:tiny_tl .*embed_dim: 64.*depth: 2"):
        run(changed(tmp_path, PRITHVI, variant="tiny_tl"))


def test_an_output_without_a_place_is_an_error(tmp_path) -> None:
    outputs = {"elsewhere": json.loads(PRITHVI.read_text())["outputs"]["tokens"]}
    with pytest.raises(ModelError, match="'elsewhere' that no row tells"):
        run(changed(tmp_path, PRITHVI, outputs=outputs))


def test_swapped_bands_are_seen(monkeypatch) -> None:
    prepare = prithvi.prepare

    def swapped(windows, model):
        arrays = prepare(windows, model)
        return {**arrays, "image": arrays["image"][:, [2, 1, 0, 3, 4, 5]]}

    monkeypatch.setattr(prithvi, "prepare", swapped)
    assert not passed(PREPROCESS)


def test_swapped_latitude_and_longitude_are_seen(tmp_path) -> None:
    data = json.loads(PRITHVI.read_text())
    location = next(item for item in data["inputs"] if item["name"] == "location")
    location["values"] = np.array(location["values"]).reshape(-1, 2)[:, ::-1].ravel().tolist()
    assert not passed(changed(tmp_path, PRITHVI, inputs=data["inputs"]))


def test_a_wrong_expected_value_is_seen(tmp_path) -> None:
    outputs = json.loads(PRITHVI.read_text())["outputs"]
    outputs["grid"]["values"][3] += 2e-4
    case = read_case(changed(tmp_path, PRITHVI, outputs=outputs))
    found = {one.name: one.passed for one in compare(case.path)}
    assert not found.pop("grid")
    assert all(found.values())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda results: results.pop("grid"),
        lambda results: results.update(grid=results["grid"][:, ::-1]),
        lambda results: results.update(grid=results["grid"][:1]),
        lambda results: results.update(grid=results["grid"] * np.nan),
        lambda results: results.update(grid=results["grid"].swapaxes(2, 3)),
    ],
    ids=["missing", "reversed", "another shape", "not a number", "rows for columns"],
)
def test_a_spoilt_output_has_failed(spoil) -> None:
    case = read_case(PRITHVI)
    results = run(PRITHVI)
    spoil(results)
    found = {one.name: one.passed for one in compare_outputs(case, results)}
    assert not found.pop("grid")
    assert all(found.values())


def test_missing_on_both_sides_agrees(tmp_path) -> None:
    outputs = {"y": {"shape": [2], "mean": None, "std": None, "stride": 1, "values": [None, 1.0]}}
    case = read_case(changed(tmp_path, PRITHVI, outputs=outputs))
    both, one = np.array([np.nan, 1.0]), np.array([0.0, 1.0])
    assert compare_outputs(case, {"y": both})[0].passed
    assert not compare_outputs(case, {"y": one})[0].passed


@pytest.mark.parametrize("key", ["encoder.norm.weight", "encoder.blocks.1.mlp.fc2.bias"])
def test_a_missing_key_is_named(tmp_path, key) -> None:
    weights = [entry for entry in json.loads(PRITHVI.read_text())["weights"] if entry[0] != key]
    with pytest.raises(ModelError, match=rf"missing.*{key.removeprefix('encoder.')}"):
        run(changed(tmp_path, PRITHVI, weights=weights))


def test_an_added_key_is_named(tmp_path) -> None:
    weights = [
        *json.loads(PRITHVI.read_text())["weights"],
        ["encoder.blocks.0.gamma", [64], "float32"],
    ]
    with pytest.raises(ModelError, match=r"in the file only: encoder\.blocks\.0\.gamma"):
        run(changed(tmp_path, PRITHVI, weights=weights))


def test_what_cannot_be_run_is_an_error(tmp_path) -> None:
    with pytest.raises(ModelError, match="no parity fixture"):
        run(tmp_path / "none.json")
    (tmp_path / "half.json").write_text('{"model": "prithvi"}')
    with pytest.raises(ModelError, match="it has no inputs, outputs"):
        run(tmp_path / "half.json")
    with pytest.raises(ModelError, match="there is no model 'prithvy'"):
        run(changed(tmp_path, PRITHVI, model="prithvy"))
    with pytest.raises(ModelError, match="weights_root="):
        run(changed(tmp_path, PRITHVI, real_weights="none/encoder.pt"))
    with pytest.raises(ModelError, match="is not of mosaiks:512"):
        run(changed(tmp_path, PRITHVI, model="mosaiks"))


def test_the_folder_asked_for_is_run_and_told(tmp_path) -> None:
    outputs = json.loads(PREPROCESS.read_text())["outputs"]
    outputs["temporal"]["values"][0] += 1
    (tmp_path / "right-preprocess.json").write_text(PREPROCESS.read_text())
    changed(tmp_path, PREPROCESS, outputs=outputs).rename(tmp_path / "wrong-preprocess.json")
    changed(tmp_path, PREPROCESS, model="not_of_this_library").rename(tmp_path / "other.json")
    (tmp_path / "notes.txt").write_text("no fixture")
    done = pytest_on(tmp_path)
    assert done.returncode == 1, done.stdout
    assert "1 failed, 1 passed" in done.stdout
    assert "wrong-preprocess (temporal)" in done.stdout
    assert "right-preprocess (" in done.stdout


def test_an_empty_folder_is_an_error(tmp_path) -> None:
    done = pytest_on(tmp_path)
    assert done.returncode not in (0, 5), done.stdout
    assert "no fixture of a model" in done.stdout + done.stderr


def pytest_on(folder: Path) -> subprocess.CompletedProcess[str]:
    test = Path(__file__).parent / "test_fixtures.py"
    command = [sys.executable, "-m", "pytest", str(test), "--parity-dir", str(folder)]
    return subprocess.run(
        [*command, "-q", "-p", "no:cacheprovider"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_recipe_is_the_published_one() -> None:
    # From the description, worked out by hand in whole numbers.
    assert recipe.uniform("a", (3,)).tolist() == by_hand("a", 3)
    assert recipe.weight("norm.weight", (2,)).tolist() == pytest.approx(
        [1 + 0.1 * u for u in by_hand("norm.weight", 2)], abs=1e-7
    )
    assert recipe.weight("fc.weight", (2, 3)).ravel().tolist() == pytest.approx(
        by_hand("fc.weight", 6), abs=1e-7
    )
    assert recipe.weight("cls_token", (1, 2)).ravel().tolist() == pytest.approx(
        [0.2 * u for u in by_hand("cls_token", 2)], abs=1e-7
    )
    long = recipe.uniform("b", (recipe.PERIOD + 2,))
    assert (long[-2:] == long[:2]).all()


@pytest.mark.skipif(not SHARED.is_dir(), reason="the larger set of fixtures is not here")
def test_the_recipe_equals_the_reference() -> None:
    spec = importlib.util.spec_from_file_location("reference", SHARED / "parity" / "recipe.py")
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    for key in ("x.weight", "x.bias", "bn.running_var", "pos_embed"):
        for shape in ((), (7,), (5, 4), (3, 2, 2, 2)):
            assert (recipe.weight(key, shape) == reference.weight(key, shape)).all()
            ours, theirs = (m.array(key, shape, -3, 6000) for m in (recipe, reference))
            assert (ours == theirs).all()


def by_hand(name: str, count: int) -> list[float]:
    import zlib

    values, mask = [], 2**64 - 1
    for index in range(count):
        x = ((zlib.crc32(name.encode()) << 32) + index) * 0x9E3779B97F4A7C15 & mask
        x = (x + 0x9E3779B97F4A7C15) & mask
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & mask
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB & mask
        x ^= x >> 31
        values.append((x >> 40) / 2**23 - 1)
    return values
