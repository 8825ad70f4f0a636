"""From pixels with names to the grid: the product alone gives the authors' numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from rs_embed.core.errors import ModelError
from rs_embed.embedders.catalog import MODEL_SPECS
from rs_embed.parity import Case, read_case
from rs_embed.parity.runner import tidy
from rs_embed.providers import base
from tests.parity.conftest import FULL_SIZE, SHARED
from tests.parity.raw_cases import RAW, CasePixels, compare_raw, rows, variant_of

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
    """Every fact of every published variant, through the family's ``[facts]``."""
    spec = MODEL_SPECS[case.model_id]
    told = rows(case)["facts"]
    aside, same = told.get("aside", {}), {k: v for k, v in told.items() if k != "aside"}
    named = {tidy(variant.name): variant for variant in spec.variants}
    published = case.data["facts"]["variants"]
    without = set(told.get("without", {}))
    assert {tidy(name) for name in set(published) - without} == set(named)
    for name, facts in published.items():
        if name in without:
            continue
        variant = named[tidy(name)]
        for fact, value in facts.items():
            if fact in aside:
                continue
            ours = our_fact(spec, variant, same.get(fact, fact))
            assert plain(ours) == plain(value), (name, fact)


def our_fact(spec, variant, where: str):
    """A fact of the catalogue: of the variant, of its config, or of the spec's default input."""
    item = next(iter(spec.modalities.values()))[0]
    match where:
        case "dim":
            return variant.dim
        case "patch" | "token_px":
            return variant.token_px or spec.token_px
        case "window_px":
            return variant.window_px or spec.window_px
        case "bands":
            return item.bands
        case "units":
            return item.units
    kind, _, name = where.partition("/")
    if kind == "modality":
        return spec.modalities[name][0].collection_bands or spec.modalities[name][0].bands
    assert where in variant.config, f"{where!r} is in no config; tell its place in [facts]"
    return variant.config[where]


def plain(value):
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


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
