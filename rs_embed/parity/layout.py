"""Arrays from one order of axes to another, written as letters: ``"bhwtc->btchw"``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from rs_embed.core.errors import ModelError


def arrange(array: np.ndarray, pattern: str, sizes: Mapping[str, int] | None = None) -> np.ndarray:
    """An array in another order of axes.

    A letter an axis; ``(thw)`` is one axis that holds several, the last fastest. What stands only
    on the left is averaged over, what stands only on the right has length 1.

    Parameters
    ----------
    array : ndarray
    pattern : str
        ``"before->after"``; ``after`` has no brackets.
    sizes : mapping, optional
        Lengths of letters inside brackets; one of each bracket may be left out.

    Raises
    ------
    ModelError
        Where the pattern does not fit the array.
    """
    before, _, after = pattern.partition("->")
    axes = [part.strip("()") for part in re.findall(r"\(\w+\)|\w", before)]
    if len(axes) != array.ndim:
        raise ModelError(f"the layout {pattern!r} is not that of an array of shape {array.shape}")
    known = dict(sizes or {})
    shape = [
        size
        for letters, length in zip(axes, array.shape, strict=True)
        for size in _lengths(letters, length, known, pattern)
    ]
    opened, letters = array.reshape(shape), list("".join(axes))
    gone = tuple(i for i, letter in enumerate(letters) if letter not in after)
    kept = [letter for letter in letters if letter in after]
    if gone:
        opened = opened.mean(axis=gone)
    for letter in after:
        if letter not in kept:
            opened, kept = opened[None], [letter, *kept]
    return opened.transpose([kept.index(letter) for letter in after])


def after_sizes(pattern: str, shape: Sequence[int]) -> dict[str, int]:
    """The lengths that a wanted shape gives the letters of a pattern's right side."""
    after = pattern.partition("->")[2]
    return dict(zip(after, shape, strict=True)) if len(after) == len(shape) else {}


def _lengths(letters: str, length: int, sizes: Mapping[str, int], pattern: str) -> list[int]:
    if len(letters) == 1:
        return [length]
    open_ones = [letter for letter in letters if letter not in sizes]
    told = int(np.prod([sizes[letter] for letter in letters if letter in sizes]))
    if len(open_ones) > 1 or length % told or (not open_ones and told != length):
        raise ModelError(f"an axis of length {length} is not ({letters}) of {pattern!r}: {sizes}")
    return [sizes.get(letter, length // told) for letter in letters]
