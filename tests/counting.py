"""A model and a source that count what is asked of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from returns.result import Failure

from rs_embed.core.errors import ProviderError
from rs_embed.core.model import InputSpec, Model
from rs_embed.core.patch import Patch
from rs_embed.core.plan import FetchPlan, SourceInfo
from rs_embed.core.result import Outcome
from rs_embed.core.specs import SensorSpec
from rs_embed.core.tokens import Tokens
from rs_embed.providers.base import Provider
from rs_embed.providers.memory import MemoryProvider
from tests import toys

BATCHES: list[int] = []
"""Windows of each call of `encode`, in order."""
BUILT: list[str] = []
"""Names of the threads that built a network."""


def forget() -> None:
    """Count anew."""
    BATCHES.clear()
    BUILT.clear()


def encode(network: Any, arrays: dict[str, np.ndarray], model: Model) -> Tokens:
    """The toy's tokens; the call is counted."""
    BATCHES.append(len(arrays["pixels"]))
    return toys.encode(None, arrays, model)


def build(model: Model) -> str:
    """A network that takes its time; the call is counted."""
    BUILT.append(threading.current_thread().name)
    time.sleep(0.2)
    return "network"


@dataclass
class CountingProvider(Provider):
    """The memory source; every fetch is counted, and some may fail."""

    name: str = "counting"
    workers: int = 1
    fails: Callable[[FetchPlan], bool] = lambda plan: False
    transient: bool = False
    fetch_window: list[str] = field(default_factory=list)

    def describe(self, item: InputSpec, sensor: SensorSpec | None) -> Outcome[SourceInfo]:
        """What the memory source describes."""
        return MemoryProvider().describe(item, sensor)

    def fetch(self, plan: FetchPlan) -> Outcome[Patch]:
        """What the memory source gives."""
        self.fetch_window.append(plan.fingerprint)
        if self.fails(plan):
            return Failure(ProviderError("the source is out of order", transient=self.transient))
        return MemoryProvider().fetch(plan)
