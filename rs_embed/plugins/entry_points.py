"""What installed packages offer: their entry points, loaded and taken in one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from returns.result import Failure, Success

from rs_embed.core.errors import RsEmbedError
from rs_embed.core.result import Outcome, caused


def load_entry_points(
    group: str,
    what: str,
    error: type[RsEmbedError],
    take: Callable[[str, Any], Outcome[Any]],
) -> Iterator[tuple[str, str]]:
    """Hand every entry point of a group to ``take(name, found)``.

    Yields (name, problem) of each that cannot be loaded or taken; the others are not held up.
    """
    for entry in entry_points(group=group):
        outcome = _loaded(entry, what, error).bind(partial(take, entry.name))
        if isinstance(outcome, Failure):
            yield entry.name, str(outcome.failure())


def _loaded(entry: EntryPoint, what: str, error: type[RsEmbedError]) -> Outcome[Any]:
    try:
        return Success(entry.load())
    except Exception as problem:  # another's package can fail in any way
        text = f"the {what} {entry.name!r} ({entry.value}) cannot be loaded: {problem}"
        return Failure(caused(error(text), by=problem))
