"""The official client connected to a server, and put back afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .launch import Server


@contextmanager
def connected(server: Server, retries: int = 0, project: str = "local-test") -> Iterator[None]:
    """`ee` initialised on `server`; nothing of it is replaced but a download from the web.

    Parameters
    ----------
    retries
        How often the client itself asks again (its own default is 5, with sleeps).
    """
    import ee
    import ee.deprecation
    from google.auth.credentials import AnonymousCredentials

    fetch = ee.deprecation._FetchDataCatalogStac
    ee.deprecation._FetchDataCatalogStac = dict  # an empty list of deprecated assets
    try:
        ee.Initialize(credentials=AnonymousCredentials(), url=server.url, project=project)
        ee.data.setMaxRetries(retries)
        yield
    finally:
        ee.Reset()
        ee.deprecation._FetchDataCatalogStac = fetch
