"""A hub of model files on this machine, and clients of it, each in a process of its own.

``serve`` runs ``server.py``; ``Client`` runs ``client.py`` with an environment in which
``HF_ENDPOINT`` and ``HF_HOME`` are set before anything is imported.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import select
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rs_embed.core.model import WeightRecord

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]


@dataclasses.dataclass(frozen=True)
class Hub:
    """A running server: its two addresses, and what it can be told and asked."""

    url: str
    cdn: str

    def fault(self, match: str, kind: str, **details: Any) -> None:
        """Spoil requests whose path contains ``match``: see ``server.py`` for the kinds."""
        self._control({"match": match, "kind": kind, **details})

    def heal(self) -> None:
        self._control({"heal": True})

    def requests(self, match: str = "") -> list[str]:
        """``METHOD path [range]`` of what was asked so far, in order."""
        with urllib.request.urlopen(f"{self.url}/_control", timeout=10) as reply:
            return [line for line in json.load(reply) if match in line]

    def _control(self, message: Mapping[str, Any]) -> None:
        body = json.dumps(message).encode()
        urllib.request.urlopen(f"{self.url}/_control", data=body, timeout=10).close()


@contextmanager
def serve(files: Mapping[str, bytes], *, commit: str) -> Iterator[Hub]:
    """A hub with ``files`` by ``owner/repo/path`` at one ``commit``, which ``main`` points at.

    Names under ``lfs/`` in a repository are redirected to the second address, as large files are.
    ``/plain/owner/repo/path`` gives a file as a plain web server does.
    """
    server = subprocess.Popen(
        [sys.executable, str(HERE / "server.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        held = {name: base64.b64encode(body).decode() for name, body in files.items()}
        _send(server, {"files": held, "commit": commit})
        yield Hub(**_receive(server))
    finally:
        _end(server)


class Client:
    """A process that locates weights; one environment, any number of calls."""

    def __init__(self, endpoint: str, home: Path, **environment: str) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGINGFACE_"))}
        self.home = home
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", str(HERE / "client.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=CHECKOUT,
            env=kept
            | {
                "HF_ENDPOINT": endpoint,
                "HF_HOME": str(home),
                "HF_HUB_DOWNLOAD_TIMEOUT": "1",
                "HF_HUB_DISABLE_TELEMETRY": "1",
                "NO_PROXY": "127.0.0.1,localhost",
                "no_proxy": "127.0.0.1,localhost",
                "PYTHONPATH": os.pathsep.join([str(CHECKOUT), kept.get("PYTHONPATH", "")]),
                **environment,
            },
        )

    def locate(self, record: WeightRecord, **options: Any) -> dict[str, Any]:
        self.begin(record, **options)
        return self.result()

    def begin(self, record: WeightRecord, **options: Any) -> None:
        _send(self.process, {"record": dataclasses.asdict(record), "options": options})

    def result(self) -> dict[str, Any]:
        return _receive(self.process)

    def files(self, pattern: str = "**/*") -> list[str]:
        """What lies in the cache, bookkeeping apart."""
        found = (p for p in self.home.glob(pattern) if p.is_file() and p.suffix != ".lock")
        names = (p.relative_to(self.home).as_posix() for p in found)
        return sorted(n for n in names if "CACHEDIR.TAG" not in n and ".no_exist" not in n)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        _end(self.process)


def _send(process: subprocess.Popen[str], message: Mapping[str, Any]) -> None:
    assert process.stdin
    process.stdin.write(json.dumps(message) + "\n")
    process.stdin.flush()


def _receive(process: subprocess.Popen[str], limit_s: float = 60) -> dict[str, Any]:
    assert process.stdout
    ready, _, _ = select.select([process.stdout], [], [], limit_s)
    if not ready:
        raise TimeoutError(f"nothing from {process.args!r} in {limit_s} s")
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args!r} ended with status {process.wait()}")
    return json.loads(line)


def _end(process: subprocess.Popen[str]) -> None:
    # End of input ends both programs, also if this one is killed before it gets here.
    if process.stdin:
        process.stdin.close()
    try:
        process.wait(timeout=3)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()
