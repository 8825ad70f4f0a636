"""Bad days: every fault has its error, its remedy, and an end."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import ee
import numpy as np
import pytest
from google.auth.credentials import AnonymousCredentials
from returns.result import Failure, Success

from rs_embed.core.errors import ProviderError, RsEmbedError
from rs_embed.core.result import Outcome
from rs_embed.providers import gee_session
from rs_embed.providers import requests as limits
from rs_embed.providers.gee import GeeProvider
from rs_embed.providers.gee_session import Settings, connect, retrying
from tests.earth_engine import Fault, Server, connected, serve
from tests.gee.plans import fetch_window, plan, square

QUICK = GeeProvider(pause_s=0.01)


def failure(found: Outcome[object]) -> RsEmbedError:
    """The error of a Failure."""
    assert isinstance(found, Failure)
    return found.failure()


def test_at_most_ten_requests_at_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first test: answers that later ones no longer wait for would be counted in."""
    monkeypatch.setattr(limits, "MAX_BYTES", 5 * 300)
    server.set(latency=0.02)
    plans = [plan(("B2",), grid=square(64))] * 4
    threads = [threading.Thread(target=fetch_window, args=(one, QUICK)) for one in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.counters["compute"] >= 4 * 14
    assert server.peak <= gee_session.MAX_IN_FLIGHT


@pytest.mark.parametrize(
    "kind",
    [
        "429", "429-rate-limit", "403-rate-limit", "429-aggregations", "500", "502", "503", "504",
        "500-html", "502-html", "503-html", "drop", "truncate",
    ],
)  # fmt: skip
def test_a_transient_fault_is_survived(server: Server, kind: str) -> None:
    server.fail(kind, kind)
    patch = fetch_window(plan(), QUICK)
    assert np.isfinite(patch.data).all()
    assert server.counters["compute"] == 3
    assert server.pending_faults == 0


@pytest.mark.parametrize("kind", ["429", "403-rate-limit", "503-html", "drop", "truncate"])
def test_a_transient_fault_that_stays_is_told_as_transient(server: Server, kind: str) -> None:
    server.fail(kind, times=20)
    error = failure(GeeProvider(pause_s=0.01, tries=4).fetch(plan()))
    assert isinstance(error, ProviderError)
    assert error.transient
    assert "gave up after 4 tries" in str(error)
    assert server.counters["compute"] == 4  # the client's own retries do not multiply ours


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("401", "earthengine authenticate"),
        ("403", "gcloud projects add-iam-policy-binding"),
        ("404", "developers.google.com/earth-engine/datasets"),
    ],
)
def test_a_permanent_fault_is_asked_once_and_names_the_remedy(
    server: Server, kind: str, words: str
) -> None:
    server.fail(kind, times=5)
    error = failure(QUICK.fetch(plan()))
    assert isinstance(error, ProviderError)
    assert not error.transient
    assert words in str(error)
    assert server.counters["compute"] == 1


def test_a_plan_of_many_tiles_stops_at_a_permanent_fault(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_BYTES", 5 * 100)
    server.set(latency=0.02)
    server.fail("403", times=100)
    error = failure(QUICK.fetch(plan(("B2",), grid=square(64))))
    assert "permission" in str(error)
    assert server.counters["compute"] <= gee_session.MAX_IN_FLIGHT  # of 41


@pytest.mark.parametrize("kind", ["memory", "timed-out"])
def test_too_much_for_once_is_asked_for_in_halves(server: Server, kind: str) -> None:
    server.fail(kind)
    patch = fetch_window(plan(grid=square(64)), QUICK)
    assert np.isfinite(patch.data).all()
    assert patch.meta["requests"] == server.counters["compute"] == 3


def test_a_slow_answer_ends_at_the_deadline(server: Server) -> None:
    server.fail(*[Fault("slow", seconds=60)] * 9)
    began = time.monotonic()
    error = failure(GeeProvider(pause_s=0.01, tries=2, request_s=0.3).fetch(plan()))
    assert time.monotonic() - began < 50, "the answers themselves take 60 s each"
    assert error.transient
    assert "curl -I https://earthengine.googleapis.com" in str(error)


@pytest.mark.parametrize("kind", ["trickle", "trickle-head"])
def test_an_answer_that_trickles_ends_at_the_deadline(server: Server, kind: str) -> None:
    server.fail(*[Fault(kind, seconds=60)] * 9)
    began = time.monotonic()
    error = failure(GeeProvider(pause_s=0.01, tries=1, request_s=0.5).fetch(plan()))
    assert time.monotonic() - began < 50, "the answer itself takes 60 s"
    assert error.transient
    assert "0.5 s" in str(error)


def test_a_callers_transport_has_the_deadline_too(server: Server, untouched: None) -> None:
    from ee import _cloud_api_utils

    class Slow(_cloud_api_utils._Http):
        def request(self, uri, *args, **kwargs):
            if ":compute" in uri:
                held.wait(120)
            return super().request(uri, *args, **kwargs)

    class Broken(_cloud_api_utils._Http):
        def request(self, uri, *args, **kwargs):
            if ":compute" in uri:
                raise LookupError("my proxy has no route")
            return super().request(uri, *args, **kwargs)

    import requests

    held = threading.Event()
    found = {}
    for kind in (Slow, Broken):
        with serve() as own, connected(own), requests.Session() as session:
            ee.Initialize(
                credentials=AnonymousCredentials(), url=own.url, project="local-test",
                http_transport=kind(session),
            )  # fmt: skip
            began = time.monotonic()
            found[kind] = failure(GeeProvider(tries=1, request_s=0.5).fetch(plan()))
            assert time.monotonic() - began < 100, "the transport itself holds it for 120 s"
            held.set()
    assert found[Slow].transient
    assert "0.5 s" in str(found[Slow])
    assert isinstance(found[Broken], ProviderError)
    assert "my proxy has no route" in str(found[Broken])
    assert isinstance(found[Broken].__cause__, LookupError)


def test_a_wait_for_a_place_is_not_the_requests_own(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one place, the second fetch waits for it longer than its deadline, and is tried."""
    monkeypatch.setattr(gee_session, "_IN_FLIGHT", threading.BoundedSemaphore(1))
    server.fail(Fault("slow", seconds=1.5), "ok", "503")
    provider = GeeProvider(pause_s=0.01, deadline_s=0.8, tries=5)
    found: list[Outcome[object]] = []
    threads = [threading.Thread(target=lambda: found.append(provider.fetch(plan())))] * 1
    threads += [threading.Thread(target=lambda: found.append(provider.fetch(plan())))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [type(one) for one in found] == [Success, Success]


INTERRUPTED = """
import os
import sys
import ee
from google.auth.credentials import AnonymousCredentials
from rs_embed.providers import gee_session, requests as limits
from rs_embed.providers.gee import GeeProvider
from tests.gee.plans import plan, square

url, size, watched = sys.argv[1:]
plain = getattr(gee_session, watched)

def told(*given):
    os.write(1, b"waiting\\n")  # whole, whichever thread writes beside it
    return plain(*given)

setattr(gee_session, watched, told)
ee.deprecation._FetchDataCatalogStac = dict
ee.Initialize(AnonymousCredentials(), url=url, project="local-test")
limits.MAX_BYTES = 5 * int(size)
try:
    GeeProvider(pause_s=240, tries=9).fetch(plan(("B2",), grid=square(64)))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("size", [10**6, 100], ids=["one request", "many requests"])
@pytest.mark.parametrize("wait", ["an answer", "another try"])
def test_an_interrupt_ends_every_wait(server: Server, wait: str, size: int) -> None:
    """In the main thread, in the threads of a plan of many tiles, and in their queue."""
    slow = wait == "an answer"
    server.fail(*[Fault("slow", seconds=120) if slow else Fault("503")] * 99)
    words = (server.url, str(size), "_execute" if slow else "pause")
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, *words], stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout.readline() == "waiting\n"
            began = time.monotonic()
            child.send_signal(signal.SIGINT)
            out, _ = child.communicate(timeout=110)
        finally:
            child.kill()
    assert "interrupted" in out.splitlines(), (out, child.returncode)
    assert child.returncode == 0
    assert time.monotonic() - began < 100, "the waits themselves are 120 s and more"


def test_the_total_deadline_ends_the_tries(server: Server) -> None:
    server.fail("503", times=100)
    began = time.monotonic()
    error = failure(GeeProvider(pause_s=0.2, tries=100, deadline_s=1).fetch(plan()))
    assert time.monotonic() - began < 100, "a hundred tries wait for hours"
    assert error.transient


def test_the_callers_own_settings_stay(server: Server) -> None:
    state = ee.data._get_state()
    before = (state.max_retries, state.deadline_ms, state.cloud_api_resource_raw)
    server.fail("503", "drop")
    fetch_window(plan(), QUICK)
    assert (state.max_retries, state.deadline_ms, state.cloud_api_resource_raw) == before


def test_the_collection_is_told_where_it_is_refused(server: Server) -> None:
    image = "COPERNICUS/S2_SR_HARMONIZED/20220101T000000_not_there"
    error = failure(QUICK.fetch(plan(("B2",), image)))
    assert "20220101T000000_not_there" in str(error)
    assert not error.transient


def test_pauses_grow_and_are_jittered(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(gee_session, "pause", lambda seconds, stop: slept.append(seconds))
    busy = Failure(ProviderError("busy", transient=True))
    settings = Settings(tries=6, pause_s=1.0, deadline_s=1000)
    assert isinstance(retrying(lambda: busy, settings), Failure)
    assert len(slept) == 5
    for number, pause in enumerate(slept):
        assert 0.5 * 2**number <= pause <= 2**number


def test_a_permanent_failure_is_not_tried_again() -> None:
    asked: list[int] = []

    def attempt() -> Outcome[int]:
        asked.append(1)
        return Failure(ProviderError("no"))

    assert isinstance(retrying(attempt, Settings()), Failure)
    assert len(asked) == 1
    assert retrying(lambda: Success(3), Settings()) == Success(3)


# --- initialisation


@pytest.fixture
def untouched(running: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The client as a fresh process has it; connected again afterwards."""
    monkeypatch.setattr(ee.deprecation, "_FetchDataCatalogStac", dict)
    ee.Reset()
    yield
    running.reset()
    ee.Reset()
    ee.Initialize(AnonymousCredentials(), url=running.url, project="local-test")


def anonymous(url: str, **more: float) -> Settings:
    """Settings that reach a local server without credentials."""
    return Settings(project="local-test", url=url, credentials=None, **more)  # type: ignore[arg-type]


def test_the_provider_initialises_once_from_many_threads(server: Server, untouched: None) -> None:
    provider = GeeProvider(project="local-test", url=server.url, credentials=None)
    found: list[Outcome[object]] = []
    threads = [
        threading.Thread(target=lambda: found.append(provider.fetch(plan()))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [type(one) for one in found] == [Success] * 8
    assert server.counters["discovery"] == 2
    assert server.counters["algorithms"] == 1
    assert ee.data._get_state().max_retries == 5


def test_another_address_is_refused(server: Server) -> None:
    error = failure(connect(anonymous("http://127.0.0.1:9")))
    assert "ee.Reset()" in str(error)


def test_nobody_listens(untouched: None) -> None:
    began = time.monotonic()
    error = failure(connect(anonymous("http://127.0.0.1:9")))
    assert time.monotonic() - began < 60
    assert error.transient
    assert "cannot be reached" in str(error)
    assert "curl -I" in str(error)
    assert not ee.data.is_initialized()


def test_an_answer_that_never_comes(server: Server, untouched: None) -> None:
    server.fail(Fault("slow", "discovery", 10))
    ee.data.setMaxRetries(7)
    began = time.monotonic()
    error = failure(connect(anonymous(server.url, start_s=0.5)))
    assert time.monotonic() - began < 9, "the answer itself takes 10 s"
    assert "did not answer within 0.5 s" in str(error)
    assert not ee.data.is_initialized()
    assert ee.data._get_state().max_retries == 7
    the_late_attempt_ends()
    # What came late came into a state that nobody has any more.
    assert not ee.data.is_initialized()
    assert ee.data._get_state().max_retries == 7
    assert isinstance(connect(anonymous(server.url)), Success)
    assert ee.data._get_state().max_retries == 7


def the_late_attempt_ends() -> None:
    deadline = time.monotonic() + 100
    while any(t.name == "rs_embed-ee-initialize" for t in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_late_start_leaves_the_callers_own_connection(server: Server, untouched: None) -> None:
    server.fail(Fault("slow", "discovery", 2))
    with serve() as own:
        assert failure(connect(anonymous(server.url, start_s=0.2))).transient
        ee.Initialize(AnonymousCredentials(), url=own.url, project="of-my-own")
        mine = ee.data._get_state()
        before = dataclasses.replace(mine)
        the_late_attempt_ends()
        assert ee.data._get_state() is mine
        assert mine == before
        assert ee.Number(2).getInfo() == 2
        assert own.counters["value"] == 1


def test_a_late_failure_leaves_the_callers_own_connection(server: Server, untouched: None) -> None:
    server.fail(Fault("slow", "discovery", 4), Fault("403", "algorithms"))
    with serve() as own:
        error = failure(connect(anonymous(server.url, start_s=0.2)))
        assert error.transient
        ee.Initialize(AnonymousCredentials(), url=own.url, project="of-my-own")
        the_late_attempt_ends()
        assert ee.data.is_initialized()


@pytest.mark.parametrize("path", ["discovery", "algorithms"])
def test_no_permission_on_the_project(server: Server, untouched: None, path: str) -> None:
    server.fail("403", path=path, times=3)
    error = failure(connect(anonymous(server.url)))
    assert not error.transient
    assert "console.cloud.google.com/earth-engine" in str(error)
    assert not ee.data.is_initialized()
    server.reset()
    assert isinstance(connect(anonymous(server.url)), Success)


@pytest.mark.parametrize("path", ["discovery", "algorithms"])
def test_a_service_that_is_down_is_transient(server: Server, untouched: None, path: str) -> None:
    server.fail("503", path=path, times=9)
    began = time.monotonic()
    error = failure(connect(anonymous(server.url)))
    assert time.monotonic() - began < 60
    assert error.transient


def test_no_project(untouched: None) -> None:
    error = failure(connect(Settings(credentials=None, url="http://127.0.0.1:9")))
    assert "earthengine set_project" in str(error)
    assert not error.transient


def test_no_credentials(tmp_path) -> None:
    """In a process of its own, with a home that holds none; within seconds."""
    code = (
        "from rs_embed import get_embedding, PointBuffer, TemporalSpec, ProviderError\n"
        "try:\n"
        "    get_embedding('mosaiks', spatial=PointBuffer(3.6, 41.0, 320),\n"
        "                  temporal=TemporalSpec.year(2022))\n"
        "except ProviderError as error:\n"
        "    print(error, error.transient)\n"
    )
    clean = {
        k: v for k, v in os.environ.items()
        if not k.startswith(("GOOGLE_", "EARTHENGINE", "CLOUDSDK"))
    }  # fmt: skip
    began = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, "HOME": str(tmp_path), "NO_GCE_CHECK": "true"},
        capture_output=True, text=True, check=True, timeout=240,
    )  # fmt: skip
    assert time.monotonic() - began < 120
    assert "earthengine authenticate" in ran.stdout
    assert ran.stdout.strip().endswith("False")


def test_without_the_client(tmp_path) -> None:
    code = (
        "import sys\n"
        "sys.modules['ee'] = None\n"
        "from rs_embed.providers.gee import GeeProvider\n"
        "print(GeeProvider().check_available().failure())\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install earthengine-api (extra `gee`)" in ran.stdout


def test_a_transport_of_the_callers_is_used(untouched: None) -> None:
    """``ee.Initialize(http_transport=...)`` is the caller's word on how requests leave."""
    import requests
    from ee import _cloud_api_utils

    asked: list[str] = []

    class Transport(_cloud_api_utils._Http):
        def request(self, uri, *args, **kwargs):
            asked.append(uri)
            return super().request(uri, *args, **kwargs)

    with serve() as own, connected(own), requests.Session() as session:
        ee.Initialize(
            credentials=AnonymousCredentials(), url=own.url, project="local-test",
            http_transport=Transport(session),
        )  # fmt: skip
        asked.clear()
        fetch_window(plan())
        assert len(asked) == 1
        assert ":computePixels" in asked[0]
