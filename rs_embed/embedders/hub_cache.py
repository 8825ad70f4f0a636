"""One file in the hub's own cache: where it lies, what its name says, how it goes.

A snapshot holds a link to ``blobs/<entity tag>`` in its repository's folder; the tag of a large
file is its SHA-256. That entry may be a link once more, into a store that repositories share, whose
names are hashes of another kind: no name beyond the first link says anything of the bytes.
"""

from __future__ import annotations

import os
from pathlib import Path

from rs_embed.core.model import WeightRecord


def hub_cached(record: WeightRecord) -> Path | None:
    """The file in the cache, found without any request; None where it is not there.

    An unpinned record means what ``main`` was when the file was first fetched here.
    """
    from huggingface_hub import try_to_load_from_cache

    revision = record.revision or "main"
    found = try_to_load_from_cache(str(record.repo), record.filename, revision=revision)
    return Path(found) if isinstance(found, str) else None


def hub_blob(record: WeightRecord, path: Path) -> Path | None:
    """The entry of the repository's own ``blobs`` that a snapshot's file is a link to, or None."""
    if record.repo is None or not path.is_symlink():
        return None
    entry = Path(os.path.normpath(path.parent / os.readlink(path)))
    own = _repository(record) / "blobs"
    return entry if entry.parent.resolve() == own.resolve() else None


def is_shared(record: WeightRecord, path: Path) -> bool:
    """Whether the bytes lie in the store that repositories share."""
    entry = hub_blob(record, path)
    return entry is not None and entry.is_symlink()


def hub_remove(record: WeightRecord, path: Path) -> None:
    """Take a file, and its repository's entry for its bytes, out of the cache.

    The client's own deletion does it where it can, since it knows who else uses the bytes. Nothing
    outside the repository's folder is removed by us: a link to elsewhere goes, its target stays.
    """
    from huggingface_hub import scan_cache_dir

    entry = hub_blob(record, path)
    if entry is None:
        path.unlink(missing_ok=True)
        return
    info = scan_cache_dir()
    files = [
        file
        for repo in info.repos
        for revision in repo.revisions
        for file in revision.files
        if _is_entry(file.blob_path, entry)
    ]
    if files and hasattr(info, "delete_files"):
        info.delete_files(*files).execute()
    path.unlink(missing_ok=True)
    entry.unlink(missing_ok=True)


def _is_entry(found: Path, entry: Path) -> bool:
    return found.name == entry.name and found.parent.resolve() == entry.parent.resolve()


def _repository(record: WeightRecord) -> Path:
    """The repository's folder; its name is told in the client's guide to its cache."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / "--".join(["models", *str(record.repo).split("/")])
