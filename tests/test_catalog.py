"""Every model of the catalogue resolves, and states what a user has to know of it."""

import re
from pathlib import Path

import pytest

from rs_embed.core.bands import common_name
from rs_embed.core.model import ROLES, ModelChoice
from rs_embed.core.result import unwrap_or_raise
from rs_embed.core.units import MEANINGS
from rs_embed.embedders import families
from rs_embed.embedders.catalog import MODEL_SPECS, find_model
from rs_embed.embedders.runtime import function

VARIANTS = [(spec.id, variant.name) for spec in MODEL_SPECS.values() for variant in spec.variants]


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_every_variant_resolves_with_its_facts(name, variant):
    model = unwrap_or_raise(find_model(f"{name}:{variant}"))
    assert model.dim > 0
    assert model.window_px % model.token_px == 0
    assert model.scale_m > 0
    record = model.variant.weights
    if record is not None:
        assert record.licence
        assert record.source
        assert record.repo or record.url
        assert record.size or record.approx_size
        assert record.sha256 is None or len(record.sha256) == 64
        assert record.revision is None or len(record.revision) == 40


@pytest.mark.parametrize("name", list(MODEL_SPECS))
def test_every_model_states_what_it_takes(name):
    spec = MODEL_SPECS[name]
    for word in (spec.title, spec.summary, spec.licence, spec.citation):
        assert word.strip()
    assert spec.links
    for modality in spec.modalities:
        model = unwrap_or_raise(find_model(ModelChoice(name, modality=modality)))
        assert model.bands
        assert len({common_name(band) for band in model.bands}) == len(model.bands)
        assert set(model.units) <= set(MEANINGS)
    for alias in (spec.id, *spec.aliases):
        assert unwrap_or_raise(find_model(f" {alias.upper()} ")).id == spec.id
    found = {role: function(spec, role) for role in ROLES}
    assert all(one is None or callable(one) for one in found.values())
    assert found["prepare"]
    assert found["forward"] or found["encode"]


def test_the_list_of_families_is_sorted_and_whole():
    """A file that is not in the list would be a model that no one finds."""
    folder = Path(families.__file__).parent
    there = {
        path.stem
        for path in folder.glob("*.py")
        if re.search(r"^SPECS? = ", path.read_text("utf-8"), re.M)
    }
    assert list(families.FAMILIES) == sorted(families.FAMILIES)
    assert set(families.FAMILIES) == there
