"""Values as strict JSON has them."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def to_jsonable(value: Any) -> Any:
    """A value as strict JSON has it: what has no number is None, what has no form is its text.

    Examples
    --------
    >>> to_jsonable({"dates": ("2022-06-01",), "nodata": float("nan"), 3: {1}})
    {'dates': ['2022-06-01'], 'nodata': None, '3': [1]}
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {str(key): to_jsonable(one) for key, one in value.items()}
        case list() | tuple() | set() | frozenset():
            return [to_jsonable(one) for one in value]
        case np.generic() | np.ndarray():
            return to_jsonable(value.tolist())
        case dt.date():
            return value.isoformat()
    return str(value)
