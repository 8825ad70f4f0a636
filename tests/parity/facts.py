"""What authors publish of each of their variants, against the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rs_embed.core.model import ModelSpec, Variant
from rs_embed.embedders.catalog import MODEL_SPECS
from rs_embed.parity import Case
from rs_embed.parity.runner import tidy
from tests.parity.raw_cases import rows


def check_facts(case: Case) -> None:
    """Every fact of every published variant of a raw case, through the family's ``[facts]``."""
    spec = MODEL_SPECS[case.model_id]
    told = rows(case)["facts"]
    same = {fact: where for fact, where in told.items() if isinstance(where, str)}
    named = {tidy(variant.name): variant for variant in spec.variants}
    published = case.data["facts"]["variants"]
    offered = set(published) - set(told.get("without", ()))
    assert {tidy(name) for name in offered} == set(named), (set(named), offered)
    for name in sorted(offered):
        for fact, value in published[name].items():
            if fact not in told.get("aside", ()):
                ours = our_fact(spec, named[tidy(name)], same.get(fact, fact))
                assert plain(ours) == plain(value), (name, fact, ours, value)
    # What the authors say in their code rather than in a variant's configuration.
    for field, value in told.get("spec", {}).items():
        assert getattr(spec, field) == value, field


def our_fact(spec: ModelSpec, variant: Variant, where: str) -> Any:
    """A fact of the catalogue: of the variant, of its config, or of an input."""
    kind, _, name = where.partition("/")
    item = next(iter(spec.modalities.values()))[0]
    known = {
        "dim": variant.dim,
        "patch": variant.token_px or spec.token_px,
        "token_px": variant.token_px or spec.token_px,
        "window_px": variant.window_px or spec.window_px,
        "bands": item.bands,
        "units": item.units,
    }
    if kind == "modality":
        return spec.modalities[name][0].collection_bands or spec.modalities[name][0].bands
    if where in known:
        return known[where]
    assert where in variant.config, f"{where!r} is in no config; tell its place in [facts]"
    return variant.config[where]


def plain(value: Any) -> Any:
    """Tuples as lists, so that what JSON brings can be compared."""
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    return value
