"""Files of an export in one folder: written whole or not at all, known by digest, locked."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from returns.result import Failure, Success

from rs_embed.core.errors import RsEmbedError, SpecError
from rs_embed.core.result import Outcome, caused

SCRATCH = ".rs_embed-export-"
LOCK = ".rs_embed-export.lock"
_BLOCK = 1 << 20


def write_files(
    folder: Path, write: Callable[[Path], Sequence[str]], beside: Path | None = None
) -> list[dict[str, Any]]:
    """Have ``write(scratch)`` make files, by the names that it gives, and move them to ``folder``.

    The scratch folder is made in ``beside``, on the same disk; None makes it in ``folder``.

    Each appears whole or not at all; what has its name is replaced.

    Returns
    -------
    list of dict
        ``name``, ``bytes`` and ``sha256`` of each.
    """
    scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=beside or folder))
    try:
        made = []
        for name in write(scratch):
            made.append(digest(scratch / name))
            if (folder / name).is_dir():
                os.replace(folder / name, scratch / f"{name}.before")
            os.replace(scratch / name, folder / name)
        return made
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """A text file, whole or not at all."""
    part = path.parent / f"{SCRATCH}{uuid.uuid4().hex}"
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def digest(path: Path) -> dict[str, Any]:
    """Name, size and SHA-256 of a file, or of all files of a folder with their paths in it."""
    total, found = 0, hashlib.sha256()
    for part in _files_of(path):
        if part != path:
            found.update(part.relative_to(path).as_posix().encode() + b"\0")
        with part.open("rb") as stream:
            while block := stream.read(_BLOCK):
                found.update(block)
                total += len(block)
    return {"name": path.name, "bytes": total, "sha256": found.hexdigest()}


def intact(folder: Path, files: Iterable[Mapping[str, Any]]) -> bool:
    """Whether all files that a manifest names are there, byte for byte."""
    files = list(files)
    return bool(files) and all(_is(folder / str(told["name"]), told) for told in files)


def _is(path: Path, told: Mapping[str, Any]) -> bool:
    try:
        if path.is_file() and path.stat().st_size != told["bytes"]:
            return False
        return path.exists() and digest(path) == dict(told)
    except OSError:
        return False


def to_disk(folder: Path, names: Iterable[str]) -> None:
    """Have the bytes of files, and the folder's list of them, on the disk."""
    for name in names:
        for part in _files_of(folder / name):
            _sync(part)
    if os.name == "posix":
        _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _files_of(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(part for part in path.rglob("*") if part.is_file())


def open_folder(folder: Path, what: str) -> Outcome[Path]:
    """The folder, made where it is missing. Fails with SpecError where it cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=SCRATCH, dir=folder):
            pass
    except OSError as error:
        return Failure(unwritable(what, folder, error))
    return Success(folder)


def remove_scratch(folder: Path) -> None:
    """Remove what a killed run was writing; only who holds the folder's lock may."""
    for left in folder.glob(f"{SCRATCH}*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def unwritable(what: str, path: Path, error: OSError) -> RsEmbedError:
    """The error of a path that cannot be written."""
    why = error.strerror or str(error)
    return caused(
        SpecError(f"{what} {str(path)!r} cannot be written: {why}; free it, or choose another"),
        by=error,
    )


class FolderLock:
    """One export at a time into a place; the lock goes with the process that holds it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def acquire(self, what: str) -> Outcome[FolderLock]:
        """The lock itself. Fails with SpecError where another export holds it."""
        while True:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            if not _locked(handle):
                os.close(handle)
                return Failure(
                    SpecError(
                        f"another export is writing to {what}; wait until it has ended, or choose "
                        "another place"
                    )
                )
            try:
                same = os.fstat(handle).st_ino == os.stat(self._path).st_ino
            except FileNotFoundError:
                same = False
            if same:  # else its last holder removed it meanwhile
                self._handle = handle
                return Success(self)
            os.close(handle)

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._handle is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._handle)
            self._handle = None


def _locked(handle: int) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: an open file cannot be removed there, which is lock enough
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
