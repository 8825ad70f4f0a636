"""What a model gives: tokens by name, and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a batch of windows, by name.

    Parameters
    ----------
    grid : ndarray
        ``(B, h, w, D)`` float32, the spatial tokens after the final norm, row-major, north-up;
        time and channel groups already averaged as the authors do.
    image : ndarray or None
        ``(B, D')`` the authors' own image-level vector (class token, projection), if any.
    """

    grid: np.ndarray
    image: np.ndarray | None = None
