"""Each single change of a family makes one of its own checks fail."""

from __future__ import annotations

import importlib

import pytest

from rs_embed.embedders import families
from rs_embed.providers import base
from tests.mutation.mutants import Mutant, first_to_notice, in_place, mutants
from tests.parity.raw_cases import CasePixels

MUTANTS = mutants()


@pytest.fixture(autouse=True)
def source(monkeypatch):
    monkeypatch.setitem(base._FACTORIES, "raw_case", CasePixels)


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_change_is_noticed(mutant: Mutant, tmp_path) -> None:
    with in_place(mutant) as model_id:
        noticed = first_to_notice(model_id, tmp_path)
    print(f"{mutant}  <-  {noticed}")  # shown by -rP
    assert noticed, f"no check of {model_id} notices: {mutant.what}"


@pytest.mark.parametrize("family", sorted({mutant.family for mutant in MUTANTS}))
def test_nothing_is_noticed_where_nothing_is_changed(family: str, tmp_path) -> None:
    model_id = importlib.import_module(f"{families.__name__}.{family}").SPEC.id
    same = Mutant(family, "nothing", "SPEC = ModelSpec(", "SPEC = ModelSpec(")
    with in_place(same):
        assert first_to_notice(model_id, tmp_path) is None
