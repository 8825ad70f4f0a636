"""Each single change of a family makes one of its own checks fail."""

from __future__ import annotations

import pytest

from rs_embed.providers import base
from tests.mutation.mutants import Mutant, first_to_notice, in_place, mutants
from tests.parity.raw_cases import CasePixels

MUTANTS = mutants()


@pytest.fixture(autouse=True)
def source(monkeypatch):
    monkeypatch.setitem(base._FACTORIES, "raw_case", CasePixels)


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_change_is_noticed(mutant: Mutant, tmp_path) -> None:
    with in_place(mutant) as model_ids:
        noticed = first_to_notice(model_ids, tmp_path)
    print(f"{mutant}  <-  {noticed}")  # shown by -rP
    assert noticed, f"no check of {mutant.family} notices: {mutant.what}"


@pytest.mark.parametrize("family", sorted({mutant.family for mutant in MUTANTS}))
def test_nothing_is_noticed_where_nothing_is_changed(family: str, tmp_path) -> None:
    first_line = "from __future__ import annotations"
    with in_place(Mutant(family, "nothing", first_line, first_line)) as model_ids:
        assert first_to_notice(model_ids, tmp_path) is None
