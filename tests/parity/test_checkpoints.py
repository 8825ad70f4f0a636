"""Files laid out as the authors publish them: the same keys, loaded strictly or refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rs_embed import load_model
from rs_embed.core.errors import ModelError
from rs_embed.core.model import ModelChoice, ModelSpec
from rs_embed.core.result import unwrap_or_raise
from rs_embed.embedders.catalog import MODEL_SPECS, find_model, find_spec
from rs_embed.embedders.runtime import function, keys
from rs_embed.embedders.weights import read_state
from rs_embed.parity import Case, write_checkpoint
from rs_embed.parity.checkpoint import case_entries, filled, published_entries, read_entries
from rs_embed.parity.rows import rows_of
from rs_embed.parity.runner import model_of, tidy
from tests.doors import short_networks, smallest
from tests.parity.conftest import KEPT, SHARED, known_cases

NETWORKS = [name for name, spec in MODEL_SPECS.items() if spec.device and function(spec, "build")]


def of_published_size() -> list[object]:
    """Fixtures of a whole public variant, one for each."""
    found: dict[tuple[str, str], Case] = {}
    for case in [*known_cases(KEPT), *known_cases(SHARED / "parity")]:
        spec = unwrap_or_raise(find_spec(case.model_id))
        name = tidy(str(case.data.get("variant", "")))
        known = {variant.name: variant for variant in spec.variants}
        if name in known and case.params > 0.9e6 * (known[name].params_m or 0):
            found.setdefault((spec.id, name), case)
    return [pytest.param(case, name, id=f"{id}:{name}") for (id, name), case in found.items()]


@pytest.mark.skipif(not SHARED.is_dir(), reason="fixtures of published sizes are not kept here")
@pytest.mark.parametrize(("case", "variant"), of_published_size())
def test_the_layout_is_the_published_one(case: Case, variant: str) -> None:
    """What `write_checkpoint` writes has the keys and shapes that a fixture read off the file."""
    spec = unwrap_or_raise(find_spec(case.model_id))
    model = model_of(case, spec, rows_of(spec.id, KEPT))
    assert model.variant.name == variant
    ours = {key: (shape, dtype) for key, shape, dtype in published_entries(model)}
    for key, shape, dtype in case_entries(case, model):
        if not keys(model).ignores(key):
            assert ours.pop(key) == (shape, dtype), key
    # A file for all modalities holds more than the network of the fixture's own reads.
    own = {key for key, _, _ in read_entries(model)}
    assert not {key for key in own & set(ours) if not keys(model).ignores(key)}


@pytest.fixture(scope="module", params=NETWORKS)
def written(request, tmp_path_factory) -> tuple[ModelChoice, dict[str, object], str]:
    """A choice, the state dict of its file, and a key of it that the network needs."""
    with short_networks() as models:
        yield _written(models[request.param], tmp_path_factory.mktemp("weights"))


def _written(spec: ModelSpec, folder: Path) -> tuple[ModelChoice, dict[str, object], str]:
    choice = smallest(spec, folder)
    model = unwrap_or_raise(find_model(choice))
    wrapper = keys(model).wrapper or None
    state = unwrap_or_raise(read_state(Path(choice.weights), wrapper=wrapper))
    named = [key for key, _, _ in published_entries(model) if key.endswith("bias")]
    middle = named[len(named) // 2 :]
    return choice, state, next(key for key in middle if not _loads_without(choice, state, key))


def test_a_published_file_loads(written) -> None:
    choice, _, _ = written
    loaded = load_model(choice, device="cpu")
    assert not any(parameter.is_meta for parameter in loaded.network.parameters())


def test_a_missing_key_is_named(written, tmp_path) -> None:
    choice, state, needed = written
    with pytest.raises(ModelError, match=r"1 missing from the file: \S+bias"):
        _load(choice, {key: value for key, value in state.items() if key != needed}, tmp_path)


def test_an_added_key_is_named(written, tmp_path) -> None:
    choice, state, needed = written
    added = needed.removesuffix("bias") + "extra"
    with pytest.raises(ModelError, match=r"1 in the file only: \S+extra"):
        _load(choice, {**state, added: torch.zeros(2)}, tmp_path)


def test_another_shape_is_named(written, tmp_path) -> None:
    choice, state, needed = written
    longer = torch.zeros(len(state[needed]) + 1)
    with pytest.raises(ModelError, match=r"of another shape or kind: \S+bias"):
        _load(choice, {**state, needed: longer}, tmp_path)


def test_a_layout_needs_to_know_its_model(tmp_path) -> None:
    (case, *_) = known_cases(KEPT)
    with pytest.raises(ModelError, match="needs model="):
        write_checkpoint(case, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="no network"):
        write_checkpoint((MODEL_SPECS["mosaiks"], None), tmp_path / "w.pt")


def _load(choice: ModelChoice, state: dict[str, object], folder) -> None:
    torch.save(state, folder / "spoilt.pt")
    load_model(ModelChoice(choice.id, choice.variant, weights=folder / "spoilt.pt"), device="cpu")


def _loads_without(choice: ModelChoice, state: dict[str, object], key: str) -> bool:
    model = unwrap_or_raise(find_model(choice))
    try:
        filled(model, {k: v for k, v in state.items() if k != key})
    except ModelError:
        return False
    return True
