"""Faults on demand: scripted one after the other, or drawn with a seed."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import ServiceError

TOO_MANY = (
    "Too Many Requests: Request was rejected because the request rate or concurrency limit was "
    "exceeded."
)

ERRORS: dict[str, ServiceError] = {
    "429": ServiceError(TOO_MANY, 429),
    "429-rate-limit": ServiceError("Rate limit", 429, "rateLimitExceeded"),
    "403-rate-limit": ServiceError("Rate limit", 403, "rateLimitExceeded"),
    "429-aggregations": ServiceError("Too many concurrent aggregations.", 429),
    "401": ServiceError("Request had invalid authentication credentials.", 401),
    "403": ServiceError(
        "Caller does not have required permission to use project local-test. Grant the caller "
        "the roles/serviceusage.serviceUsageConsumer role",
        403,
    ),
    "404": ServiceError("Requested entity was not found.", 404),
    "500": ServiceError("An internal error has occurred", 500),
    "502": ServiceError("The service is currently unavailable.", 502),
    "503": ServiceError("The service is currently unavailable.", 503),
    "504": ServiceError("Deadline expired before operation could complete.", 504),
    "memory": ServiceError("User memory limit exceeded."),
    "timed-out": ServiceError("Computation timed out."),
}
"""Faults that are an error in Google's JSON form."""

OTHER = (
    "500-html", "502-html", "503-html", "slow", "drop", "truncate", "trickle", "trickle-head",
)  # fmt: skip
"""An HTML page, a delay before the true answer, no answer, half an answer, one byte by byte."""

TRANSIENT = ("429", "403-rate-limit", "500", "503-html", "drop", "truncate")
"""What a client must survive by asking again: the default mix of a soak."""

PATHS = ("discovery", "algorithms", "compute", "value", "assets", "any")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing going wrong on the next request to `path`; "ok" lets one pass."""

    kind: str
    path: str = "compute"
    seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in ERRORS and self.kind not in OTHER and self.kind != "ok":
            raise ValueError(f"unknown fault {self.kind!r}; one of {sorted(ERRORS)}, {OTHER}, 'ok'")
        if self.path not in PATHS:
            raise ValueError(f"unknown path {self.path!r}; one of {PATHS}")


@dataclass(slots=True)
class Plan:
    """What will go wrong, shared by all threads of the server."""

    scripted: deque[Fault] = field(default_factory=deque)
    rate: float = 0.0
    kinds: tuple[str, ...] = TRANSIENT
    path: str = "compute"
    seconds: float = 0.05
    source: random.Random = field(default_factory=lambda: random.Random(0))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def script(self, faults: Sequence[Mapping[str, Any]]) -> None:
        """Replace the script; the first fault that fits a request's path is used up by it."""
        with self._lock:
            self.scripted = deque(Fault(**fault) for fault in faults)

    def draw(self, rate: float, seed: int, kinds: Sequence[str], path: str, seconds: float) -> None:
        """Let a share of the requests fail, drawn from a fresh seed."""
        for kind in kinds:
            Fault(kind, path)
        with self._lock:
            self.rate, self.kinds, self.path = rate, tuple(kinds), path
            self.seconds, self.source = seconds, random.Random(seed)

    def next(self, path: str) -> Fault | None:
        """What goes wrong with this request."""
        with self._lock:
            for fault in self.scripted:
                if fault.path in ("any", path):
                    self.scripted.remove(fault)
                    return None if fault.kind == "ok" else fault
            if self.rate and self.path in ("any", path) and self.source.random() < self.rate:
                return Fault(self.source.choice(self.kinds), self.path, self.seconds)
        return None
