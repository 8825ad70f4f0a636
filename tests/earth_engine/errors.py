"""The one error of the server: an HTTP status with Google's wording."""

from __future__ import annotations

STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class ServiceError(Exception):
    """An answer that is not 200.

    Parameters
    ----------
    message
        The text a client shows.
    code
        The HTTP status.
    reason
        ``errors[0].reason`` of Google's form, which decides whether a 403 is retried.
    """

    def __init__(self, message: str, code: int = 400, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason

    def document(self) -> dict[str, object]:
        """Google's JSON error form."""
        error: dict[str, object] = {
            "code": self.code,
            "message": self.message,
            "status": STATUS_NAMES.get(self.code, "UNKNOWN"),
        }
        if self.reason:
            error["errors"] = [
                {"message": self.message, "domain": "usageLimits", "reason": self.reason}
            ]
        return {"error": error}


def unsupported(what: str) -> ServiceError:
    """The error for a request that is legitimate but not implemented here."""
    return ServiceError(f"{what}: not supported by the local Earth Engine server.")
