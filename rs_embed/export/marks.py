"""Whether a file or a folder is one that we wrote, and holds nothing else."""

from __future__ import annotations

import json
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rs_embed.core.embedding import META_ATTR

MARK = META_ATTR.encode()
"""The comment of an npz archive; the other formats have an attribute or tag of that name."""

CHUNK = re.compile(r"\d+(\.\d+)*")
"""Name of a file of a store that holds values."""
_STORE_FILES = {".zgroup", ".zattrs", ".zmetadata"}
_ARRAY_FILES = {".zarray", ".zattrs"}


def foreign_part(path: Path) -> str | None:
    """What there is at a path that we did not write, in words; None where all of it is ours."""
    try:
        if path.is_dir():
            return _of_store(path)
        with path.open("rb") as stream:
            head = stream.read(4)
        if head == b"\x89HDF":
            return _of_netcdf(path)
        if head in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return _of_tiff(path)
        if head == b"PK\x03\x04":
            return _of_npz(path)
    except (OSError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        return f"it cannot be read: {error}"
    return "it is no embedding"


def names_beside(
    variables: Mapping[str, Mapping[str, Any]], dims: Mapping[str, tuple[str, ...]]
) -> str | None:
    """What a file holds besides one embedding and its coordinates: names, or that it has none.

    ``variables`` are names and their attributes, ``dims`` the dimensions of each.
    """
    ours = [name for name, attrs in variables.items() if META_ATTR in attrs]
    if len(ours) != 1:
        return f"it holds {len(ours) or 'no'} embedding{'s' * (len(ours) > 1)} of ours"
    attrs = variables[ours[0]]
    known = {ours[0], *dims[ours[0]], *str(attrs.get("coordinates", "")).split()}
    known.add(str(attrs.get("grid_mapping", "")))
    others = sorted(set(variables) - known)
    return f"it holds {', '.join(others[:3])} besides the embedding" if others else None


def _of_store(path: Path) -> str | None:
    merged = path / ".zmetadata"
    if not merged.is_file():
        return "it is no Zarr store of ours"
    stored: dict[str, Any] = json.loads(merged.read_text(encoding="utf-8"))["metadata"]
    names = [key.rpartition("/")[0] for key in stored if key.endswith(".zarray")]
    attrs = {name: stored.get(f"{name}/.zattrs", {}) for name in names}
    dims = {name: tuple(attrs[name].get("_ARRAY_DIMENSIONS", ())) for name in names}
    return names_beside(attrs, dims) or _other_files(path, set(names))


def _other_files(path: Path, arrays: set[str]) -> str | None:
    """The first file or folder of a store that no writer of Zarr puts there."""
    for part in sorted(path.rglob("*")):
        place = part.relative_to(path)
        if part.is_dir() and not part.is_symlink():
            known = len(place.parts) == 1 and place.name in arrays
        elif len(place.parts) == 1:
            known = place.name in _STORE_FILES
        else:
            known = place.parts[0] in arrays and bool(
                place.name in _ARRAY_FILES or CHUNK.fullmatch(place.name)
            )
        if not known:
            return f"it holds {place.as_posix()}, which is no part of an embedding"
    return None


def _of_netcdf(path: Path) -> str | None:
    import h5netcdf

    with h5netcdf.File(path, "r") as file:
        if file.groups:
            return f"it holds the groups {', '.join(sorted(file.groups)[:3])}"
        attrs = {name: dict(variable.attrs) for name, variable in file.variables.items()}
        dims = {name: tuple(variable.dimensions) for name, variable in file.variables.items()}
    return names_beside(attrs, dims)


def _of_tiff(path: Path) -> str | None:
    import rasterio

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path) as source:
            return None if META_ATTR in source.tags() else "it is no GeoTIFF of ours"


def _of_npz(path: Path) -> str | None:
    with zipfile.ZipFile(path) as archive:
        return None if archive.comment == MARK else "it is no archive of ours"
