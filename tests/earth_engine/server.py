"""The HTTP side: routes, limits, faults, the request log and the control endpoint."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from . import pixels
from .assets import get_asset, list_assets
from .collection_functions import load_image
from .elements import describe
from .errors import ServiceError
from .expression import Expression, check_nesting, function_names
from .faults import ERRORS, TOO_MANY, TRANSIENT, Fault, Plan
from .functions import algorithms_text, invoke, promote

MAX_BODY = 10485760
MAX_CONCURRENT = 40
LOG_LENGTH = 5000

Answer = tuple[int, str, bytes]
"""Status, content type, body."""


@dataclass(slots=True)
class Settings:
    """What the control endpoint may change while the server runs."""

    latency: float = 0.0
    canned: bool = False
    memory_pixels: int | None = None
    max_concurrent: int = MAX_CONCURRENT


@dataclass(slots=True)
class State:
    """What the requests of one server share."""

    settings: Settings = field(default_factory=Settings)
    plan: Plan = field(default_factory=Plan)
    log: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=LOG_LENGTH))
    canned: dict[tuple[object, ...], bytes] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    running: int = 0
    peak: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self) -> bool:
        """Count a computation in; False when there are too many."""
        with self.lock:
            self.running += 1
            self.peak = max(self.peak, self.running)
            return self.running <= self.settings.max_concurrent

    def leave(self) -> None:
        """Count a computation out."""
        with self.lock:
            self.running -= 1

    def note(self, entry: dict[str, Any]) -> None:
        """Add a request to the log and the counters."""
        with self.lock:
            self.log.append(entry)
            for name in ("requests", entry["path"], str(entry["status"])):
                self.counters[name] = self.counters.get(name, 0) + 1

    def reset(self) -> None:
        """Forget the log, the faults, canned answers and settings."""
        with self.lock:
            self.log.clear()
            self.canned.clear()
            self.counters.clear()
            self.peak = self.running
            self.settings = Settings()
        self.plan.script(())
        self.plan.draw(0.0, 0, TRANSIENT, "compute", 0.05)


@cache
def discovery_text() -> bytes:
    """The discovery document of the installed client, with the production paths."""
    source = resources.files("ee").joinpath("tests", "cloud_api_discovery_document.json")
    return source.read_text(encoding="utf-8").replace("v1alpha", "v1").encode()


def evaluate(body: Mapping[str, Any]) -> Any:
    """The value of the body's expression."""
    if not isinstance(body.get("expression"), dict):
        raise ServiceError("Invalid JSON payload received. Field 'expression' is required.")
    return Expression(body["expression"], invoke).value()


def answer_json(value: Any, status: int = 200) -> Answer:
    """A JSON answer."""
    return status, "application/json; charset=UTF-8", json.dumps(value).encode()


def answer_pixels(image: Any, body: Mapping[str, Any], state: State) -> Answer:
    """The pixels of an image, or the ones sent before for the same shape."""
    request = pixels.parse_request(body)
    kind = "application/octet-stream" if request.format == "NPY" else "image/tiff"
    if state.settings.canned and request.shape_key in state.canned:
        return 200, kind, state.canned[request.shape_key]
    image = promote(image() if callable(image) else image, "Image<unknown bands>", "Image")
    bands = pixels.chosen_bands(image, request.band_ids)
    pixels.check_limits(request.grid, bands, state.settings.memory_pixels)
    data = pixels.encode(pixels.compute(request.grid, bands), request)
    if state.settings.canned:
        state.canned[request.shape_key] = data
    return 200, kind, data


@dataclass(frozen=True, slots=True)
class Call:
    """One parsed request."""

    state: State
    query: Mapping[str, list[str]]
    body: Mapping[str, Any]
    groups: tuple[str, ...]


def _compute_pixels(call: Call) -> Answer:
    return answer_pixels(lambda: evaluate(call.body), call.body, call.state)


def _get_pixels(call: Call) -> Answer:
    return answer_pixels(lambda: load_image(id=call.groups[0]), call.body, call.state)


def _compute_value(call: Call) -> Answer:
    return answer_json({"result": describe(evaluate(call.body))})


def _list_assets(call: Call) -> Answer:
    size = call.query.get("pageSize")
    return answer_json(list_assets(call.groups[0], int(size[0]) if size else None))


def _discovery(call: Call) -> Answer:
    return 200, "application/json; charset=UTF-8", discovery_text()


def _algorithms(call: Call) -> Answer:
    return 200, "application/json; charset=UTF-8", algorithms_text()


def _get_asset(call: Call) -> Answer:
    return answer_json(get_asset(call.groups[0]))


ROUTES: tuple[tuple[str, str, str, Callable[[Call], Answer]], ...] = (
    ("discovery", "GET", r"/\$discovery/rest", _discovery),
    ("algorithms", "GET", r"/v1/projects/[^/]+/algorithms", _algorithms),
    ("compute", "POST", r"/v1/projects/[^/]+/image:computePixels", _compute_pixels),
    ("compute", "POST", r"/v1/projects/[^/]+/assets/(.+):getPixels", _get_pixels),
    ("value", "POST", r"/v1/projects/[^/]+/value:compute", _compute_value),
    ("assets", "GET", r"/v1/projects/[^/]+/assets/(.+):listAssets", _list_assets),
    ("assets", "GET", r"/v1/projects/[^/]+/assets/(.+)", _get_asset),
)
"""(name for faults and log, method, path, handler)."""


class Handler(BaseHTTPRequestHandler):
    """One connection, kept alive over requests."""

    protocol_version = "HTTP/1.1"
    # One packet for head and body, sent at once: else each answer waits 40 ms for an ACK.
    wbufsize = -1
    disable_nagle_algorithm = True
    server: EarthEngineServer

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the terminal: the log is read through the control endpoint."""

    def _serve(self, method: str) -> None:
        began = time.perf_counter()
        url = urlsplit(self.path)
        path, query = unquote(url.path), parse_qs(url.query)
        body = self._read_body()
        if path == "/_control":
            self._send(*control(self.server.state, query, body or b"{}"))
            return
        name, handler, groups = _route(method, path)
        entry: dict[str, Any] = {
            "path": name,
            "method": method,
            "url": self.path,
            "headers": dict(self.headers),
        }
        fault = self.server.state.plan.next(name)
        entry["fault"] = fault.kind if fault else None
        answer = self._answer(name, handler, query, body, groups, fault, entry)
        entry["status"] = answer[0] if answer else 0
        entry["milliseconds"] = (time.perf_counter() - began) * 1000
        # Noted before it leaves: a client that has its answer finds it in the log.
        self.server.state.note(entry)
        if answer is None:
            self._drop()
        elif fault is not None and fault.kind.startswith("trickle"):
            self._trickle(fault, answer[2])
        else:
            self._send(*answer)

    def _read_body(self) -> bytes | None:
        """The body; None when it is over the limit, which ends the connection."""
        length = int(self.headers.get("Content-Length") or 0)
        if length <= MAX_BODY:
            return self.rfile.read(length)
        self.close_connection = True
        for _ in range(min(length, 8 * MAX_BODY) // 65536 + 1):
            left = min(65536, length)
            length -= len(self.rfile.read(left)) if left else 0
        return None

    def _answer(
        self,
        name: str,
        handler: Callable[[Call], Answer] | None,
        query: Mapping[str, list[str]],
        body: bytes | None,
        groups: tuple[str, ...],
        fault: Fault | None,
        entry: dict[str, Any],
    ) -> Answer | None:
        """The answer to one request, faults first; None to drop the connection."""
        if fault is not None and fault.kind == "drop":
            return None
        state = self.server.state
        limited = name in ("compute", "value")
        admitted = state.enter() if limited else True
        try:
            time.sleep(state.settings.latency)
            answer = _injected(fault)
            if answer is None and not admitted:
                answer = answer_json(ServiceError(TOO_MANY, 429).document(), 429)
            if answer is None:
                answer = _handled(state, handler, query, body, groups, entry)
        finally:
            if limited:
                state.leave()
        if fault is not None and fault.kind == "truncate":
            # Half the bytes with a matching length: only a reader of the content can tell.
            status, kind, data = answer
            return status, kind, data[: len(data) // 2]
        return answer

    def _send(self, status: int, kind: str, data: bytes) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(data)
            self.wfile.flush()
        except OSError:
            self.close_connection = True

    def _trickle(self, fault: Fault, data: bytes) -> None:
        """The head or the body, a byte at a time, for so many seconds; then the end."""
        self.close_connection = True
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
        whole = head + b"Content-Length: %d\r\n\r\n" % len(data) + data
        at_once = 0 if fault.kind == "trickle-head" else len(whole) - len(data)
        try:
            self.connection.sendall(whole[:at_once])
            for i in range(int(fault.seconds / 0.1)):
                self.connection.sendall(whole[at_once + i : at_once + i + 1])
                time.sleep(0.1)
        except OSError:
            return

    def _drop(self) -> None:
        """Close without a word."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def _route(method: str, path: str) -> tuple[str, Callable[[Call], Answer] | None, tuple[str, ...]]:
    for name, verb, pattern, handler in ROUTES:
        match = re.fullmatch(pattern, path)
        if match and verb == method:
            return name, handler, match.groups()
    return "unknown", None, (path,)


def _injected(fault: Fault | None) -> Answer | None:
    """The answer of a fault that replaces the true one."""
    if fault is None:
        return None
    if fault.kind == "slow":
        time.sleep(fault.seconds)
    if fault.kind in ERRORS:
        error = ERRORS[fault.kind]
        return answer_json(error.document(), error.code)
    if fault.kind.endswith("-html"):
        page = b"<!DOCTYPE html><html><title>Error (Server Error)!!1</title></html>"
        return int(fault.kind.removesuffix("-html")), "text/html; charset=UTF-8", page
    return None


def _handled(
    state: State,
    handler: Callable[[Call], Answer] | None,
    query: Mapping[str, list[str]],
    body: bytes | None,
    groups: tuple[str, ...],
    entry: dict[str, Any],
) -> Answer:
    try:
        if body is None:
            raise ServiceError(f"Request payload size exceeds the limit: {MAX_BODY} bytes.")
        if handler is None:
            raise ServiceError(f"Path {groups[0]}: not served by the local Earth Engine server.")
        document = _parsed(body)
        entry["body"] = document
        check_nesting(document.get("expression"))
        with np.errstate(all="ignore"):
            return handler(Call(state, query, document, groups))
    except ServiceError as error:
        entry["error"] = error.message
        return answer_json(error.document(), error.code)
    except Exception as error:
        # A fault of ours must fail the test at once, so no status that a client retries.
        entry["error"] = f"{type(error).__name__}: {error}"
        message = f"An internal error has occurred ({entry['error']})"
        return answer_json(ServiceError(message, 400).document(), 400)


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body or b"{}")
    except RecursionError:
        raise ServiceError(
            "Invalid JSON payload received. Message too deep. Max recursion depth reached."
        ) from None
    except ValueError:
        raise ServiceError("Invalid JSON payload received. Parsing terminated.") from None
    if not isinstance(document, dict):
        raise ServiceError("Invalid JSON payload received. An object is expected.")
    return document


def control(state: State, query: Mapping[str, list[str]], body: bytes) -> Answer:
    """GET-like and POST-like use of one endpoint: apply what the body says, report the state."""
    orders = json.loads(body)
    if orders.get("reset"):
        state.reset()
    if "script" in orders:
        state.plan.script(orders["script"])
    if "draw" in orders:
        state.plan.draw(**orders["draw"])
    known = {f.name for f in fields(Settings)}
    for name, value in orders.get("settings", {}).items():
        if name not in known:
            return answer_json({"error": f"unknown setting {name}; one of {sorted(known)}"}, 400)
        setattr(state.settings, name, value)
    with state.lock:
        report: dict[str, Any] = {
            "counters": dict(state.counters),
            "peak": state.peak,
            "running": state.running,
            "pending_faults": len(state.plan.scripted),
        }
        if "log" in query:
            report["log"] = list(state.log)
    for entry in report.get("log", ()):
        document = entry.get("body") or {}
        entry["functions"] = function_names(document.get("expression"))
    return answer_json(report)


class EarthEngineServer(ThreadingHTTPServer):
    """The server; daemon threads, so that stopping never waits for a client."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, state: State, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.state = state

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no news."""
