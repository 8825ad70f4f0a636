"""State dicts read without running code, and networks filled strictly."""

from __future__ import annotations

import argparse
import hashlib
import os
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from returns.result import Failure, Success

from rs_embed.core.errors import ModelError
from rs_embed.embedders import store
from rs_embed.embedders.weights import build_on_meta, fill, read_state
from tests.hub import CHECKOUT

torch = pytest.importorskip("torch")
nn = torch.nn
GALILEO = CHECKOUT.parent / "shared" / "weights" / "galileo-nano" / "encoder.pt"


class Small(nn.Module):
    """A linear layer, a norm with integer statistics, and a table that files do not hold."""

    def __init__(self, width: int = 3, table: str | None = None) -> None:
        super().__init__()
        self.proj = nn.Linear(4, width)
        self.norm = nn.BatchNorm1d(width)
        if table == "meta":
            self.register_buffer("table", torch.arange(width), persistent=False)
        elif table == "cpu":
            with torch.device("cpu"):
                self.register_buffer("table", torch.arange(width), persistent=False)

    def forward(self, x: Any) -> Any:
        return self.norm(self.proj(x))


@pytest.fixture
def state() -> dict[str, Any]:
    torch.manual_seed(0)
    return Small().state_dict()


def why(outcome: Any) -> str:
    assert isinstance(outcome, Failure), outcome
    assert isinstance(outcome.failure(), ModelError)
    return outcome.failure().message


def saved(path: Path, tree: object, **options: Any) -> Path:
    torch.save(tree, path, **options)
    return path


# Reading


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_every_format_gives_the_same_tensors(
    tmp_path: Path, state: dict[str, Any], kind: str
) -> None:
    if kind == "safetensors":
        path = tmp_path / "w.safetensors"
        pytest.importorskip("safetensors.torch").save_file(state, path)
    else:
        zipped = kind == "zip"
        path = saved(tmp_path / "w.pth", state, _use_new_zipfile_serialization=zipped)
    read = read_state(path).unwrap()
    assert read.keys() == state.keys()
    assert all(torch.equal(read[key], state[key]) for key in state)
    assert {tensor.device.type for tensor in read.values()} == {"cpu"}


def test_what_a_training_run_saved(tmp_path: Path, state: dict[str, Any]) -> None:
    moments = {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]}
    training = {"model": state, "optimizer": moments, "args": argparse.Namespace(lr=0.1)}
    path = saved(tmp_path / "w.pth", training)
    assert read_state(path, wrapper="model").unwrap().keys() == state.keys()
    whole = read_state(path).unwrap()
    assert set(whole) == {f"model.{key}" for key in state} | {"optimizer.state.0.exp_avg"}
    message = why(read_state(path, wrapper="state_dict"))
    assert "'state_dict'" in message
    assert "model, optimizer, args" in message
    assert "'args'" in why(read_state(path, wrapper="args"))


def test_several_state_dicts_in_one_file(tmp_path: Path, state: dict[str, Any]) -> None:
    path = saved(tmp_path / "w.pt", {"one": state, "two": OrderedDict(state)})
    read = read_state(path).unwrap()
    assert set(read) == {f"{part}.{key}" for part in ("one", "two") for key in state}


class Payload:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.target),))


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_refused(tmp_path: Path, zipped: bool) -> None:
    target = tmp_path / "owned"
    path = saved(tmp_path / "w.pth", {"w": Payload(target)}, _use_new_zipfile_serialization=zipped)
    message = why(read_state(path))
    assert "refused" in message
    assert "mkdir" in message
    assert not target.exists()
    torch.load(path, weights_only=False)
    assert target.exists(), "the payload does work where pickles are trusted"


@pytest.mark.parametrize("kept", [0, 1, 100, 600])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors", "text"])
def test_damaged_files(tmp_path: Path, state: dict[str, Any], kind: str, kept: int) -> None:
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pth")
    if kind == "safetensors":
        pytest.importorskip("safetensors.torch").save_file(state, path)
    elif kind == "text":
        path.write_text("<!doctype html>" + "sign in " * 200)
    else:
        saved(path, state, _use_new_zipfile_serialization=kind == "zip")
    path.write_bytes(path.read_bytes()[:kept])
    message = why(read_state(path))
    assert path.name in message
    assert len(message) < 400


def test_a_file_that_is_gone_or_no_state_dict(tmp_path: Path) -> None:
    assert "none.pth" in why(read_state(tmp_path / "none.pth"))
    assert "none.safetensors" in why(read_state(tmp_path / "none.safetensors"))
    assert "holds a list" in why(read_state(saved(tmp_path / "l.pth", [torch.zeros(1)])))
    assert "nothing" in why(read_state(saved(tmp_path / "e.pth", {})))
    assert "only epoch" in why(read_state(saved(tmp_path / "n.pth", {"epoch": 3})))


def test_torch_is_named_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "find_spec", lambda name: None)
    assert "extra `torch`" in why(read_state(tmp_path / "w.pth"))


@pytest.mark.skipif(not GALILEO.exists(), reason="needs the published Galileo nano weights")
def test_real_weights(tmp_path: Path) -> None:
    digest = hashlib.sha256(GALILEO.read_bytes()).hexdigest()
    assert digest == "eab6acacf527886a508a555bc24efe4b4a2cf91b162e84cd1c4a1807e942180c"
    read = read_state(GALILEO).unwrap()
    assert len(read) > 50
    assert sum(tensor.numel() for tensor in read.values()) * 4 <= 4_189_406
    assert {tensor.device.type for tensor in read.values()} == {"cpu"}


# Filling


def test_a_network_built_on_meta_is_filled(state: dict[str, Any]) -> None:
    network = build_on_meta(Small)
    assert all(p.is_meta for p in network.parameters())
    filled = fill(network, state)
    assert filled == Success(network)
    assert not network.training
    reference = Small()
    reference.load_state_dict(state)
    x = torch.randn(5, 4)
    assert torch.equal(network(x), reference.eval()(x))
    assert network.proj.weight.data_ptr() == state["proj.weight"].data_ptr(), "assigned, not copied"


def test_missing_and_extra_keys_are_named_and_counted(state: dict[str, Any]) -> None:
    del state["proj.bias"]
    state |= {f"head.{i}": torch.zeros(1) for i in range(9)}
    message = why(fill(build_on_meta(Small), state))
    assert "1 missing from the file: proj.bias" in message
    assert "9 in the file only: head.0, head.1" in message
    assert "and 3 more" in message
    assert "Small" in message


def test_shapes_and_kinds_are_named(state: dict[str, Any]) -> None:
    message = why(fill(build_on_meta(lambda: Small(7)), state))
    assert "proj.weight (3, 4) where (7, 4) is wanted" in message
    state["norm.num_batches_tracked"] = torch.tensor(1.5)
    message = why(fill(build_on_meta(Small), state))
    assert "norm.num_batches_tracked torch.float32 where torch.int64 is wanted" in message


def test_only_listed_keys_are_tolerated(state: dict[str, Any]) -> None:
    state |= {"decoder.0.weight": torch.zeros(2), "mask_token": torch.zeros(1)}
    reasons = (("decoder.*", "not used by the encoder"), ("mask_token", "for pretraining"))
    network = fill(build_on_meta(Small), state, allowed_key_mismatches=reasons).unwrap()
    assert "decoder" not in dict(network.named_modules())
    message = why(fill(build_on_meta(Small), state, allowed_key_mismatches=reasons[:1]))
    assert "mask_token" in message
    assert "decoder" not in message


def test_a_tolerated_key_still_needs_values(state: dict[str, Any]) -> None:
    del state["proj.bias"]
    message = why(
        fill(build_on_meta(Small), state, allowed_key_mismatches=(("proj.bias", "computed"),))
    )
    assert "1 without values: proj.bias" in message


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_floating_point_becomes_what_the_network_declares(
    state: dict[str, Any], dtype: str
) -> None:
    kind = getattr(torch, dtype)
    other = {k: v.to(kind) if v.is_floating_point() else v for k, v in state.items()}
    network = fill(build_on_meta(Small), other).unwrap()
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert network.norm.num_batches_tracked.dtype == torch.int64
    assert torch.allclose(network.proj.weight, state["proj.weight"], atol=1e-2)


def test_buffers_that_no_file_holds(state: dict[str, Any]) -> None:
    message = why(fill(build_on_meta(lambda: Small(table="meta")), state))
    assert "1 without values: table" in message
    network = fill(build_on_meta(lambda: Small(table="cpu")), state).unwrap()
    assert network.table.tolist() == [0, 1, 2]


def test_from_file_to_network(tmp_path: Path, state: dict[str, Any]) -> None:
    path = saved(tmp_path / "w.pth", {"model": state})
    network = (
        read_state(path, wrapper="model").bind(lambda s: fill(build_on_meta(Small), s)).unwrap()
    )
    assert torch.equal(network.proj.weight, state["proj.weight"])


# Files of one's own


@pytest.mark.parametrize("kind", ["zip", "safetensors"])
def test_a_file_that_is_read_may_be_written_over(
    tmp_path: Path, state: dict[str, Any], kind: str
) -> None:
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pth")
    if kind == "safetensors":
        pytest.importorskip("safetensors.torch").save_file(state, path)
    else:
        torch.save(state, path)
    read = read_state(path).unwrap()
    with path.open("r+b") as file:  # in place: the same file to whoever has mapped it
        file.write(b"\xff" * path.stat().st_size)
    assert all(torch.equal(read[key], state[key]) for key in state)
    with path.open("r+b") as file:
        file.truncate(10)
    assert all(torch.equal(read[key], state[key]) for key in state)


def test_what_the_caller_allows_in_pickles_stays_allowed(
    tmp_path: Path, state: dict[str, Any]
) -> None:
    path = saved(tmp_path / "w.pth", {"model": state, "args": argparse.Namespace(lr=0.1)})
    mine = [argparse.Namespace, Small]
    with torch.serialization.safe_globals(mine):
        assert isinstance(read_state(path), Success)
        assert set(torch.serialization.get_safe_globals()) >= set(mine)
    assert argparse.Namespace not in torch.serialization.get_safe_globals()
    assert isinstance(read_state(path), Success)
    assert argparse.Namespace not in torch.serialization.get_safe_globals()


def test_files_are_read_from_many_threads(tmp_path: Path, state: dict[str, Any]) -> None:
    path = saved(tmp_path / "w.pth", {"model": state, "args": argparse.Namespace(lr=0.1)})
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(read_state, [path] * 64))
    assert all(isinstance(one, Success) for one in found)
    assert argparse.Namespace not in torch.serialization.get_safe_globals()


def test_a_checkpoint_without_an_end_is_refused(tmp_path: Path, state: dict[str, Any]) -> None:
    loop: dict[str, Any] = {"model": state}
    loop["self"] = loop
    assert "without end" in why(read_state(saved(tmp_path / "loop.pth", loop)))
    deep: dict[str, Any] = dict(state)
    for _ in range(40):
        deep = {"in": deep}
    assert "without end" in why(read_state(saved(tmp_path / "deep.pth", deep)))


def test_a_file_under_the_home_folder_is_found_and_its_change_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through a whole model: the next load sees the new numbers, and the old network is gone."""
    from rs_embed.core.model import ModelChoice
    from rs_embed.embedders import catalog, runtime
    from tests import toys

    spec = toys.linear("homely")
    monkeypatch.setattr(catalog, "_REGISTERED", dict(catalog._REGISTERED))
    catalog.add_model(spec).unwrap()
    monkeypatch.setenv("HOME", str(tmp_path))
    choice = ModelChoice("homely", weights="~/own.pt")

    def loaded() -> Any:
        return catalog.find_model(choice).bind(lambda one: runtime.load(one, "cpu"))

    assert "~" not in why(loaded())
    torch.save({"weight": torch.ones(2, 3)}, tmp_path / "own.pt")
    first = loaded().unwrap().network
    assert loaded().unwrap().network is first
    before = len(runtime._CACHE)
    torch.save({"weight": torch.zeros(2, 3)}, tmp_path / "own.pt")
    second = loaded().unwrap().network
    assert float(second.weight.sum()) == 0
    assert len(runtime._CACHE) == before, "the network of the file as it was is let go"
    torch.save({"wrong": torch.zeros(2, 3)}, tmp_path / "own.pt")
    message = why(loaded())
    for word in ("homely:one", "weight", "wrong", "acme/linear/own.pt"):
        assert word in message
    runtime.unload_models()
