"""One server and one real client for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ee
import numpy as np
import pytest

from tests.earth_engine import Server, connected, serve
from tests.earth_engine.queries import Grid


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    """The server of a module's tests, with the hand-made scenes added, and the client on it."""
    with serve("tests.earth_engine.hand_made:scenes") as server, connected(server):
        yield server


@pytest.fixture
def server(running: Server) -> Server:
    """The server with faults, settings, log and counters forgotten; the client never retries."""
    running.reset()
    ee.data.setMaxRetries(0)
    return running


@pytest.fixture
def fetch(server: Server) -> Callable[..., np.ndarray]:
    """Pixels of an image on a grid as a structured array."""

    def pixels(image: ee.Image, grid: Grid, bands: Sequence[str] | None = None) -> np.ndarray:
        request: dict[str, Any] = {"expression": image, "fileFormat": "NUMPY_NDARRAY", "grid": grid}
        return ee.data.computePixels(request | ({"bandIds": list(bands)} if bands else {}))

    return pixels
