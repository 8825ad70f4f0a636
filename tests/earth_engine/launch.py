"""Start the server in a process of its own, talk to it, stop it surely."""

from __future__ import annotations

import importlib
import json
import os
import pickle
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .faults import TRANSIENT, Fault
from .scenes import Scene

_PACKAGE = __package__ or "tests.earth_engine"
_ROOT = Path(__file__).resolve().parents[_PACKAGE.count(".") + 1]

Catalogue = str | Callable[..., Sequence[Scene]] | Sequence[Scene]


def build_catalogue(name: str) -> Sequence[Scene]:
    """The scenes of "module:function", or of a function of `catalogue.py` by its name."""
    module, _, function = name.rpartition(":")
    found = importlib.import_module(module or f"{_PACKAGE}.catalogue")
    return getattr(found, function)()


class Server:
    """A running server as a test sees it.

    Attributes
    ----------
    url
        What to give to ``ee.Initialize(url=...)``.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def _control(self, orders: dict[str, Any] | None = None, log: bool = False) -> dict[str, Any]:
        address = f"{self.url}/_control{'?log=1' if log else ''}"
        data = json.dumps(orders or {}).encode()
        with self._opener.open(urllib.request.Request(address, data=data)) as answer:
            return json.load(answer)

    def fail(self, *faults: Fault | str, times: int = 1, path: str = "compute") -> None:
        """Script what happens to the next requests: kinds for `path`, or whole `Fault`s."""
        steps = [f if isinstance(f, Fault) else Fault(f, path) for f in faults] * times
        self._control({"script": [asdict(step) for step in steps]})

    def fail_randomly(
        self,
        rate: float,
        seed: int = 0,
        kinds: Sequence[str] = TRANSIENT,
        path: str = "compute",
        seconds: float = 0.05,
    ) -> None:
        """Let a share of the requests to `path` fail; `seconds` is the delay of "slow"."""
        draw = {"rate": rate, "seed": seed, "kinds": list(kinds), "path": path, "seconds": seconds}
        self._control({"draw": draw})

    def set(self, **settings: object) -> None:
        """Change latency (s), canned, memory_pixels or max_concurrent."""
        self._control({"settings": settings})

    def reset(self) -> None:
        """Forget faults, settings, canned answers, log and counters."""
        self._control({"reset": True})

    @property
    def log(self) -> list[dict[str, Any]]:
        """Every request so far: path, status, fault, body, functions, headers, milliseconds."""
        return self._control(log=True)["log"]

    @property
    def counters(self) -> dict[str, int]:
        """Requests in all, by path and by status ("0": dropped)."""
        return self._control()["counters"]

    @property
    def peak(self) -> int:
        """The most computations at one time."""
        return int(self._control()["peak"])

    @property
    def pending_faults(self) -> int:
        """Scripted faults not used up yet."""
        return int(self._control()["pending_faults"])


def _arguments(catalog: Catalogue, folder: Path) -> list[str]:
    if isinstance(catalog, str):
        return [catalog]
    scenes = folder / "scenes.pickle"
    scenes.write_bytes(pickle.dumps(list(catalog() if callable(catalog) else catalog)))
    return [str(scenes)]


@contextmanager
def serve(catalog: Catalogue = "standard", **settings: object) -> Iterator[Server]:
    """A server with a catalogue: "module:function", a function, or a list of scenes.

    Parameters
    ----------
    settings
        As for `Server.set`.
    """
    # The child must find what the parent can import, since a catalogue may live in a test.
    paths = [str(_ROOT), *(path for path in sys.path if path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", _PACKAGE, *_arguments(catalog, Path(folder))]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        ) as process:
            try:
                assert process.stdout is not None
                port = process.stdout.readline().strip()
                if not port:
                    raise RuntimeError("the local Earth Engine server did not start (see stderr)")
                server = Server(f"http://127.0.0.1:{port}")
                if settings:
                    server.set(**settings)
                yield server
            finally:
                _stop(process)


def _stop(process: subprocess.Popen[str]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(timeout=2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
