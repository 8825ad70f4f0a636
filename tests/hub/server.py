"""The hub: what its client asks for, and ways to fail at it. Run by ``tests.hub.serve``.

Faults, by ``kind``; ``times`` requests are spoilt (default: all until healed), only those with
``method`` where it is given:

- ``status``: answer with ``status`` and, if given, the hub's error ``code``
- ``stall``: say nothing; with ``after``, send the head and so many bytes first
- ``cut``: send the full head and ``after`` bytes, then close
- ``reset``: as ``cut``, with a TCP reset
- ``spoil``: the right head, the right number of bytes, other bytes
- ``page``: a web page with status 200
- ``whole``: ignore Range
- ``late``: answer as it should, after ``seconds``

A file with ``huge`` in its name is said to have 3 GB; of one with ``untold`` no size is told.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SETTINGS = json.loads(sys.stdin.readline())
COMMIT: str = SETTINGS["commit"]
FILES = {name: base64.b64decode(body) for name, body in SETTINGS["files"].items()}
BLOBS = {hashlib.sha256(body).hexdigest(): body for body in FILES.values()}
LOG: list[str] = []
FAULTS: list[dict[str, Any]] = []
TURN = threading.Lock()


def claimed(name: str, body: bytes | None) -> int:
    """Size that the server tells: the true one, or three gigabytes for ``huge`` files."""
    return 3 * 10**9 if "huge" in name else len(body or b"")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        if self.path == "/_control":
            self.send(200, json.dumps(LOG).encode())
        else:
            self.answer()

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with TURN:
            if message.get("heal"):
                FAULTS.clear()
            else:
                FAULTS.append({"times": 10**9, **message})
        self.send(200, b"")

    def answer(self) -> None:
        asked = self.headers.get("Range", "")
        with TURN:
            LOG.append(f"{self.command} {self.path} {asked}".strip())
            fault = next((f for f in FAULTS if self.is_meant(f)), {})
            if fault:
                fault["times"] -= 1
        kind = fault.get("kind")
        if kind == "status":
            code = {"X-Error-Code": fault["code"]} if "code" in fault else {}
            self.send(fault["status"], b"no", code)
        elif kind == "page":
            self.send(200, b"<!doctype html><p>Sign in", {"Content-Type": "text/html"})
        elif kind == "stall" and "after" not in fault:
            self.hold()
        elif kind == "late":
            time.sleep(fault["seconds"])
            self.route({})
        else:
            self.route(fault)

    def is_meant(self, fault: dict[str, Any]) -> bool:
        called = fault.get("method") in (None, self.command)
        return fault["times"] > 0 and called and fault["match"] in self.path

    def route(self, fault: dict[str, Any]) -> None:
        parts = self.path.lstrip("/").split("/")
        if parts[0] == "plain":
            name = "/".join(parts[1:])
            body = FILES.get(name)
            self.file(
                body, {"Content-Length": str(claimed(name, body))} if "huge" in name else {}, fault
            )
        elif parts[0] == "blobs":
            self.file(BLOBS.get(parts[1]), {}, fault)
        elif len(parts) > 4 and parts[2] == "resolve":
            self.resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]), fault)
        elif parts[:2] == ["api", "models"] and len(parts) > 3:
            known = any(name.startswith("/".join(parts[2:4]) + "/") for name in FILES)
            told = {"id": "/".join(parts[2:4]), "sha": COMMIT, "siblings": []}
            self.send(200 if known else 404, json.dumps(told).encode())
        else:
            self.send(404, b"no")

    def resolve(self, repo: str, revision: str, path: str, fault: dict[str, Any]) -> None:
        commit = {"X-Repo-Commit": COMMIT}
        body = FILES.get(f"{repo}/{path}")
        if not any(name.startswith(f"{repo}/") for name in FILES):
            self.send(401, b"no", {"X-Error-Code": "RepoNotFound"})
        elif revision not in ("main", COMMIT):
            self.send(404, b"no", {"X-Error-Code": "RevisionNotFound"})
        elif body is None:
            self.send(404, b"no", {"X-Error-Code": "EntryNotFound", **commit})
        elif path.startswith("lfs/"):
            key = hashlib.sha256(body).hexdigest()
            linked = {"X-Linked-Etag": f'"{key}"', "Location": f"{CDN}/blobs/{key}"}
            if "untold" not in path:
                linked["X-Linked-Size"] = str(claimed(path, body))
            self.send(302, b"", linked | commit)
        else:
            git = hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
            self.file(body, {"ETag": f'"{git}"', **commit}, fault)

    def file(self, body: bytes | None, headers: dict[str, str], fault: dict[str, Any]) -> None:
        if body is None:
            self.send(404, b"no")
            return
        kind, asked = fault.get("kind"), self.headers.get("Range")
        if kind == "spoil":
            body = bytes(byte ^ 1 for byte in body)
        start = int(asked.split("=")[1].split("-")[0]) if asked and kind != "whole" else 0
        if start >= len(body) > 0:
            self.send(416, b"no")
            return
        headers["Accept-Ranges"] = "bytes"
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        rest = body[start:]
        self.head(206 if start else 200, len(rest), headers)
        if self.command == "HEAD":
            return
        if kind not in ("stall", "cut", "reset"):
            self.wfile.write(rest)
            return
        self.wfile.write(rest[: fault["after"]])
        self.wfile.flush()
        if kind == "stall":
            self.hold()
        if kind == "reset":
            hard = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, hard)
            os.close(self.connection.detach())  # a shutdown first would make it a polite end
        self.close_connection = True

    def hold(self) -> None:
        """Silence until the other side gives up."""
        self.connection.settimeout(60)
        try:
            self.connection.recv(1)
        except OSError:
            time.sleep(0)
        self.close_connection = True

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.head(status, len(body), headers or {})
        if self.command != "HEAD":
            self.wfile.write(body)

    def head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Clients that leave are part of the game."""


hub, cdn = (Server(("127.0.0.1", 0), Handler) for _ in range(2))
# Another name as well as another port: some clients tell hosts apart by name alone.
CDN = f"http://localhost:{cdn.server_address[1]}"
for server in (hub, cdn):
    threading.Thread(target=server.serve_forever, daemon=True).start()
print(json.dumps({"url": f"http://127.0.0.1:{hub.server_address[1]}", "cdn": CDN}), flush=True)
sys.stdin.read()
