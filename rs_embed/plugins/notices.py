"""Warnings, said at the line that called this package; most of them once in a process."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Hashable
from types import FrameType

_SAID: set[Hashable] = set()
# What may stand between a caller's line and ours.
_INSIDE = ("rs_embed", "returns", "contextlib", "concurrent", "typer", "click")


class RsEmbedWarning(UserWarning):
    """Something was decided that changes the numbers; the message says what and why."""


def warn_once(key: Hashable, message: str, category: type[Warning] = RsEmbedWarning) -> None:
    """Warn unless something was said under this key before.

    A warning that the caller's filters turn into an error was not said: it is raised each time.
    """
    if key in _SAID:
        return
    warn_caller(message, category)
    _SAID.add(key)


def warn_caller(message: str, category: type[Warning] = RsEmbedWarning) -> None:
    """Warn at the line that called this package, each time."""
    warnings.warn(message, category, stacklevel=_callers_level())


def forget() -> None:
    """Say everything anew; for tests."""
    _SAID.clear()


def _callers_level() -> int:
    """How far above `warn_caller` the first frame is that is none of ours; ours where none is."""
    frame: FrameType | None = sys._getframe(1)
    level = 1
    while frame is not None:
        if str(frame.f_globals.get("__name__")).partition(".")[0] not in _INSIDE:
            return level
        frame, level = frame.f_back, level + 1
    return 1
