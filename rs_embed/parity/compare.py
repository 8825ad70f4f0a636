"""How far our numbers are from the official ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rs_embed.parity.case import Case, Tolerance


@dataclass(frozen=True)
class Comparison:
    """One output of a fixture, ours against the official.

    Parameters
    ----------
    name : str
    shape_ok : bool
        False for another shape, and for an output that is missing.
    difference : float
        Largest absolute difference over the values kept and their mean and standard deviation.
    share : float
        Largest share of the tolerance that a difference takes; at most 1 passes.
    tolerance : Tolerance
    passed : bool
    """

    name: str
    shape_ok: bool
    difference: float
    share: float
    tolerance: Tolerance
    passed: bool


def compare_outputs(case: Case, results: Mapping[str, np.ndarray]) -> tuple[Comparison, ...]:
    """A `Comparison` for every output of the fixture; one that is missing has failed."""
    return tuple(
        _compare(name, results.get(name), expected, case.tolerance)
        for name, expected in case.outputs.items()
    )


def _compare(
    name: str, value: np.ndarray | None, expected: Mapping[str, Any], tolerance: Tolerance
) -> Comparison:
    if value is None or list(np.shape(value)) != list(expected["shape"]):
        return Comparison(name, False, np.inf, np.inf, tolerance, False)
    flat = np.asarray(value, dtype=np.float64).ravel()
    ours = np.array([flat.mean(), flat.std(), *flat[:: expected["stride"]]])
    theirs = np.array([expected["mean"], expected["std"], *expected["values"]], dtype=np.float64)
    if ours.shape != theirs.shape:
        return Comparison(name, False, np.inf, np.inf, tolerance, False)
    gap = np.abs(ours - theirs)
    # Missing on both sides agrees; on one side it does not, and no tolerance covers it.
    gap = np.where(np.isnan(ours) & np.isnan(theirs), 0.0, np.where(np.isnan(gap), np.inf, gap))
    allowed = tolerance.atol + tolerance.rtol * np.nan_to_num(np.abs(theirs))
    share = float((gap / allowed).max())
    return Comparison(name, True, float(gap.max()), share, tolerance, share <= 1)
