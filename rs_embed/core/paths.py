"""Paths as a caller writes them."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from returns.result import Failure, Success

from rs_embed.core.errors import SpecError
from rs_embed.core.result import Outcome


def user_path(path: Any) -> Outcome[Path]:
    """The path with ``~`` put in full. Fails with SpecError for what names no place on a disk."""
    if not isinstance(path, str | PathLike) or not isinstance(text := str(path), str):
        return Failure(SpecError(f"a path is text or a Path, not {type(path).__name__}"))
    if not text.strip() or "\0" in text:
        return Failure(SpecError(f"{text!r} is no path; give one such as 'embedding.nc'"))
    try:
        return Success(Path(path).expanduser())
    except RuntimeError:
        return Failure(SpecError(f"nobody of the name in {text!r} has a home folder here"))
