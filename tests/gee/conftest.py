"""One local Earth Engine and the official client on it, for each module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.earth_engine import Server, connected, serve


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    """The server of a module, with scenes of every row of the table."""
    with serve("tests.gee.catalogue:scenes") as server, connected(server, retries=5):
        yield server


@pytest.fixture
def server(running: Server) -> Server:
    """The same with faults, settings, log and counters forgotten."""
    running.reset()
    return running
