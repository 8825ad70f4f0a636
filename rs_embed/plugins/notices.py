"""Warnings that are said once in a process."""

from __future__ import annotations

import warnings
from collections.abc import Hashable

_SAID: set[Hashable] = set()


class RsEmbedWarning(UserWarning):
    """Something was decided that changes the numbers; the message says what and why."""


def warn_once(key: Hashable, message: str) -> None:
    """Warn unless something was said under this key before."""
    if key in _SAID:
        return
    _SAID.add(key)
    warnings.warn(message, RsEmbedWarning, stacklevel=3)


def forget() -> None:
    """Say everything anew; for tests."""
    _SAID.clear()
