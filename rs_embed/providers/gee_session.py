"""The connection to Earth Engine: initialisation, one request with a deadline, retries.

Everything goes through the official client: its credentials, project, address, headers and HTTP
session. A client that the caller has initialised is used as it is. Three of its private functions
are called, and only in `_prepared_call`: they give the HTTP request that ``ee.data.computePixels``
would send, so that it can be sent with a deadline and without the client's own retries while
``ee.data.setDeadline`` and ``setMaxRetries``, which are global, stay as the caller set them.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from returns.result import Failure, Success

from rs_embed.core.errors import ProviderError, RsEmbedError
from rs_embed.core.extras import missing_text
from rs_embed.core.result import Outcome, caused
from rs_embed.providers.gee_errors import explain
from rs_embed.providers.waiting import InterruptedWaitError, bounded, flag, pause, slot

T = TypeVar("T")

# The client's HTTP session keeps ten connections; more requests at once would open throw-away ones.
MAX_IN_FLIGHT = 10
_IN_FLIGHT = threading.BoundedSemaphore(MAX_IN_FLIGHT)
_STARTING = threading.Lock()
_CONNECT_S = 10.0
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Settings:
    """How to connect, and how long to wait.

    Parameters
    ----------
    project, url, credentials
        As for ``ee.Initialize``; used only where nobody has initialised the client.
    start_s : float
        For the whole initialisation.
    request_s : float
        For one request.
    deadline_s : float
        For all tries of one request, pauses included.
    tries : int
        Of one request.
    pause_s : float
        Before the second try; doubled for each further one, times a random 0.5 to 1.
    """

    project: str | None = None
    url: str | None = None
    credentials: Any = "persistent"
    start_s: float = 20.0
    request_s: float = 120.0
    deadline_s: float = 600.0
    tries: int = 6
    pause_s: float = 0.5


def connect(settings: Settings) -> Outcome[None]:
    """An initialised client, once in a process and safely from any thread.

    Fails with ProviderError that names the command that mends it, after ``start_s`` at the latest.
    """
    try:
        import ee
    except ImportError as error:
        return Failure(
            caused(
                ProviderError(missing_text("backend 'gee'", "gee", "the Earth Engine client")),
                by=error,
            )
        )
    with _STARTING:
        if not ee.data.is_initialized():
            return _initialise(settings)
        return _same_address(settings)


def compute_pixels(
    request: dict[str, Any], read: Callable[[bytes], Outcome[T]], settings: Settings
) -> Outcome[T]:
    """What ``read`` makes of the bytes that ``image:computePixels`` answers.

    ``request`` is the body that is sent, its expression encoded. A transient Failure of ``read``,
    for an answer that was cut short, is tried again like one of the connection.

    Fails with ProviderError, ``transient`` where the same request may pass later, and with
    `TooMuchError` where a smaller one may pass now.
    """
    return _sent(lambda: _prepared_call("pixels", request), read, settings)


def compute_value(expression: Any, settings: Settings) -> Outcome[Any]:
    """What ``getInfo`` would give for an ``ee`` object."""
    from ee import serializer

    body = {"expression": serializer.encode(expression, for_cloud_api=True)}
    return _sent(lambda: _prepared_call("value", body), _result, settings)


def asset_facts(asset: str, settings: Settings) -> Outcome[dict[str, Any]]:
    """What the catalogue says of an asset: its type, and for an image its bands and date."""
    return _sent(lambda: _prepared_call("asset", asset), Success, settings)


def retrying(
    attempt: Callable[[], Outcome[T]],
    settings: Settings,
    *,
    waited: Callable[[], float] = lambda: 0.0,
    stop: threading.Event | None = None,
) -> Outcome[T]:
    """The first success, or the last failure: transient ones are tried again, others never.

    Pauses grow exponentially and are jittered, so that many workers do not come back at once.
    ``waited`` tells the seconds so far that are not the request's own, such as for a free place:
    they do not count towards the deadline.
    """
    end = time.monotonic() + settings.deadline_s
    for number in range(1, settings.tries + 1):
        outcome = attempt()
        if not isinstance(outcome, Failure) or not outcome.failure().transient:
            return outcome
        pause_s = settings.pause_s * 2 ** (number - 1) * random.uniform(0.5, 1)
        if number == settings.tries or time.monotonic() + pause_s >= end + waited():
            return outcome.alt(lambda error, n=number: _given_up(error, n))  # type: ignore[misc]
        pause(pause_s, stop or flag())
    raise AssertionError("tries is at least 1")


def _sent(
    make: Callable[[], Any], read: Callable[[Any], Outcome[T]], settings: Settings
) -> Outcome[T]:
    """What ``read`` makes of the answer of a call, tried again where that can help."""
    stop = flag()
    in_queue: list[float] = []

    def once() -> Outcome[T]:
        try:
            with slot(_IN_FLIGHT, stop) as seconds:
                in_queue.append(seconds)
                answer = _execute(make(), settings.request_s, stop)
        except InterruptedWaitError:
            raise
        except Exception as error:
            if not isinstance(error, _foreign()):
                raise
            return Failure(explain(error))
        return read(answer)

    try:
        return retrying(once, settings, waited=lambda: sum(in_queue), stop=stop)
    except InterruptedWaitError as error:
        return Failure(caused(ProviderError("Earth Engine: the request was interrupted"), by=error))


def _foreign() -> tuple[type[BaseException], ...]:
    """What a request can raise that is no fault of ours.

    The client lets HTTP, token and socket errors through each in its own class; a transport that
    the caller gave it may have errors of any kind.
    """
    import ee
    from google.auth.exceptions import GoogleAuthError
    from googleapiclient.errors import Error as ApiError

    if ee.data._get_state().http_transport is not None:
        return (Exception,)
    return (ee.EEException, ApiError, GoogleAuthError, OSError, ValueError)


def _prepared_call(kind: str, what: Any) -> Any:
    """The HTTP request of the official client for an expression or an asset, not yet sent."""
    import ee

    project = ee.data._get_projects_path()
    tag = ee.data.getWorkloadTag()
    if tag and kind != "asset":
        what = {**what, "workloadTag": tag}
    if kind == "pixels":
        image = ee.data._get_cloud_projects_raw().image()
        return image.computePixels(project=project, body=what)
    if kind == "value":
        value = ee.data._get_cloud_projects().value()
        return value.compute(project=project, body=what, prettyPrint=False)
    name = ee._cloud_api_utils.convert_asset_id_to_asset_name(what)
    return ee.data._get_cloud_projects().assets().get(name=name, prettyPrint=False)


def _execute(call: Any, seconds: float, stop: threading.Event) -> Any:
    """Send a request once, within so many seconds.

    The request keeps its own transport where the caller gave ``ee.Initialize`` one; else it goes
    out on the client's session, with a deadline.
    """
    import ee
    from google_auth_httplib2 import AuthorizedHttp

    state = ee.data._get_state()
    if state.http_transport is not None:
        return bounded(lambda: call.execute(num_retries=0), seconds, stop)
    transport: Any = _Timed(state.requests_session, seconds)
    if isinstance(call.http, AuthorizedHttp):
        # The same credentials object, so that a refreshed token serves every thread.
        transport = AuthorizedHttp(call.http.credentials, http=transport)
    return bounded(lambda: call.execute(http=transport, num_retries=0), seconds, stop)


class _Timed:
    """What the client expects of a transport, with an end to the whole answer.

    `bounded` ends the wait; this ends the thread and the connection of one that was left.
    """

    def __init__(self, session: Any, seconds: float) -> None:
        self._session = session
        self._seconds = seconds

    def request(
        self,
        uri: str,
        method: str = "GET",
        body: Any = None,
        headers: Any = None,
        redirections: Any = None,
        connection_type: Any = None,
    ) -> tuple[Any, bytes]:
        """Status with headers, and the body; TimeoutError when time is up."""
        import httplib2
        from urllib3.exceptions import HTTPError

        end = time.monotonic() + self._seconds
        wait = (min(_CONNECT_S, self._seconds), self._seconds)
        with self._session.request(
            method, uri, data=body, headers=headers, timeout=wait, stream=True
        ) as answer:
            parts = []
            try:
                # What has come, and not so many bytes: an answer that trickles must end too.
                while part := answer.raw.read1(_CHUNK_BYTES, decode_content=True):
                    parts.append(part)
                    if time.monotonic() > end:
                        raise TimeoutError(f"no complete answer within {self._seconds:g} s")
            except HTTPError as error:
                raise ConnectionError(str(error)) from error
            head = httplib2.Response({**answer.headers, "status": str(answer.status_code)})
            head.reason = answer.reason
            return head, b"".join(parts)


def _result(answer: Any) -> Outcome[Any]:
    if isinstance(answer, dict) and "result" in answer:
        return Success(answer["result"])
    return Failure(ProviderError("Earth Engine answered without a result", transient=True))


def _initialise(settings: Settings) -> Outcome[None]:
    """``ee.Initialize`` in a thread of its own, since neither DNS nor the client's own download
    of its list of deprecated assets knows a time-out.

    One that is not done in time, or interrupted, is left, and the client is as it was before.
    """
    import ee

    state = ee.data._get_state()
    retries = state.max_retries
    done: list[Outcome[None]] = []
    thread = threading.Thread(
        target=lambda: done.append(_initialised(settings)),
        name="rs_embed-ee-initialize",
        daemon=True,
    )
    state.max_retries = 1  # discovery would be tried for half a minute
    try:
        thread.start()
        thread.join(settings.start_s)
    finally:
        state.max_retries = retries
        # A client without its algorithms would pass for an initialised one.
        if not (done and isinstance(done[0], Success)) and not ee.ApiFunction._api:
            _forget(state)
    if done:
        return done[0]
    return Failure(
        ProviderError(
            f"Earth Engine did not answer within {settings.start_s:g} s; check the connection and "
            "proxy with: curl -I https://earthengine.googleapis.com",
            transient=True,
        )
    )


def _initialised(settings: Settings) -> Outcome[None]:
    import ee
    from google.auth.exceptions import GoogleAuthError
    from googleapiclient.errors import Error as ApiError

    try:
        ee.Initialize(credentials=settings.credentials, url=settings.url, project=settings.project)
    except (ee.EEException, ApiError, GoogleAuthError, OSError, ValueError) as error:
        return Failure(explain(error))
    return Success(None)


def _forget(begun: Any) -> None:
    """The client uninitialised again; what the caller had set before stays.

    Nothing where the caller has another state by now: an attempt that was left writes into the
    one it began with.
    """
    import ee

    if ee.data._get_state() is not begun:
        return
    ee.Reset()
    after = ee.data._get_state()
    after.max_retries, after.user_agent = begun.max_retries, begun.user_agent
    after.deadline_ms, after.workload_tag = begun.deadline_ms, begun.workload_tag


def _same_address(settings: Settings) -> Outcome[None]:
    import ee

    used = ee.data._get_state().cloud_api_base_url
    if settings.url is None or settings.url == used:
        return Success(None)
    return Failure(
        ProviderError(
            f"Earth Engine is already initialised on {used}, not on {settings.url}; call "
            "ee.Reset() first: the client has one connection a process"
        )
    )


def _given_up(error: RsEmbedError, tries: int) -> RsEmbedError:
    if tries == 1:
        return error
    return caused(ProviderError(f"{error} (gave up after {tries} tries)", transient=True), by=error)
