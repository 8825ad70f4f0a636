"""Files that are not one raster: several datasets in one, one band in each; what they hold."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from returns.result import Failure, Success

from rs_embed.core.errors import ProviderError
from rs_embed.core.result import Outcome, caused

STACK = (
    "stack their bands to one array and pass that as source=: xr.concat("
    "[rioxarray.open_rasterio(file).isel(band=0, drop=True) for file in files], 'band')"
    ".assign_coords(band=['B2', ...]); bands on another grid first take "
    ".rio.reproject_match(the first); odc.stac.load does both for items of a catalogue"
)
# A name as GDAL gives it: driver, file, what is meant of it. One letter is a drive of Windows.
_SUBDATASET = re.compile(r"[A-Za-z][A-Za-z0-9_]+:(?!//)")
_BAND = re.compile(
    r"(?:^|[_.])((?:SR_|ST_)?B\d{1,2}A?)(?:_\d\dm)?\.(?:tiff?|jp2|img)$", re.IGNORECASE
)
_MEMBERS = 6


def is_subdataset(text: str) -> bool:
    """Whether a text names a dataset inside a file that is there, and no file itself."""
    return bool(
        _SUBDATASET.match(text) and not Path(text).exists() and subdataset_file(text).is_file()
    )


def subdataset_file(text: str) -> Path:
    """The file of a dataset's name; the name itself where none is there."""
    parts = [part for part in re.split(r":|\"", text) if part]
    # Longest first, for a path that has a colon in it.
    for size in range(len(parts), 0, -1):
        for start in range(len(parts) - size + 1):
            path = Path(":".join(parts[start : start + size]))
            if path.is_file():
                return path
    return Path(text)


def subdataset_name(text: str) -> str:
    """A dataset's name with its file's own for its whole path."""
    path = subdataset_file(text)
    return text.replace(str(path), path.name)


def subdatasets(path: str | Path) -> list[str]:
    """The datasets of a file, as GDAL names them. Raises rasterio's errors for no raster file."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            return list(file.subdatasets)


def band_files(paths: Sequence[Path]) -> list[str]:
    """The bands of files that are named after them, one each; none where a name tells no band.

    ``…_B02_10m.jp2`` of Sentinel-2, ``…_SR_B4.TIF`` of Landsat.
    """
    found = [_BAND.search(path.name) for path in paths]
    names = [match.group(1) for match in found if match]
    return names if len(names) == len(paths) > 1 and len(set(names)) > 1 else []


def check_folder(folder: Path) -> Outcome[None]:
    """Failure(ProviderError) for a folder that is no Zarr store, with what to give instead."""
    marks = (".zgroup", ".zmetadata", "zarr.json", ".zarray")
    if folder.suffix == ".zarr" or any((folder / name).exists() for name in marks):
        return Success(None)
    scenes = sorted(folder.glob("MTD_MSI*.xml"))
    if scenes:
        try:
            listed = ", ".join(map(repr, subdatasets(scenes[0])[:4]))
        except OSError as error:
            return Failure(
                caused(ProviderError(f"{scenes[0].name} cannot be read: {error}"), by=error)
            )
        return Failure(
            ProviderError(
                f"the folder {folder.name!r} is a Sentinel-2 product of several grids; give one of "
                f"its datasets in place of the path ({listed}), or: {STACK}"
            )
        )
    files = sorted(p for p in folder.rglob("*") if re.search(r"\.(tiff?|jp2|img)$", p.name, re.I))
    if files:
        names = ", ".join(p.name for p in files[:_MEMBERS]) + (
            f" and {len(files) - _MEMBERS} more" if len(files) > _MEMBERS else ""
        )
        return Failure(
            ProviderError(
                f"the folder {folder.name!r} is no Zarr store; it holds {names}. Give one of them; "
                f"where they are dates of one place, a glob: source='{folder.name}/*.tif'; where "
                f"they are one a band, {STACK}"
            )
        )
    return Failure(
        ProviderError(f"the folder {folder.name!r} holds neither a Zarr store nor a raster file")
    )


def file_content(paths: Sequence[Path], part: str = "") -> str:
    """SHA-256 of files, and of every file below a folder, whatever they are called.

    ``part`` tells a dataset from the others of its file. A file is read once in a process, as long
    as its path, size, times and inode stay the same.
    """
    digest = hashlib.sha256(part.encode())
    for path in paths:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            name = file.relative_to(path).as_posix() if file != path else ""
            stat = file.stat()
            digest.update(f"{name}\0{stat.st_size}\0".encode())
            known = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_dev, stat.st_ino)
            digest.update(_sha256(file.absolute(), known))
    return digest.hexdigest()


@lru_cache(maxsize=4096)
def _sha256(file: Path, known: tuple[int, ...]) -> bytes:
    """Of a file that is ``known``: the same for as long as that is."""
    del known
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()
