"""What Earth Engine and its client raise, as errors that say what mends them."""

from __future__ import annotations

import json
from typing import Any

from rs_embed.core.errors import ProviderError, RsEmbedError
from rs_embed.core.result import caused

_TRANSIENT_STATUS = (408, 429, 500, 502, 503, 504)
_RATE_LIMITS = ("rateLimitExceeded", "userRateLimitExceeded")
# A 400 that says only in words that half as many pixels would do.
_TOO_MUCH = ("memory limit exceeded", "total request size", "computation timed out")


class TooMuchError(ProviderError):
    """The service had not enough memory or time for a request; a smaller one may pass."""


def explain(error: BaseException) -> RsEmbedError:
    """What went wrong in words, with what mends it; told by status and reason before text."""
    name = type(error).__name__
    status, reason, text = _http_facts(error)
    if status is not None:
        return caused(_by_status(status, reason, text), by=error)
    if name in ("RefreshError", "InvalidOperation", "DefaultCredentialsError"):
        return caused(_no_access(f"the credentials were refused ({error})"), by=error)
    if _is_network(error):
        return caused(
            ProviderError(
                f"Earth Engine cannot be reached ({error or name}); check the connection and "
                "proxy with: curl -I https://earthengine.googleapis.com",
                transient=True,
            ),
            by=error,
        )
    return caused(_by_text(str(error)), by=error)


def _http_facts(error: BaseException) -> tuple[int | None, str, str]:
    """Status, reason and message of an HTTP answer behind an error; (None, "", "") without one."""
    found: Any = error if hasattr(error, "resp") else error.__context__
    if not hasattr(found, "resp"):
        return None, "", ""
    status = int(found.resp.status)
    try:
        told = json.loads(found.content)["error"]
        details = [*told.get("errors", ()), *told.get("details", ())]
        reasons = [str(d["reason"]) for d in details if isinstance(d, dict) and "reason" in d]
        return status, reasons[0] if reasons else "", str(told.get("message", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        # A gateway's HTML page; its text says nothing.
        return status, "", f"HTTP status {status}"


def _by_status(status: int, reason: str, text: str) -> ProviderError:
    if status in _TRANSIENT_STATUS or reason in _RATE_LIMITS:
        return ProviderError(f"Earth Engine is busy ({status}: {text})", transient=True)
    if status == 401:
        return _no_access(f"the credentials were refused ({text})")
    if status == 403:
        return _no_permission(text)
    if status == 404:
        return ProviderError(
            f"Earth Engine does not know it, or the project may not read it: {text} Check the id "
            "at https://developers.google.com/earth-engine/datasets"
        )
    if status == 400 and any(words in text.lower() for words in _TOO_MUCH):
        return TooMuchError(f"Earth Engine: {text}; make the region or the window smaller")
    return ProviderError(f"Earth Engine refused the request ({status}): {text}")


def _by_text(text: str) -> ProviderError:
    """What the client says without having asked the service."""
    first = text.strip().splitlines()[0] if text.strip() else "no reason given"
    if "no project found" in text:
        return ProviderError(
            "Earth Engine needs a Cloud project; run: earthengine set_project YOUR-PROJECT, or "
            "call ee.Initialize(project='YOUR-PROJECT') first"
        )
    if "authorize access" in text or "not initialized" in text or "credential" in text.lower():
        return ProviderError(
            "Earth Engine: there are no credentials on this machine; run: earthengine "
            "authenticate, or call ee.Authenticate() in Python"
        )
    return ProviderError(f"Earth Engine: {first}")


def _no_access(why: str) -> ProviderError:
    return ProviderError(f"Earth Engine: {why}; run: earthengine authenticate --force")


def _no_permission(text: str) -> ProviderError:
    return ProviderError(
        f"Earth Engine: the project lacks a permission ({text}); register it at "
        "https://console.cloud.google.com/earth-engine, then run: gcloud projects "
        "add-iam-policy-binding YOUR-PROJECT --member=user:YOU "
        "--role=roles/serviceusage.serviceUsageConsumer"
    )


def _is_network(error: BaseException) -> bool:
    """Whether nothing came back from the service: no route, a dropped or timed-out connection."""
    names = {cls.__name__ for cls in type(error).__mro__}
    return isinstance(error, OSError) or bool(names & {"TransportError", "HttpLib2Error"})
