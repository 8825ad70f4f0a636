"""Threads that fetch and write: bounded, in order of asking, and never waited for once stopped."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


class Workers:
    """A few threads that run what they are given, the first first.

    They are daemons: a process that is interrupted does not wait for the requests in flight, as
    it would with a `concurrent.futures.ThreadPoolExecutor`. With a ``count`` of 0 there are none,
    and a task is run by whoever first asks for its result.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count, self._name = count, name
        self._tasks: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]
        self._tasks = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self.stopped = threading.Event()

    def submit(self, task: Callable[[], Any]) -> Future[Any]:
        """The future of a task; a thread is started for it where there are fewer than allowed."""
        if not self._count:
            return Later(task)
        future: Future[Any] = Future()
        self._tasks.put((future, task))
        if len(self._threads) < self._count:
            name = f"rs_embed-{self._name}-{len(self._threads)}"
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    def stop(self) -> None:
        """Drop what has not begun; what has begun ends on its own, and no one waits for it."""
        self.stopped.set()
        for _ in self._threads:
            self._tasks.put(None)

    def _run(self) -> None:
        while True:
            taken = self._tasks.get()
            if taken is None:
                return
            future, task = taken
            if self.stopped.is_set():
                future.cancel()
                continue
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = task()
            except BaseException as error:  # handed to whoever waits for it
                future.set_exception(error)
            else:
                future.set_result(result)
            del future, task, taken


class Later(Future[Any]):
    """A future whose task is run when its result is asked for, and once."""

    def __init__(self, task: Callable[[], Any]) -> None:
        super().__init__()
        self._task = task

    def result(self, timeout: float | None = None) -> Any:
        """The task's result, which is kept."""
        if not self.done():
            try:
                self.set_result(self._task())
            except Exception as error:
                self.set_exception(error)
        return super().result(timeout)
