"""From pixels with names to the grid: the product alone gives the authors' numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from rs_embed.core.errors import ModelError
from rs_embed.embedders.catalog import MODEL_SPECS
from rs_embed.parity import Case, read_case
from rs_embed.providers import base
from tests.parity.conftest import FULL_SIZE, SHARED
from tests.parity.facts import check_facts
from tests.parity.raw_cases import RAW, CasePixels, compare_raw, variant_of

SHARED_RAW = SHARED / "parity-raw"


def raw_cases() -> list[object]:
    """Those kept here, and of the larger set those of the catalogue's other models."""
    folders = [RAW, *([SHARED_RAW] if SHARED_RAW.is_dir() else [])]
    found = {p.name: p for folder in reversed(folders) for p in folder.glob("*.json")}
    cases = [read_case(found[name]) for name in sorted(found)]
    known = [case for case in cases if case.model_id in MODEL_SPECS]
    big = [pytest.mark.full]
    return [
        pytest.param(case, id=case.name, marks=big if case.params > FULL_SIZE else [])
        for case in known
    ]


CASES = raw_cases()
FACTS = {case.values[0].model_id: case.values[0] for case in CASES}


@pytest.fixture(autouse=True)
def source(monkeypatch):
    monkeypatch.setitem(base._FACTORIES, "raw_case", CasePixels)


@pytest.mark.parametrize("case", CASES)
def test_agrees_from_pixels_on(case: Case, tmp_path, record_comparisons) -> None:
    comparisons = compare_raw(case, tmp_path)
    record_comparisons(comparisons)
    assert {one.name for one in comparisons} == set(case.outputs)
    failed = [one for one in comparisons if not one.passed]
    assert not failed, failed


@pytest.mark.parametrize("case", FACTS.values(), ids=list(FACTS))
def test_the_catalogue_agrees_with_what_the_authors_publish(case: Case) -> None:
    check_facts(case)


@pytest.mark.parametrize("path", sorted(RAW.glob("*.json")), ids=lambda p: p.stem)
@pytest.mark.skipif(not SHARED_RAW.is_dir(), reason="the larger set of cases is not here")
def test_a_kept_case_is_the_shared_one(path: Path) -> None:
    assert path.read_bytes() == (SHARED_RAW / path.name).read_bytes()


@pytest.mark.parametrize("case", FACTS.values(), ids=list(FACTS))
def test_a_config_that_is_not_the_products_is_refused(case: Case) -> None:
    spec = MODEL_SPECS[case.model_id]
    key = next(key for key in case.config if key in variant_of(case, spec).config)
    other = Case(case.path, {**case.data, "config": {**case.config, key: "another"}})
    with pytest.raises(ModelError, match=rf"is not .*{key}"):
        variant_of(other, spec)
