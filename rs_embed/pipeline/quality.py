"""How good a patch is: numbers for people and programs, as plain JSON data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rs_embed.core.values import ValueLook

# What reflectance and display values can be at all; other units have no range of their own.
PLAUSIBLE: Mapping[str, tuple[float, float]] = {
    "reflectance": (0.0, 2.0),
    "reflectance_x10000": (0.0, 20000.0),
    "s2_dn_offset1000": (0.0, 21000.0),
    "uint8": (0.0, 255.0),
    "db": (-60.0, 40.0),
    "linear": (0.0, 10000.0),
    "kelvin": (150.0, 400.0),
    "probability": (0.0, 1.0),
    "percent": (0.0, 100.0),
}
# Elevation, decibels or a class may well be 0; sunlight is always reflected.
_FILL_IS_MISSING = ("reflectance", "reflectance_x10000", "s2_dn_offset1000")
PERCENTILES = (2, 25, 50, 75, 98)
# More of a band than this missing, outside its range, or at its upper end is a problem.
MAX_MISSING = 0.5
MAX_OUTSIDE = 0.05
MAX_SATURATED = 0.1


@dataclass(frozen=True, slots=True)
class Quality:
    """What was found in a patch.

    Parameters
    ----------
    report : dict
        JSON data: shape, dtype, fractions, and each band's statistics.
    problems : tuple of str
        What makes the patch unfit, in words.
    warnings : tuple of str
        What is odd, but may be true.
    """

    report: dict[str, Any]
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether nothing makes the patch unfit."""
        return not self.problems


def check_pixels(
    pixels: np.ndarray,
    bands: Sequence[str],
    units: Sequence[str],
    *,
    fill_value: float | None = None,
    value_range: tuple[float, float] | None = None,
) -> Quality:
    """Statistics and a verdict for ``(T, C, H, W)`` pixels, NaN where one is missing.

    Parameters
    ----------
    bands, units : sequence of str
        Along C.
    fill_value : float, optional
        Counted; and missing like NaN where units are of reflectance, which no surface has none of.
    value_range : (float, float), optional
        What values should lie in; None takes what the units allow, where they do.

    A patch is unfit where a band has no valid pixel, misses more than half of them, has more than
    5 % of its values outside the range, or more than 10 % at its upper end (saturated); and where
    its values are what `core.values.ValueLook` calls odd.
    """
    found = [
        _band(
            pixels[:, i], name, unit, fill_value,
            value_range or PLAUSIBLE.get(unit), value_range is not None,
        )
        for i, (name, unit) in enumerate(zip(bands, units, strict=True))
    ]  # fmt: skip
    nan = np.isnan(pixels)
    report = {
        "shape": [int(n) for n in (pixels.shape[1:] if len(pixels) == 1 else pixels.shape)],
        "dtype": str(pixels.dtype),
        "nan_fraction": float(nan.mean()),
        "fill_fraction": _share(pixels == fill_value) if fill_value is not None else 0.0,
        "fill_value": None if fill_value is None or np.isnan(fill_value) else float(fill_value),
        "valid_fraction": float((~nan).any(axis=1).mean()),
        "bands": [band for band, _, _ in found],
    }
    look = ValueLook(units)
    look.see(pixels if fill_value is None else np.where(pixels == fill_value, np.nan, pixels))
    problems = (*(text for _, problem, _ in found for text in problem), *look.problems())
    warnings = tuple(text for _, _, warning in found for text in warning)
    return Quality(report, problems, warnings)


def _band(
    values: np.ndarray,
    name: str,
    unit: str,
    fill_value: float | None,
    limits: tuple[float, float] | None,
    given: bool,
) -> tuple[dict[str, Any], list[str], list[str]]:
    """One band's entry of the report, its problems and warnings."""
    nan = np.isnan(values)
    filled = np.zeros_like(nan) if fill_value is None else values == fill_value
    void = filled if unit in _FILL_IS_MISSING else np.zeros_like(nan)
    valid = values[~void & np.isfinite(values)].astype(np.float64)
    entry: dict[str, Any] = {
        "name": name, "units": unit, "nan_fraction": _share(nan), "fill_fraction": _share(filled),
        **_statistics(valid),
    }  # fmt: skip
    missing = 1 - valid.size / max(1, values.size)
    verdict, problems = _range_verdict(valid, name, limits, given)
    entry["value_range"] = verdict
    entry["saturated_fraction"] = verdict["at_top"] if verdict else 0.0
    if not valid.size:
        problems.insert(0, f"band {name} has no valid pixel")
    elif missing > MAX_MISSING:
        problems.insert(0, f"band {name} misses {missing:.0%} of its pixels")
    odd = []
    if valid.size > 1 and valid.min() == valid.max():
        odd.append(f"band {name} is {valid[0]:g} everywhere")
    return entry, problems, odd


def _statistics(valid: np.ndarray) -> dict[str, Any]:
    names = ("min", "max", "mean", "std")
    if not valid.size:
        return {**dict.fromkeys(names), "percentiles": {str(p): None for p in PERCENTILES}}
    numbers = (valid.min(), valid.max(), valid.mean(), valid.std())
    shares = np.percentile(valid, PERCENTILES)
    return {
        **{name: float(number) for name, number in zip(names, numbers, strict=True)},
        "percentiles": {str(p): float(v) for p, v in zip(PERCENTILES, shares, strict=True)},
    }


def _range_verdict(
    valid: np.ndarray, name: str, limits: tuple[float, float] | None, given: bool
) -> tuple[dict[str, Any] | None, list[str]]:
    if limits is None or not valid.size:
        return None, []
    low, high = (float(limit) for limit in limits)
    below, above, top = (_share(part) for part in (valid < low, valid > high, valid >= high))
    verdict = {
        "low": low, "high": high, "given": given,
        "below": below, "above": above, "at_top": top,
        "ok": below + above <= MAX_OUTSIDE and top <= MAX_SATURATED,
    }  # fmt: skip
    problems = []
    if below + above > MAX_OUTSIDE:
        problems.append(
            f"{below + above:.0%} of band {name} lies outside {low:g}..{high:g} "
            f"({'value_range' if given else 'what its units allow'})"
        )
    elif top > MAX_SATURATED:
        problems.append(f"{top:.0%} of band {name} is saturated at {high:g}")
    return verdict, problems


def _share(mask: np.ndarray) -> float:
    return float(mask.mean()) if mask.size else 0.0


def quicklook(pixels: np.ndarray) -> np.ndarray:
    """``(C, H, W)`` of one or three bands as ``(H, W, C + 1)`` uint8: stretched, with alpha.

    Each band from its 2nd to its 98th percentile; pixels missing in any band are transparent.
    """
    there = np.isfinite(pixels).all(axis=0)
    out = np.zeros((*pixels.shape[1:], len(pixels) + 1), dtype=np.uint8)
    out[..., -1] = np.where(there, 255, 0)
    for i, band in enumerate(pixels):
        if there.any():
            low, high = np.percentile(band[there], (2, 98))
            span = high - low if high > low else 1.0
            shown = np.clip((np.where(there, band, low) - low) / span, 0, 1)
            out[..., i] = (shown * 255 + 0.5).astype(np.uint8)
    return out
