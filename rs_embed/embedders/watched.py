"""A call of the hub's client in a thread of its own, left alone once it brings nothing more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, cast

_LOOK_S = 0.1  # how often a wait looks up, so that an interrupt ends it


class Watched:
    """One call, begun at once, that tells its progress through a bar of the client's own kind.

    A thread cannot be stopped from outside. One that is left ends at its next byte, or when its
    own connection does.

    Parameters
    ----------
    call : callable
        Given the class of bar to show progress with; what it returns is the result.
    """

    def __init__(self, call: Callable[[type], Any]) -> None:
        self._last = time.monotonic()
        self._left = False
        self._answer: list[Any] = []
        self._error: list[BaseException] = []
        self._done = threading.Event()
        self._call = call
        threading.Thread(target=self._run, name="rs_embed-hub", daemon=True).start()

    def result(self, silence_s: float) -> Any:
        """What the call returned, or raised; TimeoutError after so many seconds without a byte."""
        try:
            while not self._done.wait(_LOOK_S):
                if time.monotonic() - self._last > silence_s:
                    raise TimeoutError(f"timed out: no byte in {silence_s:g} s")
        finally:
            self._left = True
        if self._error:
            raise self._error[0]
        return self._answer[0]

    def _run(self) -> None:
        try:
            self._answer.append(self._call(self._bar()))
        except BaseException as error:
            self._error.append(error)
        finally:
            self._done.set()

    def _bar(self) -> type:
        from huggingface_hub import utils

        watch = self
        plain: type = cast(Any, utils).tqdm

        class Bar(plain):  # type: ignore[misc]
            """The client's bar, which notes when something came."""

            def update(self, n: float | None = 1) -> Any:
                if watch._left:
                    raise TimeoutError("nobody waits for this download any more")
                if n:
                    watch._last = time.monotonic()
                return super().update(n)

        return Bar
