"""Words that do not go together, told with exit code 2."""

from __future__ import annotations

from rs_embed.core.errors import SpecError


class WrongUsageError(SpecError):
    """The command was called in a way that it does not take."""
