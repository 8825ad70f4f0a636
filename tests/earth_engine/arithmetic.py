"""Algorithms that compute pixel by pixel: arithmetic, comparisons, logic, casts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from . import images
from .functions import algorithm
from .images import Band, Image, Pixels, Target

Pair = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _union(a: str, b: str) -> str:
    """The type of sums and products; small integers widen so that they cannot wrap."""
    kind = np.result_type(a, b)
    return str(np.result_type(kind, "int32")) if kind.kind in "iub" else str(kind)


def _real(a: str, b: str) -> str:
    """The type of a quotient: float for integers."""
    kind = np.result_type(a, b)
    return "float32" if kind.kind in "iub" else str(kind)


def _truth(a: str, b: str) -> str:
    return "uint8"


def wide(function: Callable[..., np.ndarray]) -> Pair:
    """In double precision, whatever the inputs."""

    def apply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return function(a.astype("float64"), b.astype("float64"))

    return apply


def _whole(function: Callable[..., np.ndarray]) -> Pair:
    def apply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return function(a.astype("int64"), b.astype("int64"))

    return apply


def quotient(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape), where=b != 0)


_BINARY: dict[str, tuple[Pair, Callable[[str, str], str]]] = {
    "add": (wide(np.add), _union),
    "subtract": (wide(np.subtract), _union),
    "multiply": (wide(np.multiply), _union),
    "divide": (wide(quotient), _real),
    "mod": (wide(np.fmod), _union),
    "pow": (wide(np.power), lambda a, b: "float64"),
    "max": (wide(np.maximum), _union),
    "min": (wide(np.minimum), _union),
    "hypot": (wide(np.hypot), lambda a, b: "float64"),
    "atan2": (wide(np.arctan2), lambda a, b: "float64"),
    "eq": (np.equal, _truth),
    "neq": (np.not_equal, _truth),
    "lt": (np.less, _truth),
    "lte": (np.less_equal, _truth),
    "gt": (np.greater, _truth),
    "gte": (np.greater_equal, _truth),
    "and": (lambda a, b: (a != 0) & (b != 0), _truth),
    "or": (lambda a, b: (a != 0) | (b != 0), _truth),
    "bitwiseAnd": (_whole(np.bitwise_and), _union),
    "bitwiseOr": (_whole(np.bitwise_or), _union),
    "bitwiseXor": (_whole(np.bitwise_xor), _union),
    "leftShift": (_whole(np.left_shift), _union),
    "rightShift": (_whole(np.right_shift), _union),
}
_OLD_SPELLING = {
    "bitwiseAnd": "bitwise_and",
    "bitwiseOr": "bitwise_or",
    "bitwiseXor": "bitwise_xor",
    "leftShift": "left_shift",
    "rightShift": "right_shift",
}


def _binary(name: str, function: Pair, dtype: Callable[[str, str], str]) -> Callable[..., Image]:
    def call(image1: Image, image2: Image) -> Image:
        return images.binary(f"Image.{name}", image1, image2, function, dtype)

    return call


for _name, (_function, _dtype) in _BINARY.items():
    algorithm(f"Image.{_name}", f"Image.{_OLD_SPELLING.get(_name, _name)}")(
        _binary(_name, _function, _dtype)
    )

_REAL_UNARY: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "log": np.log,
    "log10": np.log10,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "cbrt": np.cbrt,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
}
_SAME_UNARY: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "abs": np.abs,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": lambda v: np.floor(v + 0.5),
    "signum": np.sign,
}


def _unary(function: Callable[[np.ndarray], np.ndarray], dtype: str | None) -> Callable[..., Image]:
    def call(value: Image) -> Image:
        def one(band: Band) -> Band:
            kind = dtype or band.dtype

            def pixels(pair: Pixels, _: Target) -> Pixels:
                return images.finite(function(pair.values.astype("float64")), pair.mask, kind)

            return band.mapped(pixels, kind)

        return replace(value, bands=tuple(one(band) for band in value.bands))

    return call


for _name, _same in _SAME_UNARY.items():
    algorithm(f"Image.{_name}")(_unary(_same, None))
for _name, _same in _REAL_UNARY.items():
    algorithm(f"Image.{_name}")(_unary(_same, "float64"))
algorithm("Image.not")(_unary(lambda v: v == 0, "uint8"))

_CASTS = {
    "uint8": ("byte", "uint8"),
    "int8": ("int8",),
    "uint16": ("uint16",),
    "int16": ("short", "int16"),
    "uint32": ("uint32",),
    "int32": ("int", "int32"),
    "int64": ("long", "int64"),
    "float32": ("float",),
    "float64": ("double",),
}


def cast(image: Image, dtype: str) -> Image:
    """Values in another type; to integers they are cut towards zero and held in range."""
    kind = np.dtype(dtype)

    def pixels(pair: Pixels, _: Target) -> Pixels:
        if kind.kind == "f" or np.can_cast(pair.values.dtype, kind):
            return Pixels(pair.values.astype(kind, copy=False), pair.mask)
        limits = np.iinfo(kind)
        return Pixels(
            np.clip(np.trunc(pair.values), limits.min, limits.max).astype(kind), pair.mask
        )

    return image.each(pixels, dtype)


def _cast(dtype: str) -> Callable[..., Image]:
    return lambda value: cast(value, dtype)


for _dtype_name, _names in _CASTS.items():
    for _name in _names:
        algorithm(f"Image.{_name}", f"Image.to{_name.capitalize()}")(_cast(_dtype_name))
