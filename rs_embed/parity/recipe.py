"""Weights and inputs made from names alone, so that a fixture of a few kilobytes fixes them all.

Anyone who follows the recipe gets the same numbers to the last bit: unsigned 64-bit arithmetic that
wraps, and one rounding to float32.
"""

from __future__ import annotations

import math
import zlib

import numpy as np

PERIOD = 1_048_573
"""Values before the sequence starts again; prime, so that no tensor's rows line up with it."""


def uniform(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """float32 in [-1, 1) of a shape: splitmix64 keyed by the CRC-32 of a name."""
    size = math.prod(shape)
    state = np.arange(min(size, PERIOD), dtype=np.uint64)
    with np.errstate(over="ignore"):
        state += np.uint64(zlib.crc32(name.encode()) << 32)
        state = (state + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    values = (state >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)
    return np.resize(values, shape)


def weight(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The float32 value of a floating-point entry of a state dict, by its published key.

    With u uniform in [-1, 1): scales of norms and variances (``weight`` and ``running_var`` of at
    most one dimension) are 1 + 0.1 u; other entries of at most one dimension 0.1 u; kernels
    (``weight`` of more) sqrt(3 / fan-in) u; whatever else 0.2 u.
    """
    u = uniform(key, shape)
    last = key.rpartition(".")[2]
    if len(shape) < 2:
        centre = 1 if last in ("weight", "running_var") else 0
        return np.asarray(np.float32(0.1) * u + np.float32(centre), dtype=np.float32)
    if last.endswith("weight"):
        fan_in = max(1, math.prod(shape[1:]))
        return np.asarray(np.float32(np.sqrt(3.0 / fan_in)) * u, dtype=np.float32)
    return np.asarray(np.float32(0.2) * u, dtype=np.float32)


def array(name: str, shape: tuple[int, ...], low: float = -1.0, high: float = 1.0) -> np.ndarray:
    """A float32 input, uniform in [low, high), from its name."""
    u = uniform(name, shape).astype(np.float64)
    return np.asarray(low + (u + 1.0) * 0.5 * (high - low), dtype=np.float32)
