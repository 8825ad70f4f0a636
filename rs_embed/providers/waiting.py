"""Waits that end: at their time, or when the caller interrupts.

Python tells an interrupt to the main thread alone. Waits in other threads look at a flag, which
`interrupt` raises for all that are under way; those begun afterwards have a flag of their own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

_LOOK_S = 0.1
_FLAG = [threading.Event()]


class InterruptedWaitError(Exception):
    """What was waited for is not wanted any more."""


def flag() -> threading.Event:
    """The flag that an interrupt from now on raises."""
    return _FLAG[0]


def interrupt() -> None:
    """End every wait that is under way, in whatever thread."""
    raised, _FLAG[0] = _FLAG[0], threading.Event()
    raised.set()


@contextmanager
def threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """A pool whose work ends at once where the block is left by an error or an interrupt."""
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        interrupt()
        raise
    pool.shutdown()


@contextmanager
def slot(places: threading.Semaphore, stop: threading.Event) -> Iterator[float]:
    """One of so many places at a time; gives the seconds that it was waited for."""
    began = time.monotonic()
    while not places.acquire(timeout=_LOOK_S):
        if stop.is_set():
            raise InterruptedWaitError
    try:
        yield time.monotonic() - began
    finally:
        places.release()


def pause(seconds: float, stop: threading.Event) -> None:
    """Wait, or InterruptedWaitError."""
    if stop.wait(seconds):
        raise InterruptedWaitError


def bounded(call: Callable[[], T], seconds: float, stop: threading.Event) -> T:
    """What ``call`` gives within so many seconds, else TimeoutError, whatever it is doing.

    It runs in a thread of its own, which is left alone when time is up.
    """
    answer: list[T] = []
    error: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            answer.append(call())
        except BaseException as raised:
            error.append(raised)
        finally:
            done.set()

    end = time.monotonic() + seconds
    threading.Thread(target=run, name="rs_embed-request", daemon=True).start()
    while not done.wait(min(_LOOK_S, max(0.0, end - time.monotonic()))):
        if stop.is_set():
            raise InterruptedWaitError
        if time.monotonic() >= end:
            raise TimeoutError(f"no complete answer within {seconds:g} s")
    if error:
        raise error[0]
    return answer[0]
