"""Errors as values: the one result type, and the one way out of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias, TypeVar

from returns.result import Failure, Result, Success

from rs_embed.core.errors import RsEmbedError

T = TypeVar("T")

Outcome: TypeAlias = Result[T, RsEmbedError]
"""A value, or the error that travels in its place."""


def unwrap_or_raise(outcome: Outcome[T]) -> T:
    """The value of a Success; a Failure raises the error that it carries.

    Called at boundaries only: the public functions, the accessors, ``validate()``.
    """
    if isinstance(outcome, Failure):
        raise outcome.failure()
    return outcome.unwrap()


def collect(outcomes: Iterable[Outcome[T]]) -> Outcome[tuple[T, ...]]:
    """All values in order, or the first Failure met (later outcomes are then not asked for)."""
    values: list[T] = []
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            return outcome
        values.append(outcome.unwrap())
    return Success(tuple(values))


def caused(error: RsEmbedError, by: BaseException) -> RsEmbedError:
    """The error with ``by`` as its cause, so that a traceback still shows the original."""
    error.__cause__ = by
    return error
