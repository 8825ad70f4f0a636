"""A look at values while they are read: what cannot be becomes NaN, what is odd is told."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rs_embed.core.units import NEVER_AVERAGED, linear_map, linearly_convertible

# A number beyond this is a fill or a fault: no quantity that is measured is as large.
BEYOND = 1e30
# Numbers that stand for "missing" in many products, where nobody declared them.
_FILLS = (-999.0, -9999.0, -32768.0, 65535.0)
# By units: every value below the first, or more than _SHARE of them above the second, is odd.
_LIMITS: Mapping[str, tuple[float, float]] = {
    "reflectance": (0.01, 1.6),
    "uint8": (1.01, 255.0),
    "kelvin": (100.0, 500.0),
    "probability": (0.0, 1.0001),
}
_SHARE = 0.01
_SHARE_BELOW_ZERO = 0.2


@dataclass
class _Counts:
    """What was seen of the bands of one unit."""

    values: int = 0
    above: int = 0
    below_zero: int = 0
    largest: float = -np.inf
    pixels: int = 0
    zero_pixels: int = 0


class ValueLook:
    """Looks at ``(T, C, h, w)`` values on their way, part by part, from any thread.

    Parameters
    ----------
    units : sequence of str
        Along C. Classes, and layers of undeclared units, are not looked at.
    """

    def __init__(self, units: Sequence[str]) -> None:
        self._groups: dict[str, list[int]] = {}
        for i, unit in enumerate(units):
            if unit not in NEVER_AVERAGED:
                self._groups.setdefault(unit, []).append(i)
        self._count = len(units)
        self._found = {unit: _Counts() for unit in self._groups}
        self._beyond = False
        self._fills: set[float] = set()
        self._lock = threading.Lock()

    def see(self, values: np.ndarray) -> np.ndarray:
        """The values, NaN where one is infinite or beyond `BEYOND`; the same array if none is."""
        beyond = np.abs(values) > BEYOND
        odd = bool(beyond.any())
        clean = np.where(beyond, np.float32(np.nan), values) if odd else values
        for unit, bands in self._groups.items():
            part = clean if len(bands) == self._count else clean[:, bands]
            with self._lock:
                self._beyond |= odd
                self._note(unit, part)
        return clean

    def _note(self, unit: str, part: np.ndarray) -> None:
        if not part.size:
            return
        low, high = float(np.fmin.reduce(part, axis=None)), float(np.fmax.reduce(part, axis=None))
        if np.isnan(high):
            return
        counts = self._found[unit]
        for fill in _FILLS:
            if low <= fill <= high and (part == fill).any():
                self._fills.add(fill)
        counts.values += part.size - int(np.isnan(part).sum())
        counts.largest = max(counts.largest, high)
        limits, zero = _limits(unit), _zero(unit)
        if limits is not None and high > limits[1]:
            counts.above += int((part > limits[1]).sum())
        if zero is not None:
            if low < zero:
                counts.below_zero += int((part < zero).sum())
            counts.pixels += int(np.isfinite(part).any(axis=1).sum())
            if low <= zero <= high:
                counts.zero_pixels += int((part == zero).all(axis=1).sum())

    def problems(self) -> tuple[str, ...]:
        """What was odd, in words that do not depend on how the values were read."""
        said = []
        if self._beyond:
            said.append(
                "some values are infinite, or beyond 1e30 like a fill that nobody declared; they "
                "are taken as missing: declare it with da.rio.write_nodata(...)"
            )
        if self._fills:
            listed = ", ".join(f"{fill:g}" for fill in sorted(self._fills))
            said.append(
                f"some values are {listed}, which stand for missing pixels in many products; if "
                "here too, declare it with da.rio.write_nodata(...)"
            )
        for unit, counts in self._found.items():
            said += _odd(unit, counts)
        return tuple(said)


def _odd(unit: str, counts: _Counts) -> list[str]:
    limits = _limits(unit)
    if limits is None or not counts.values:
        return []
    said = []
    what = "reflectance" if _zero(unit) is not None else "value"
    if counts.largest < limits[0]:
        said.append(
            f"every {what} is below {_shown(unit, limits[0])} as {unit} (at most "
            f"{counts.largest:.4g}); check the units and whether a scale was applied twice"
        )
    if counts.above > _SHARE * counts.values:
        said.append(
            f"more than 1 % of the values lie above {limits[1]:.6g}, what {unit} can be (up to "
            f"{counts.largest:.4g}); check the units and whether a scale is still to be applied"
        )
    if counts.below_zero > _SHARE_BELOW_ZERO * counts.values:
        said.append(
            f"more than a fifth of the reflectances are below 0 as {unit}; check whether the "
            "offset of 1000 was taken off twice"
        )
    if counts.zero_pixels > _SHARE * counts.pixels:
        said.append(
            "more than 1 % of the pixels are 0 in every band, as beyond a swath; if they are "
            "missing, declare it with da.rio.write_nodata(0)"
        )
    return said


def _shown(unit: str, limit: float) -> str:
    return "0.01" if _zero(unit) is not None else f"{limit:g}"


def _limits(unit: str) -> tuple[float, float] | None:
    """Limits in a unit's own numbers."""
    if unit in _LIMITS:
        return _LIMITS[unit]
    if not linearly_convertible("reflectance", unit):
        return None
    factor, shift = linear_map("reflectance", unit)
    low, high = _LIMITS["reflectance"]
    return low * factor + shift, high * factor + shift


def _zero(unit: str) -> float | None:
    """The number of no reflectance, for units of reflectance."""
    if not linearly_convertible("reflectance", unit):
        return None
    return linear_map("reflectance", unit)[1]
