"""The errors that rs_embed raises: one root, one class per side that can mend it."""

from __future__ import annotations


class RsEmbedError(Exception):
    """Root of every error of rs_embed.

    Parameters
    ----------
    message : str
        What was given, what is allowed, and what to do next.
    transient : bool
        True if the same call may succeed later without any change (a rate limit, a dropped
        connection). Retries look at this flag and at nothing else.
    """

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.transient = transient

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.transient))


class SpecError(RsEmbedError, ValueError):
    """What the caller asked for is not valid: a place, a time, a band, a unit, an array."""


class ProviderError(RsEmbedError):
    """A source of pixels cannot be used, or did not deliver them."""


class ModelError(RsEmbedError):
    """A model id, option, weight file or device cannot be used as asked."""


def _rebuild(kind: type[RsEmbedError], message: str, transient: bool) -> RsEmbedError:
    return kind(message, transient=transient)
