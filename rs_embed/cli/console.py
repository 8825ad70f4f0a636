"""What a person sees: results on standard output, everything else on standard error."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from rs_embed.cli import interrupts

if TYPE_CHECKING:
    from rs_embed.pipeline.options import Progress as Report

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

SHELL_WORDS = {
    "temporal": "--start and --end",
    "bands": "--bands WANTED=HAVE",
    "units": "--units",
    "crs": "--crs",
    "weights": "--weights",
    "source": "--source",
    "overlap": "--overlap",
    "device": "--device",
    "options": "--option NAME=VALUE",
    "overwrite": "--overwrite",
}
"""Keywords of the functions, which errors name, and what they are called here."""


@contextmanager
def progress(label: str) -> Iterator[Report | None]:
    """A bar of windows on a terminal; elsewhere only a look for interrupts, window by window."""
    if not err.is_terminal:
        yield lambda done, total: interrupts.check()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("windows"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(label, total=None)

        def report(done: int, total: int) -> None:
            interrupts.check()
            bar.update(task, completed=done, total=total)

        yield report


@contextmanager
def busy(label: str) -> Iterator[None]:
    """A turning sign on a terminal while something without steps runs."""
    if not err.is_terminal:
        yield
        return
    with err.status(label):
        yield


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows under their heads: aligned on a terminal, separated by tabs in a pipe."""
    if not out.is_terminal:
        for row in (head, *rows):
            say("\t".join(row))
        return
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for i, title in enumerate(head):
        # Wide enough for every word with its comma, so that no name is broken.
        words = [word for row in rows for word in row[i].split()]
        least = max(map(len, [title, *words]), default=0) if i < 2 else len(title)
        drawn.add_column(
            title, overflow="fold", no_wrap=i == 0, min_width=least, style="bold" * (i == 0)
        )
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    out.print(drawn)


def facts(pairs: Sequence[tuple[str, str]]) -> None:
    """Named facts, a line each; on a terminal long ones wrap beside their name."""
    if not out.is_terminal:
        for name, value in pairs:
            say(f"{name:<12}{value}".rstrip())
        return
    drawn = Table.grid(padding=(0, 2))
    drawn.add_column(style="bold", no_wrap=True)
    drawn.add_column(overflow="fold")
    for name, value in pairs:
        drawn.add_row(name, Text(value))
    out.print(drawn)


def say(text: str) -> None:
    """A line of the result; in a pipe to the letter, tabs included."""
    if out.is_terminal:
        out.print(text, markup=False)
    else:
        print(text)


def note(text: str) -> None:
    """A line beside the result."""
    err.print(text, markup=False, style="dim")


def fail(text: str) -> None:
    """The one line of an error; remedies that name keywords are told in words of the shell too."""
    message = " ".join(text.split())
    words = [word for keyword, word in SHELL_WORDS.items() if f"{keyword}=" in message]
    said = f" (in a shell: {', '.join(words)})" if words else ""
    err.print(f"error: {message}{said}", markup=False, style="red")


def show_warnings() -> None:
    """Warnings as one plain line each, without the code that raised them."""

    def line(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        err.print(f"note: {' '.join(str(message).split())}", markup=False, style="yellow")

    warnings.showwarning = line
