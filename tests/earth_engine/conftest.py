"""One server and one real client for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ee
import ee.deprecation
import numpy as np
import pytest
from google.auth.credentials import AnonymousCredentials

from tests.earth_engine import Server, serve
from tests.earth_engine.queries import Grid


@pytest.fixture(scope="session")
def running() -> Iterator[Server]:
    """The server of all tests here, with the hand-made scenes added."""
    with serve("tests.earth_engine.hand_made:scenes") as server:
        yield server


@pytest.fixture(scope="session")
def initialized(running: Server) -> Iterator[None]:
    """The official client, connected; nothing of it is replaced but a download from the web."""
    fetch = ee.deprecation._FetchDataCatalogStac
    ee.deprecation._FetchDataCatalogStac = dict
    ee.Initialize(credentials=AnonymousCredentials(), url=running.url, project="local-test")
    yield
    ee.Reset()
    ee.deprecation._FetchDataCatalogStac = fetch


@pytest.fixture
def server(running: Server, initialized: None) -> Server:
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
