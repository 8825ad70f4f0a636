"""Locate weights as told by lines of JSON on standard input; one line of JSON each in return."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from returns.result import Failure

from rs_embed.core.model import WeightRecord
from rs_embed.embedders.store import locate, provenance


def answer(message: dict[str, Any]) -> dict[str, Any]:
    record, options = WeightRecord(**message["record"]), message["options"]
    asked: list[int] = []
    if "consent" in options:
        reply = options.pop("consent")
        options["consent"] = lambda _, size: (asked.append(size), reply)[1]
    started = time.monotonic()
    outcome = locate(record, **options)
    spent = {"seconds": time.monotonic() - started, "asked": asked}
    if isinstance(outcome, Failure):
        error = outcome.failure()
        kind = {"error": error.message, "type": type(error).__name__, "transient": error.transient}
        return kind | spent
    path = outcome.unwrap()
    return {"path": str(path), "provenance": provenance(record, path)} | spent


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
