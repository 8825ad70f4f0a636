"""Units of pixel values: declared, never guessed, and the conversions between them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from returns.result import Failure, Success

from rs_embed.core.errors import SpecError
from rs_embed.core.result import Outcome

MEANINGS: Mapping[str, str] = {
    "reflectance": "reflectance, 0..1",
    "reflectance_x10000": "reflectance times 10000, as Sentinel-2 products store it",
    "s2_dn_offset1000": "Sentinel-2 numbers since baseline 04.00: reflectance x 10000 + 1000",
    "landsat_c2_sr": "Landsat's Collection 2 surface reflectance as stored: "
    "(reflectance + 0.2) / 2.75e-5",
    "uint8": "display values, 0..255",
    "db": "radar backscatter, decibel",
    "linear": "radar backscatter, linear power",
    "kelvin": "temperature, kelvin",
    "celsius": "temperature, degrees Celsius",
    "metres": "height, metres",
    "degrees": "angle, degrees",
    "probability": "0..1",
    "percent": "0..100",
    "class": "class number",
    "1": "a plain number",
    "aef_int8": "annual satellite embedding as its files store it: sign(n) (n / 127.5)^2",
}
# Numbers that stand for no value wherever a band has these units.
MISSING_NUMBER: Mapping[str, float] = {
    "s2_dn_offset1000": 0.0,
    "landsat_c2_sr": 0.0,
    "aef_int8": -128.0,
}
# Units of which a mean means nothing: class numbers, and layers that nobody declared.
UNDECLARED = "undeclared"
NEVER_AVERAGED = ("class", UNDECLARED)
# value in the family's base unit = value * factor + offset
_AFFINE: Mapping[str, tuple[str, float, float]] = {
    "reflectance": ("reflectance", 1.0, 0.0),
    "reflectance_x10000": ("reflectance", 1e-4, 0.0),
    "s2_dn_offset1000": ("reflectance", 1e-4, -0.1),
    "landsat_c2_sr": ("reflectance", 2.75e-5, -0.2),
    "kelvin": ("kelvin", 1.0, 0.0),
    "celsius": ("kelvin", 1.0, 273.15),
    "probability": ("probability", 1.0, 0.0),
    "percent": ("probability", 0.01, 0.0),
}


def check_units(units: str) -> Outcome[str]:
    """The name itself, or Failure(SpecError) that lists the names there are."""
    if units in MEANINGS:
        return Success(units)
    listing = "; ".join(f"{name} ({meaning})" for name, meaning in MEANINGS.items())
    return Failure(SpecError(f"units {units!r} are not known; choose from: {listing}"))


def convertible(given: str, wanted: str) -> bool:
    """Whether one unit can become the other."""
    if given == wanted or {given, wanted} == {"db", "linear"}:
        return True
    if (given, wanted) == ("aef_int8", "1"):
        return True
    return given in _AFFINE and wanted in _AFFINE and _AFFINE[given][0] == _AFFINE[wanted][0]


def check_convertible(
    bands: tuple[str, ...], given: tuple[str, ...], wanted: tuple[str, ...]
) -> Outcome[None]:
    """Failure(SpecError) naming the first band whose units cannot become the model's."""
    for band, have, need in zip(bands, given, wanted, strict=True):
        if not convertible(have, need):
            return Failure(
                SpecError(
                    f"band {band} is in {have}, which cannot become {need} "
                    f"({MEANINGS.get(need, need)}); convert the array, or declare its true "
                    f"units with units="
                )
            )
    return Success(None)


def linear_map(given: str, wanted: str) -> tuple[float, float]:
    """``(factor, shift)`` with which ``value * factor + shift`` is in the wanted units.

    The two must be `convertible`, and not decibel and power.
    """
    if given == wanted:
        return 1.0, 0.0
    _, factor, offset = _AFFINE[given]
    _, back, shift = _AFFINE[wanted]
    return factor / back, (offset - shift) / back


def linearly_convertible(given: str, wanted: str) -> bool:
    """Whether `linear_map` leads from one unit to the other."""
    return given == wanted or (convertible(given, wanted) and given in _AFFINE)


def convert(values: np.ndarray, given: str, wanted: str) -> np.ndarray:
    """Values in other units, float32; NaN stays NaN, linear power <= 0 becomes NaN in decibel.

    The two units must be `convertible`. The same array comes back where nothing changes.
    """
    if given == wanted:
        return values
    if (given, wanted) == ("linear", "db"):
        positive = np.where(values > 0, values, np.nan)
        return (10 * np.log10(positive)).astype(np.float32)
    if (given, wanted) == ("db", "linear"):
        return np.power(10, values / 10, dtype=np.float64).astype(np.float32)
    if (given, wanted) == ("aef_int8", "1"):
        return np.asarray(np.sign(values) * (values / 127.5) ** 2, dtype=np.float32)
    factor, shift = linear_map(given, wanted)
    # In float64, so that whole numbers stay whole numbers.
    out = values.astype(np.float64) * factor + shift
    return out.astype(np.float32)
