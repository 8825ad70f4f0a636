"""Where an embedding is to be written: tried before any work is done, replaced in one step."""

from __future__ import annotations

import glob
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from returns.result import Failure, Success

from rs_embed.core.embedding import FEATURE
from rs_embed.core.errors import ProviderError, SpecError
from rs_embed.core.paths import user_path
from rs_embed.core.result import Outcome, caused
from rs_embed.export.marks import foreign_part

TIFF = (".tif", ".tiff")
SUFFIXES = (".nc", ".zarr", ".npz", *TIFF)
_ELSEWHERE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def check_suffix(path: Any, *, pooled: bool) -> Outcome[Path]:
    """The path, or Failure(SpecError) where an embedding cannot be written under its suffix."""
    return user_path(path).bind(lambda target: _check_suffix(target, pooled))


def _check_suffix(target: Path, pooled: bool) -> Outcome[Path]:
    suffix = target.suffix.lower()
    if suffix not in SUFFIXES:
        return Failure(
            SpecError(
                f"an embedding is saved as .nc, .zarr, .tif or .npz, not {suffix or 'no suffix'!r}"
            )
        )
    if pooled and suffix in TIFF:
        return Failure(
            SpecError(
                "a pooled vector is no image; save it as .nc, .zarr or .npz, or ask for "
                "output=OutputSpec.grid()"
            )
        )
    return Success(target)


def check_target(
    path: Any,
    *,
    pooled: bool = False,
    dims: Sequence[str] = (),
    sources: Iterable[str | Path] = (),
    overwrite: bool = False,
    values: int = 0,
) -> Outcome[Path]:
    """The path, if an embedding can be written there without a loss to anyone.

    Parameters
    ----------
    path : str or Path
    pooled : bool
        Whether it is a vector, which is no image.
    dims : sequence of str
        Of the embedding, where known: an image has no dates.
    sources : iterable of str or Path
        What is read: paths, globs; none of it is written over, by whatever path.
    overwrite : bool
        Whether a file that is not ours may be replaced. A folder never is unless it is ours.
    values : int
        Bytes of the values, where known.

    Fails with SpecError for a path that says ``overwrite=True`` is needed, that is a source, a
    folder of another's, or that cannot be written; the last two whatever ``overwrite`` says.
    """
    if _ELSEWHERE.match(str(path)):
        return Failure(
            SpecError(f"{str(path)!r} is a URL; give a path on a disk, and copy what is there then")
        )
    return (
        check_suffix(path, pooled=pooled)
        .bind(lambda target: _check_dims(target, dims))
        .bind(lambda target: _or_problem(target, list(sources), overwrite, values))
    )


def _check_dims(target: Path, dims: Sequence[str]) -> Outcome[Path]:
    extra = [str(dim) for dim in dims if dim not in (FEATURE, "y", "x")]
    if not extra or target.suffix.lower() not in TIFF:
        return Success(target)
    return Failure(
        SpecError(
            f"a COG holds one grid and this embedding has further dims {extra}; save it as .nc, "
            f".zarr or .npz, or select one entry, such as array.isel({extra[0]}=0)"
        )
    )


def _or_problem(
    target: Path, sources: list[str | Path], overwrite: bool, values: int
) -> Outcome[Path]:
    try:
        problem = (
            _source_problem(target, sources)
            or occupied(target, overwrite)
            or _place_problem(target, values)
        )
    except (OSError, RuntimeError) as error:  # RuntimeError: links that lead to each other
        told = getattr(error, "strerror", None) or str(error)
        wrong = SpecError(f"{str(target)!r} cannot be written: {told}; give another path")
        return Failure(caused(wrong, by=error))
    return Failure(SpecError(problem)) if problem else Success(target)


def _source_problem(target: Path, sources: list[str | Path]) -> str | None:
    """Where writing would change what is read: the same file, or a folder around either."""
    for source in sources:
        for place in _on_disk(str(source)):
            if any(_same(one, place) for one in (target, *target.absolute().parents)):
                return (
                    f"{str(target)!r} is the input {str(source)!r}, or lies in it, and an input is "
                    "never written over; give another name"
                )
            if any(_same(one, target) for one in place.resolve().parents):
                return f"{str(target)!r} holds the input {str(source)!r}; give another name"
    return None


def _on_disk(source: str) -> Iterator[Path]:
    """The files that a source names: a path, a glob, or one within what GDAL and fsspec take."""
    for text in (source, *re.split(r"\w+://|::|[:\"!]|/vsi\w+/", source)):
        named = user_path(text)
        if isinstance(named, Success):
            path = named.unwrap()
            found = [path] if path.exists() else map(Path, glob.glob(str(path), recursive=True))
            yield from found


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


def occupied(target: Path, overwrite: bool) -> str | None:
    """Why what is at the target stays there, or None where it may be replaced."""
    place, store = target.resolve(), target.suffix.lower() == ".zarr"
    if not os.path.lexists(place):
        return None
    mode = place.stat().st_mode
    if stat.S_ISDIR(mode):
        foreign = foreign_part(place) if store else "a file never takes the place of a folder"
        if foreign is None:
            return None
        return (
            f"{str(target)!r} is a folder and is not replaced, whatever overwrite says: {foreign}; "
            "give another name"
        )
    if store or not stat.S_ISREG(mode):
        kind = "file, and Zarr is a folder" if stat.S_ISREG(mode) else "device or pipe"
        return f"{str(target)!r} is a {kind}; give another name"
    if not mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
        return f"{str(target)!r} is read-only; give another name, or make it writable"
    foreign = None if overwrite else foreign_part(place)
    if foreign is None:
        return None
    return (
        f"{str(target)!r} is there already and rs_embed did not write it ({foreign}); give another "
        "name, or pass overwrite=True to replace it"
    )


def _place_problem(target: Path, values: int) -> str | None:
    """Whether the folder is one that takes files, and has room where the need is known."""
    folder = target.resolve().parent
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        return f"{str(target)!r} cannot be written: {str(folder)!r} is a file; give another path"
    with tempfile.TemporaryDirectory(prefix=".rs_embed-", dir=folder) as tried:
        (Path(tried) / target.name).touch()  # permissions alone do not tell
    free = shutil.disk_usage(folder).free
    # What Zarr will take after compression is not known before.
    if target.suffix.lower() != ".zarr" and free < values:
        return (
            f"{str(target)!r} needs {values / 1e9:.3g} GB and {str(folder)!r} has "
            f"{free / 1e9:.3g} GB left; give a path on another disk"
        )
    return None


def write_whole(
    target: Path, write: Callable[[Path], Any], *, overwrite: bool = False
) -> Outcome[Path]:
    """Write beside the target under another name, then rename: whole, or as it was before.

    Fails with SpecError where something came into the way meanwhile or the array holds what the
    format does not take, with ProviderError where the disk fails.
    """
    try:
        return _written(target, write, overwrite)
    except OSError as error:
        told = error.strerror or str(error)
        lost = ProviderError(
            f"{str(target)!r} could not be written: {told}; what was there is as it was"
        )
        return Failure(caused(lost, by=error))
    except (TypeError, ValueError, NotImplementedError) as error:
        if isinstance(error, SpecError):
            return Failure(error)
        unfit = SpecError(f"{target.suffix.lower()} cannot hold this embedding: {error}")
        return Failure(caused(unfit, by=error))


def _written(target: Path, write: Callable[[Path], Any], overwrite: bool) -> Outcome[Path]:
    place = target.resolve()  # a link stays, and what it names is written
    place.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".rs_embed-", dir=place.parent))
    try:
        part = scratch / place.name
        write(part)
        _to_disk(part)
        problem = occupied(target, overwrite)  # it may have changed while we wrote
        if problem:
            return Failure(SpecError(problem))
        _swap(part, place, scratch / "before")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Success(target)


def _swap(part: Path, place: Path, before: Path) -> None:
    """Give the written part its name; a folder, not replaced in one step, steps aside for it."""
    if not place.is_dir():
        if place.exists():
            shutil.copymode(place, part)
        os.replace(part, place)
        return
    os.replace(place, before)
    try:
        os.replace(part, place)
    except BaseException:
        os.replace(before, place)
        raise


def _to_disk(part: Path) -> None:
    """Have the bytes of a file, or of all files of a folder, on the disk before they get a name."""
    for path in part.rglob("*") if part.is_dir() else [part]:
        if path.is_file():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
