"""An interrupt that no library swallows: noted by our own handler, and asked for on the way.

Readers of netCDF run callbacks in which a KeyboardInterrupt is lost. It is raised once more by the
next step of the progress, and the exit code says it at the end.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

_CAME = threading.Event()


def watch() -> None:
    """Take the interrupts of this process; nothing where another thread runs the command."""
    _CAME.clear()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _noted)


def came() -> bool:
    """Whether there was one."""
    return _CAME.is_set()


def check() -> None:
    """KeyboardInterrupt where there was one, whoever swallowed the first."""
    if _CAME.is_set():
        raise KeyboardInterrupt


def _noted(_: int, frame: FrameType | None) -> None:
    _CAME.set()
    raise KeyboardInterrupt
