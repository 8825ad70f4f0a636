"""Published weights as files on this machine: found, fetched once, checked once, described.

Hub files lie in the hub's own cache; files from elsewhere in ``<HF_HOME>/rs_embed``. The variables
``HF_HOME``, ``HF_ENDPOINT`` and ``HF_HUB_OFFLINE`` mean what they mean for every hub client.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

from returns.result import Failure, Success

from rs_embed.core.errors import ModelError
from rs_embed.core.extras import missing_text
from rs_embed.core.model import WeightRecord
from rs_embed.core.result import Outcome, caused
from rs_embed.embedders.hub_cache import hub_blob, hub_cached, hub_remove, is_shared
from rs_embed.embedders.transfer import (
    REMEDY,
    Agree,
    hub_fetch,
    is_sha256,
    url_fetch,
    where,
)
from rs_embed.plugins.notices import warn_once

Consent: TypeAlias = Callable[[WeightRecord, int], bool]

LARGE_BYTES = 2_000_000_000
"""Downloads over this size are asked for first."""


class LicenceNotice(UserWarning):
    """The licence of some weights limits their use, or is not stated."""


def locate(
    record: WeightRecord | None,
    *,
    local: str | os.PathLike[str] | None = None,
    consent: Consent | None = None,
    model: str = "MODEL",
    timeout_s: float = 10.0,
) -> Outcome[Path]:
    """Path of the weights, checked; downloaded if they are not on this machine yet.

    A file that is here is used without any request, and hashed only if it was never checked or
    has changed since.

    Parameters
    ----------
    record : WeightRecord or None
        What is published: where it lies, its size and hash as far as known.
    local : path, optional
        A file of the caller's, taken as it is instead of the published one.
    consent : callable, optional
        ``(record, bytes) -> bool``, called before a download over 2 GB. Default: a question on an
        interactive terminal, a refusal elsewhere.
    model : str
        How messages name the model.
    timeout_s : float
        Seconds that a server may stay silent before a try ends. ``HF_HUB_DOWNLOAD_TIMEOUT`` and
        ``HF_HUB_ETAG_TIMEOUT`` go before it, for files from elsewhere too. A server that answers
        and then sends nothing at all costs about seven times as much.

    Returns
    -------
    Outcome of Path
        Fails with ModelError: no such local file, nothing published, no consent, a missing
        package, a server that does not deliver, or bytes other than the recorded ones (which are
        then removed). ``transient`` where the same call may succeed later.
    """
    if local is not None:
        return _local_file(Path(local).expanduser())
    if record is None or (record.repo is None and record.url is None):
        return Failure(ModelError(f"no weights of {model} are published; pass weights=FILE"))
    agree = _agreement(record, consent or ask, model)
    return installed("huggingface_hub").bind(lambda _: _published_file(record, agree, timeout_s))


def find_kept(record: WeightRecord) -> Path | None:
    """The published file where it lies on this machine, found without any request, or None."""
    if record.repo is not None:
        return hub_cached(record)
    target = weights_home() / "files" / _kept_as(record)
    return target if target.exists() else None


def provenance(record: WeightRecord | None, path: Path) -> dict[str, str | int | bool | None]:
    """What is known of a located file, for ``meta``; a local file is told by name and hash only.

    ``commit`` is the hub commit that the file came from, also where none was asked for; ``pinned``
    says whether a revision or a hash was, and ``published`` whether the bytes are known to be the
    recorded ones (None where no hash is recorded).
    """
    digest = content_sha256(path)
    published = _is_published(record, path, digest)
    told: dict[str, str | int | bool | None] = {
        "file": path.name,
        "repo": None,
        "url": None,
        "revision": None,
        "commit": None,
        "sha256": digest,
        "size": path.stat().st_size,
        "pinned": False,
        "published": published,
        "licence": record.licence if record and published else "not stated",
    }
    if record is None or not _is_cached(path):
        return told
    snapshot = re.search(r"[/\\]snapshots[/\\]([0-9a-f]{40})[/\\]", str(path))
    return told | {
        "file": record.filename,
        "repo": record.repo,
        "url": record.url,
        "revision": record.revision,
        "commit": snapshot.group(1) if snapshot else None,
        "pinned": record.pinned,
        "licence": record.licence,
    }


def content_sha256(path: Path) -> str:
    """SHA-256 of a file, computed once and remembered until its size or time of change differ."""
    return _content_hash(path, "sha256")


def _is_published(record: WeightRecord | None, path: Path, digest: str) -> bool | None:
    """Whether the bytes are the recorded ones; None where no hash is recorded."""
    if record is None or not record.hashed:
        return None
    if record.sha256 is not None:
        return digest == record.sha256
    return _content_hash(path, "md5") == record.md5


def note_licence(record: WeightRecord) -> None:
    """Warn with LicenceNotice, once in a process, if the licence limits use or is not stated."""
    if record.restricted:
        licence, place = record.licence, where(record)
        text = f"the licence of {place} limits use or is not stated: {licence}"
        warn_once(("licence", licence, place), text, LicenceNotice)


def ask(record: WeightRecord, size: int) -> bool:
    """The answer of a person at the terminal; False where there is none to ask."""
    if not (sys.stdin and sys.stderr and sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    print(f"{where(record)} is {size / 1e9:.1f} GB. Download it? [y/N] ", end="", file=sys.stderr)
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def installed(*packages: str) -> Outcome[None]:
    """Success if the packages can be imported; else a ModelError that says what to install."""
    missing = missing_packages(*packages)
    if not missing:
        return Success(None)
    return Failure(ModelError(missing_text("loading weights", "torch", *missing)))


def missing_packages(*packages: str) -> tuple[str, ...]:
    """Those that cannot be imported."""
    return tuple(name for name in packages if not _present(name))


def weights_home() -> Path:
    """Folder of what this package keeps beside the hub's cache."""
    from huggingface_hub import constants

    return Path(constants.HF_HOME) / "rs_embed"


def _present(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _local_file(path: Path) -> Outcome[Path]:
    if path.is_file():
        return Success(path)
    found = "is a folder" if path.is_dir() else "does not exist"
    return Failure(ModelError(f"weights={str(path)!r} {found}; pass the path of a file"))


def _agreement(record: WeightRecord, consent: Consent, model: str) -> Agree:
    @cache
    def agree(size: int | None) -> Outcome[None]:
        if size is None or size <= LARGE_BYTES or consent(record, size):
            return Success(None)
        return Failure(
            ModelError(
                f"{where(record)} is {size / 1e9:.1f} GB and was not downloaded without consent: "
                f"run `rs-embed weights fetch {model} --yes`, {REMEDY}"
            )
        )

    return agree


def _published_file(record: WeightRecord, agree: Agree, timeout_s: float) -> Outcome[Path]:
    here = find_kept(record)
    if here is not None:
        return _checked(record, here, fresh=False)
    if record.repo is None:
        target = weights_home() / "files" / _kept_as(record)
        found = url_fetch(record, target, agree, timeout_s)
        return found.bind(lambda path: _checked(record, path, fresh=True))
    return (
        hub_fetch(record, agree, timeout_s)
        .bind(lambda path: _anew_if_shared(record, path, agree, timeout_s))
        .bind(lambda path: _checked(record, path, fresh=True))
    )


def _anew_if_shared(
    record: WeightRecord, path: Path, agree: Agree, timeout_s: float
) -> Outcome[Path]:
    """Bytes that another repository brought are not downloaded; damaged ones are, once more."""
    try:
        sound = not is_shared(record, path) or _difference(record, path) is None
    except OSError:
        sound = True  # what cannot be read is told by the check that follows
    return Success(path) if sound else hub_fetch(record, agree, timeout_s, anew=True)


def _kept_as(record: WeightRecord) -> str:
    key = record.sha256 or hashlib.sha256(str(record.url).encode()).hexdigest()
    return f"{key[:16]}-{Path(record.filename).name}"


def _checked(record: WeightRecord, path: Path, *, fresh: bool) -> Outcome[Path]:
    """The path if its bytes are the recorded ones; else the file goes, and the next try heals."""
    try:
        problem = _difference(record, path)
        if problem is None:
            return Success(path)
        _remove(record, path)
    except OSError as error:
        text = f"{where(record)}: the file in the cache cannot be read or removed ({error})"
        return Failure(caused(ModelError(f"{text}; mend its permissions, {REMEDY}"), by=error))
    if fresh:
        text = f"{where(record)}: what came is not the published file: {problem}. It was removed"
        return Failure(ModelError(f"{text}; try again, upgrade rs-embed, {REMEDY}"))
    text = f"{where(record)}: the file in the cache is damaged: {problem}. It was removed"
    return Failure(ModelError(f"{text}; run again to download it, {REMEDY}", transient=True))


def _difference(record: WeightRecord, path: Path) -> str | None:
    """What is not as recorded. Of no recorded hash, the hub's own name for a large file is one."""
    size = path.stat().st_size
    if record.size is not None and size != record.size:
        return f"{size:,} bytes, not {record.size:,}"
    if not record.hashed and _is_page(path):
        return "a web page, not weights"
    blob = hub_blob(record, path)
    named = blob.name if blob is not None and is_sha256(blob.name) else None
    wanted = record.sha256 or (None if record.md5 else named)
    digest = content_sha256(path)
    if wanted is not None and digest != wanted:
        return f"SHA-256 {digest}, not {wanted}"
    if record.md5 is not None and _content_hash(path, "md5") != record.md5:
        return f"MD5 {_content_hash(path, 'md5')}, not {record.md5}"
    return None


def _is_page(path: Path) -> bool:
    """File hosts answer with a page, and status 200, where a click or a login is wanted."""
    with path.open("rb") as file:
        return file.read(64).lstrip()[:1] == b"<"


def _remove(record: WeightRecord, path: Path) -> None:
    if record.repo is None:
        path.unlink(missing_ok=True)
    else:
        hub_remove(record, path)


def _is_cached(path: Path) -> bool:
    from huggingface_hub import constants

    homes = (Path(constants.HF_HUB_CACHE), weights_home())
    return any(path.absolute().is_relative_to(home.absolute()) for home in homes)


def _content_hash(path: Path, algorithm: str) -> str:
    stat = path.stat()
    return _remembered_hash(str(path.absolute()), stat.st_size, stat.st_mtime_ns, algorithm)


@lru_cache(maxsize=64)
def _remembered_hash(path: str, size: int, mtime_ns: int, algorithm: str) -> str:
    name = hashlib.sha256(path.encode()).hexdigest()
    note = weights_home() / "checked" / f"{name[:32]}.json"
    seen = _read_note(note)
    known = str(seen.get(algorithm))
    digits = 2 * hashlib.new(algorithm).digest_size
    same = (seen.get("size"), seen.get("mtime_ns")) == (size, mtime_ns)
    if same and re.fullmatch(f"[0-9a-f]{{{digits}}}", known):
        return known
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, algorithm).hexdigest()
    kept = seen if same else {}
    _write_note(note, {**kept, "size": size, "mtime_ns": mtime_ns, algorithm: digest})
    return digest


def _read_note(note: Path) -> dict[str, object]:
    try:
        seen = json.loads(note.read_text())
    except (OSError, ValueError):
        return {}
    return seen if isinstance(seen, dict) else {}


def _write_note(note: Path, seen: dict[str, object]) -> None:
    # A cache that cannot be written (shared, read-only) only costs a hash in each process.
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=note.parent, delete=False) as file:
            json.dump(seen, file)
        os.replace(file.name, note)
    except OSError:
        return
