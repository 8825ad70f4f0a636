"""Bytes of published weights brought to this machine, from a hub or a URL, every wait bounded.

Nothing here decides whether bytes are the right ones: that is `rs_embed.embedders.store`.
"""

from __future__ import annotations

import errno
import http.client
import inspect
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from returns.result import Failure, Success

from rs_embed.core.errors import ModelError, RsEmbedError
from rs_embed.core.model import WeightRecord
from rs_embed.core.result import Outcome, caused
from rs_embed.embedders.watched import Watched

T = TypeVar("T")

Agree = Callable[[int | None], Outcome[None]]
"""Asked with the size in bytes, once it is known and before the body is read."""

TRIES = 4
HUB_TRIES = 7  # one more than the hub client makes over HTTP, a second apart
CHUNK = 1 << 20
REMEDY = "or pass weights=FILE with a copy of your own"
UNWRITABLE = {
    errno.ENOSPC: "the disk is full: free some space, or set HF_HOME to a folder on a larger one",
    errno.EDQUOT: "the disk quota is used up: set HF_HOME to a folder elsewhere",
    errno.EACCES: "the cache cannot be written: set HF_HOME to a folder of yours",
    errno.EROFS: "the cache is read-only: set HF_HOME to a folder of yours",
}


def silence_s(timeout_s: float) -> float:
    """Seconds that a server may stay silent: ``HF_HUB_DOWNLOAD_TIMEOUT`` where the user set it."""
    from huggingface_hub import constants

    own = constants.HF_HUB_DOWNLOAD_TIMEOUT
    return timeout_s if own == constants.DEFAULT_DOWNLOAD_TIMEOUT else float(own)


def hub_fetch(
    record: WeightRecord, agree: Agree, timeout_s: float, *, anew: bool = False
) -> Outcome[Path]:
    """Path of a hub file in the hub's own cache, after asking the hub what the file is.

    The question comes first because the hub client answers its own failed one with minutes of
    retries, and because a file other than the recorded one is then refused before it is fetched.
    ``anew`` fetches the bytes although the cache has some: a copy that repositories share, say,
    which is damaged. Fails with ModelError; transient where the same call may succeed later.
    """
    return (
        _hub_call(record, lambda: _hub_facts(record, timeout_s))
        .bind(lambda facts: _as_recorded(record, facts))
        .bind(lambda size: _hub_call(record, lambda: _hub_to_come(record, size, timeout_s)))
        .bind(agree)
        .bind(lambda _: _hub_call(record, lambda: _hub_download(record, timeout_s, anew)))
    )


def url_fetch(record: WeightRecord, target: Path, agree: Agree, timeout_s: float) -> Outcome[Path]:
    """``target``, filled from the record's URL; a part left by an earlier try is continued.

    Another process that fetches the same file is waited for as long as it makes progress.
    Fails with ModelError; transient where the same call may succeed later.
    """
    from filelock import FileLock, Timeout
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return Failure(ModelError(f"{_offline(record)}; {REMEDY}"))
    part = target.with_name(target.name + ".part")
    lock = FileLock(target.with_name(target.name + ".lock"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        while True:
            before = _size(part)
            try:
                with lock.acquire(timeout=timeout_s):
                    return _into_place(record, part, target, agree, timeout_s)
            except Timeout as error:
                if _size(part) == before and not target.exists():
                    text = f"another process holds {lock.lock_file} and makes no progress; end it"
                    return _failed(f"{text}, then try again", error, transient=True)
    except OSError as error:
        return Failure(_url_error(record, error))


# The hub


def _hub_call(record: WeightRecord, call: Callable[[], T]) -> Outcome[T]:
    from huggingface_hub.errors import HfHubHTTPError

    # The client's HTTP library changed twice; its own error names the root of the library's errors.
    roots = cast(tuple[type[BaseException], ...], HfHubHTTPError.__bases__)
    foreign: tuple[type[BaseException], ...] = (OSError, ValueError, RuntimeError, *roots)
    try:
        return Success(call())
    except foreign as error:
        return Failure(_hub_error(record, error))


def _hub_facts(record: WeightRecord, timeout_s: float) -> tuple[str | None, int | None]:
    """Entity tag and size; the tag of a large file is its SHA-256."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import FileMetadataError

    url = hf_hub_url(_repo(record), record.filename, revision=_revision(record))
    patience = constants.HF_HUB_ETAG_TIMEOUT
    own = patience != constants.DEFAULT_ETAG_TIMEOUT
    facts = get_hf_file_metadata(url, timeout=patience if own else timeout_s)
    if facts.commit_hash is None:  # a login page of some network in between, say
        raise FileMetadataError(f"no commit in the answer for {url}")
    return facts.etag, facts.size


def _as_recorded(record: WeightRecord, facts: tuple[str | None, int | None]) -> Outcome[int | None]:
    etag, size = facts
    if record.sha256 and is_sha256(etag) and etag != record.sha256:
        difference = f"SHA-256 {etag}, not {record.sha256}"
    elif record.size and size is not None and size != record.size:
        difference = f"{size:,} bytes, not {record.size:,}"
    else:
        return Success(size or record.size or record.approx_size)
    return Failure(
        ModelError(
            f"{where(record)} is another file than the published weights this version knows: the "
            f"hub gives {difference}. Nothing was downloaded. Upgrade rs-embed, {REMEDY}"
        )
    )


def _hub_to_come(record: WeightRecord, size: int | None, timeout_s: float) -> int | None:
    """Bytes that a download would bring: none of a file that another repository brought already.

    The client answers that itself from 1.0 on; of an older one the whole file is asked for.
    """
    from huggingface_hub import hf_hub_download

    if not _takes("dry_run"):
        return size
    told: Any = hf_hub_download(
        _repo(record),
        record.filename,
        revision=_revision(record),
        etag_timeout=timeout_s,
        dry_run=True,
    )
    return size if told.will_download else 0


def _hub_download(record: WeightRecord, timeout_s: float, anew: bool) -> Path:
    """The client's own download, ended where no byte comes for as long as its tries may take.

    Its HTTP transfers know a time-out (``HF_HUB_DOWNLOAD_TIMEOUT``), those of Xet storage do not:
    so that both end, the call runs in a thread of its own, and is left alone where it stands still.
    """
    from huggingface_hub import hf_hub_download

    def fetched(bar: type) -> str:
        watched: dict[str, Any] = {"tqdm_class": bar} if _takes("tqdm_class") else {}
        path: str = hf_hub_download(
            _repo(record),
            record.filename,
            revision=_revision(record),
            etag_timeout=timeout_s,
            library_name="rs-embed",
            force_download=anew,
            **watched,
        )
        return path

    if not _takes("tqdm_class"):  # before 1.0, and then without Xet
        return Path(fetched(type))
    return Path(Watched(fetched).result(HUB_TRIES * (silence_s(timeout_s) + 1)))


def _takes(word: str) -> bool:
    """Whether the client's download knows a keyword; older ones lack some."""
    from huggingface_hub import hf_hub_download

    return word in inspect.signature(hf_hub_download).parameters


def _hub_error(record: WeightRecord, error: BaseException) -> RsEmbedError:
    text, transient = _hub_reason(record, error)
    return caused(ModelError(f"{text}; {REMEDY}", transient=transient), by=error)


def _hub_reason(record: WeightRecord, error: BaseException) -> tuple[str, bool]:
    """What happened and what to do, and whether the same call may succeed later."""
    from huggingface_hub import constants, errors

    place, hub = where(record), constants.ENDPOINT
    if not hub.startswith(("http://", "https://")):
        return f"HF_ENDPOINT is {hub!r}, which is no http address: unset or mend it", False
    match error:
        case errors.LocalEntryNotFoundError() if error.__cause__ is not None:
            return _hub_reason(record, error.__cause__)
        case errors.OfflineModeIsEnabled():
            return _offline(record), False
        case errors.GatedRepoError():
            terms = f"accept its terms at {hub}/{record.repo}, then run `hf auth login`"
            return f"{place} is open to registered readers only: {terms}", False
        case errors.RepositoryNotFoundError():
            login = "if it is private, run `hf auth login`; else check repo and HF_ENDPOINT"
            return f"{place}: {hub} has no such repository for you: {login}", False
        case errors.RevisionNotFoundError():
            return f"{place}: the repository has no revision {_revision(record)!r} any more", False
        case errors.EntryNotFoundError():
            return f"{place}: the repository has no file {record.filename!r} there", False
        case errors.FileMetadataError():
            return f"{hub} does not answer as a hub does: check HF_ENDPOINT and proxies", False
        case errors.HfHubHTTPError():
            return _status_reason(place, error.response.status_code)
        case OSError(errno=code) if code in UNWRITABLE:
            return f"{place} could not be kept: {UNWRITABLE[code]}", False
        case ValueError():
            return f"{place} is not something {hub} can be asked for: {error}", False
    return f"{_silence(place, hub, error)}, set HF_ENDPOINT to a mirror", True


# URLs


def _into_place(
    record: WeightRecord, part: Path, target: Path, agree: Agree, timeout_s: float
) -> Outcome[Path]:
    """The lock is held: fetch to the part file, then rename, so that half a file never shows."""
    if target.exists():
        return Success(target)
    fetch_window = _persist(record, part, agree, timeout_s)
    if isinstance(fetch_window, Failure):
        if not record.hashed:
            part.unlink(missing_ok=True)
        return fetch_window
    os.replace(part, target)
    return Success(target)


def _persist(
    record: WeightRecord, part: Path, agree: Agree, timeout_s: float
) -> Outcome[int | None]:
    """Tries until the file is whole; only those in a row that bring no new byte are counted."""
    idle = 0
    while True:
        before = _size(part)
        outcome = _try_url(record, part, agree, timeout_s)
        if not isinstance(outcome, Failure) or not outcome.failure().transient:
            return outcome
        idle = 0 if _size(part) > before else idle + 1
        if idle >= TRIES:
            return outcome
        time.sleep(0.25 * 2**idle)


def _try_url(
    record: WeightRecord, part: Path, agree: Agree, timeout_s: float
) -> Outcome[int | None]:
    # Without a hash nothing would tell a file spliced from two versions: such a one starts again.
    have = _size(part) if record.hashed else 0
    if record.size and have == record.size:
        return Success(have)
    headers = {"User-Agent": "rs-embed", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(str(record.url), headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=silence_s(timeout_s)) as response:
            start = have if response.status == http.client.PARTIAL_CONTENT else 0
            rest = response.headers.get("Content-Length")
            total = start + int(rest) if rest else None
            return agree(total or record.size or record.approx_size).bind(
                lambda _: _copy(record, response, part, start, total)
            )
    except urllib.error.HTTPError as error:
        with error:
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.unlink(missing_ok=True)
                return _failed(f"{where(record)}: the part kept here did not fit", error, True)
            text, transient = _status_reason(where(record), error.code)
            return _failed(f"{text}; {REMEDY}", error, transient)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Failure(_url_error(record, error))


def _copy(
    record: WeightRecord,
    response: http.client.HTTPResponse,
    part: Path,
    start: int,
    total: int | None,
) -> Outcome[int | None]:
    from huggingface_hub import utils

    bar = cast(Any, utils).tqdm(
        total=total, initial=start, unit="B", unit_scale=True, desc=record.filename, leave=False
    )
    with bar, part.open("r+b" if start else "wb") as file:
        file.seek(start)
        while block := response.read1(CHUNK):
            file.write(block)
            bar.update(len(block))
        file.truncate()
        end = file.tell()
    if total is None or end == total:
        return Success(end)
    text = f"{where(record)}: the connection closed after {end:,} of {total:,} bytes; try again"
    return _failed(f"{text}, {REMEDY}", None, transient=True)


def _url_error(record: WeightRecord, error: BaseException) -> RsEmbedError:
    reason = getattr(error, "reason", error)
    code = getattr(reason, "errno", None)
    if code in UNWRITABLE:
        text = f"{where(record)} could not be kept: {UNWRITABLE[code]}"
        return caused(ModelError(text), by=error)
    text = _silence(where(record), "the server", error)
    return caused(ModelError(f"{text}; {REMEDY}", transient=True), by=error)


# Words


def where(record: WeightRecord) -> str:
    """How messages name a file: repository, revision and name, or its URL."""
    if record.repo is None:
        return str(record.url)
    return f"{record.repo}@{_revision(record)[:12]}/{record.filename}"


def is_sha256(text: str | None) -> bool:
    """Whether the text can be a SHA-256 in lower-case hexadecimal."""
    return text is not None and len(text) == 64 and set(text) <= set("0123456789abcdef")


def _offline(record: WeightRecord) -> str:
    return (
        f"{where(record)} is not in the cache and HF_HUB_OFFLINE is set: unset it for one run, "
        f"or fetch the file where there is a network and bring the folder HF_HOME along"
    )


def _silence(place: str, server: str, error: BaseException) -> str:
    kind = str(error) or type(error).__name__
    return (
        f"{place}: no complete answer from {server} ({kind}): check the network and any proxy, "
        "then try again"
    )


def _status_reason(place: str, status: int) -> tuple[str, bool]:
    if status in (408, 429) or status >= 500:
        return f"{place}: the server is busy or down (status {status}): try again later", True
    if status in (401, 403):
        return f"{place}: the server refuses (status {status}): run `hf auth login`", False
    return f"{place}: the server has no such file (status {status})", False


def _failed(text: str, error: BaseException | None, transient: bool) -> Outcome[Any]:
    problem = ModelError(text, transient=transient)
    return Failure(problem if error is None else caused(problem, by=error))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _repo(record: WeightRecord) -> str:
    return str(record.repo)


def _revision(record: WeightRecord) -> str:
    return record.revision or "main"
