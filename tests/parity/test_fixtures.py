"""Our numbers are the official ones, for every fixture of every model in the catalogue."""

from __future__ import annotations

import gc

from rs_embed.parity import Case, compare


def test_agrees_with_the_official_implementation(parity_case: Case, record_comparisons) -> None:
    comparisons = compare(parity_case.path)
    gc.collect()  # one network at a time: full-size ones take gigabytes
    record_comparisons(comparisons)
    assert {one.name for one in comparisons} == set(parity_case.outputs)
    failed = [one for one in comparisons if not one.passed]
    assert not failed, failed
