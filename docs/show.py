"""Write below each print of a page's snippets what it prints, as lines that begin with ``# ->``.

``python docs/show.py docs/quickstart.md …``; a test compares what stands there with a run.
"""

from __future__ import annotations

import ast
import io
import os
import re
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

SNIPPET = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def shown(code: str, names: dict[str, Any]) -> str:
    """The code, run statement by statement, with what each printed below it."""
    code = re.sub(r"^# ->.*\n", "", code, flags=re.MULTILINE)
    lines, out, done = code.splitlines(), [], 0
    for statement in ast.parse(code).body:
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(compile(ast.Module([statement], []), "<snippet>", "exec"), names)
        out += lines[done : statement.end_lineno]
        out += [f"# -> {line}".rstrip() for line in printed.getvalue().splitlines()]
        done = statement.end_lineno or done
    return "\n".join([*out, *lines[done:], ""])


if __name__ == "__main__":
    os.environ["MPLBACKEND"] = "agg"
    for page in [Path(word).resolve() for word in sys.argv[1:]]:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            names: dict[str, Any] = {"__name__": "snippet"}
            text = SNIPPET.sub(
                lambda found, names=names: f"```python\n{shown(found[1], names)}```",
                page.read_text(),
            )
            os.chdir(page.parent)
        page.write_text(text)
