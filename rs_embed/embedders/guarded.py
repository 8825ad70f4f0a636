"""A family's functions, called so that what goes wrong in them is said in one of our errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from returns.result import Failure, Success

from rs_embed.core.errors import ModelError, RsEmbedError
from rs_embed.core.extras import import_problem
from rs_embed.core.model import Model
from rs_embed.core.result import Outcome, caused

T = TypeVar("T")


def guarded(model: Model, role: str, call: Callable[[], T]) -> Outcome[T]:
    """What ``call`` gives, in which the family's function ``role`` runs; or Failure(ModelError).

    An error of rs_embed is handed on as it is. A package that is not installed is named with its
    extra. Anything else that another's function raises is told with the model and the function;
    from a function of this package it is a bug, and stays what it is.
    """
    try:
        return Success(call())
    except RsEmbedError as error:
        return Failure(error)
    except Exception as error:
        missing = import_problem(model.id, error) if isinstance(error, ImportError) else None
        if missing is not None:
            return Failure(caused(ModelError(missing), by=error))
        name = getattr(model.spec, role) or f"{model.spec.module}:{role}"
        # Too little memory is nobody's fault: a smaller batch may do, and callers try one.
        if name.startswith("rs_embed.") or _out_of_memory(error):
            raise
        text = f"{model.id}: its function {name} raised {type(error).__name__}: {error}"
        return Failure(caused(ModelError(text), by=error))


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "out of memory" in str(error).lower()
