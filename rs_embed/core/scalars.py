"""Numbers of numpy as Python's own, so that a request prints, hashes and pickles plainly."""

from __future__ import annotations

from typing import Any

import numpy as np


def python_scalar(value: Any) -> Any:
    """A scalar of numpy, or an array without dimensions, as Python's own; all else as it is.

    Examples
    --------
    >>> python_scalar(np.int64(4)), python_scalar(np.bool_(True)), python_scalar("4")
    (4, True, '4')
    """
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    return value


def tidy_scalars(spec: Any, *names: str) -> None:
    """`python_scalar` of these fields of a frozen dataclass, in place."""
    for name in names:
        value = getattr(spec, name)
        tidy = python_scalar(value)
        if tidy is not value:
            object.__setattr__(spec, name, tidy)
