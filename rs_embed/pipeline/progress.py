"""Bars of an export: one for all places, one a model; on a terminal or in a notebook alone."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any


class ExportProgress:
    """Counts places written and windows of work done by model; draws where someone looks."""

    def __init__(self, places: int, labels: Sequence[str], show: bool) -> None:
        self._places, self._labels, self._show = places, labels, show
        self._bar: Any = None
        self._tasks: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> ExportProgress:
        if self._show and (sys.stderr.isatty() or _in_notebook()):
            self._bar = _bars()
            self._bar.start()
            self._tasks[""] = self._bar.add_task("places", total=self._places)
            for label in self._labels:
                self._tasks[label] = self._bar.add_task(f"  {label}", total=self._places)
        return self

    def ran(self, label: str) -> None:
        """One more place of a model is done."""
        self._advance(label)

    def wrote(self) -> None:
        """One more place is written."""
        self._advance("")

    def _advance(self, name: str) -> None:
        if self._bar is not None:
            with self._lock:
                self._bar.advance(self._tasks[name])

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _bars() -> Any:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class _Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text("" if task.speed is None else f"{task.speed:.1f}/s")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=not _in_notebook()))


def _in_notebook() -> bool:
    """Whether a notebook's kernel runs this process."""
    kernel = sys.modules.get("ipykernel")
    if kernel is None:
        return False
    from IPython import get_ipython  # type: ignore[import-not-found, unused-ignore]

    return type(get_ipython()).__name__ == "ZMQInteractiveShell"
