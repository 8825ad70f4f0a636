"""The manifest of an export: strict JSON on each place and model, as `manifest.schema.json` says.

It names no path of the machine, no project of a service and no token.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from rs_embed.core.jsonable import to_jsonable
from rs_embed.core.version import __version__

SCHEMA_VERSION = 1
# Paths with a folder, and what services print of accounts.
_PATH = re.compile(r"(?<![\w:/.])(?:~|[A-Za-z]:)?(?:[/\\][^\s/\\:'\",;()<>|]+){2,}")
_SECRET = re.compile(
    r"(projects?[/ =:'\"]+)[\w.:-]+|((?:token|key|secret|password|bearer)[\s=:'\"]+)[^\s'\",;]+",
    re.IGNORECASE,
)


def schema() -> dict[str, Any]:
    """The JSON Schema of a manifest, either form."""
    text = resources.files("rs_embed.export").joinpath("manifest.schema.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def request_json(
    *,
    fingerprint: str,
    format: str,
    backend: str,
    device: str,
    temporal: Sequence[str] | None,
    output: Mapping[str, Any],
    dtype: str,
    models: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """What all places of an export share."""
    return {
        "fingerprint": fingerprint,
        "format": format,
        "backend": backend,
        "device": device,
        "temporal": None if temporal is None else list(temporal),
        "output": dict(output),
        "dtype": dtype,
        "models": [dict(one) for one in models],
    }


def row_json(
    *,
    label: str,
    fingerprint: str,
    error: BaseException | None,
    started: str,
    seconds: float,
    layers: Mapping[str, Mapping[str, Mapping[str, Any]]],
    meta: Mapping[str, Any],
    told: Mapping[str, Any],
) -> dict[str, Any]:
    """One model at one place; ``layers`` is by kind ("embedding", "input", "context") and name."""
    failed = error is not None
    return {
        "label": label,
        "fingerprint": fingerprint,
        "status": "failed" if failed else "ok",
        "error": None if error is None else error_json(error),
        "started": started,
        "seconds": round(seconds, 3),
        **{kind: dict(layers.get(kind, {})) for kind in ("embedding", "input", "context")},
        **told,
        "meta": {key: shared(label, key, value) for key, value in meta.items()},
    }


def error_json(error: BaseException) -> dict[str, Any]:
    """The class and the text of an error, without paths and secrets."""
    return {
        "type": type(error).__name__,
        "message": without_secrets(str(error)),
        "transient": bool(getattr(error, "transient", False)),
    }


def without_secrets(text: str) -> str:
    """A message without paths of the machine, projects and tokens."""
    hidden = _SECRET.sub(lambda m: f"{m.group(1) or m.group(2)}…", text)
    return _PATH.sub("…", hidden)


def place_json(
    *, index: int, name: str, spatial: Mapping[str, Any], lon: float, lat: float
) -> dict[str, Any]:
    """The head of one place."""
    return {"index": index, "name": name, "spatial": dict(spatial), "lon": lon, "lat": lat}


def status_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Of all models together: "ok", "failed", or "partial" where some failed."""
    states = {row["status"] for row in rows}
    return next(iter(states)) if len(states) == 1 else "partial"


def place_manifest(
    request: Mapping[str, Any],
    place: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    files: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The manifest of one place in a file of its own."""
    return {
        "schema_version": SCHEMA_VERSION,
        "rs_embed_version": __version__,
        "request": request,
        **place,
        "status": status_of(rows),
        "files": list(files),
        "models": list(rows),
    }


def combined_manifest(
    request: Mapping[str, Any],
    places: Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]],
    files: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The manifest of many places in one file."""
    rows = [row for _, models in places for row in models]
    return {
        "schema_version": SCHEMA_VERSION,
        "rs_embed_version": __version__,
        "request": request,
        "status": status_of(rows),
        "files": list(files),
        "places": [
            {**place, "status": status_of(models), "models": list(models)}
            for place, models in places
        ],
    }


def to_text(manifest: Mapping[str, Any]) -> str:
    """Strict JSON."""
    return json.dumps(to_jsonable(manifest), allow_nan=False, ensure_ascii=False)


def shared(owner: str, key: str, value: Any) -> Any:
    """The value, or the equal one that the last place had: most of a manifest never changes."""
    if not isinstance(value, str | dict | list):
        return value
    plain = to_jsonable(value)
    last = _LAST.get((owner, key))
    if last == plain:
        return last
    _LAST[owner, key] = plain
    return plain


_LAST: dict[tuple[str, str], Any] = {}
