"""Paths as a caller writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from returns.result import Failure, Success

from rs_embed.core.errors import SpecError
from rs_embed.core.result import Outcome


def user_path(path: Any) -> Outcome[Path]:
    """The path with ``~`` put in full. Fails with SpecError for what names no place on a disk.

    Examples
    --------
    >>> user_path("out/embedding.nc").unwrap().name
    'embedding.nc'
    """
    try:
        text = str(Path(path))
        if "\0" in text or not str(path).strip():
            return Failure(SpecError(f"{path!r} is no path; give one such as 'embedding.nc'"))
        return Success(Path(path).expanduser())
    except TypeError:
        return Failure(SpecError(f"a path is text or a Path, not {type(path).__name__}"))
    except RuntimeError:
        return Failure(SpecError(f"nobody of the name in {text!r} has a home folder here"))
