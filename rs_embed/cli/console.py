"""What a person sees: results on standard output, everything else on standard error."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

Report = Callable[[int, int], None]


@contextmanager
def progress(label: str) -> Iterator[Report | None]:
    """A bar of windows on a terminal; None where standard error is not one."""
    if not err.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(label, total=None)

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield report


def say(text: str) -> None:
    """A line of the result."""
    out.print(text, markup=False)


def note(text: str) -> None:
    """A line beside the result."""
    err.print(text, markup=False, style="dim")


def fail(text: str) -> None:
    """The one line of an error."""
    message = " ".join(text.split())
    err.print(f"error: {message}", markup=False, style="red")


def show_warnings() -> None:
    """Warnings as one plain line each, without the code that raised them."""

    def line(
        message: Warning | str, category: type[Warning], *_: object, **__: object
    ) -> None:
        err.print(f"note: {' '.join(str(message).split())}", markup=False, style="yellow")

    warnings.showwarning = line  # type: ignore[assignment]
    sys.tracebacklimit = 20
