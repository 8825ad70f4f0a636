"""Pages of the site kept elsewhere: the notebooks as they ran, the changelog, contributing.

mkdocs calls ``on_files`` before it lays out the menu (``hooks`` in mkdocs.yml).
"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent


def on_files(files: Files, config: Any) -> Files:
    """The site's files, with those made here."""
    made: dict[str, str | bytes] = {}
    for name in ("CHANGELOG", "CONTRIBUTING"):
        text = (ROOT / f"{name}.md").read_text(encoding="utf-8")
        made[f"{name.lower()}.md"] = re.sub(r"\]\(docs/", "](", text)
    for path in sorted((ROOT / "examples").glob("*.ipynb")):
        made |= notebook(path)
    for uri, content in made.items():
        files.append(File.generated(config, uri, content=content))
    return files


def notebook(path: Path) -> dict[str, str | bytes]:
    """The page of a notebook and its pictures, by where they stand in the site."""
    text: list[str] = []
    pictures: dict[str, str | bytes] = {}
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            text.append(cell.source)
            continue
        text.append(f"```python\n{cell.source}\n```")
        for out in cell.outputs:
            data = out.get("data", {})
            if out.output_type == "stream":
                text.append(f"```text\n{out.text.rstrip()}\n```")
            elif "image/png" in data:
                name = f"{path.stem}-{len(pictures) + 1}.png"
                pictures[f"notebooks/{name}"] = base64.b64decode(data["image/png"])
                text.append(f"![What the cell above draws]({name})")
            elif "text/plain" in data:
                text.append(f"```text\n{data['text/plain']}\n```")
    return {f"notebooks/{path.stem}.md": "\n\n".join(text) + "\n", **pictures}
