"""Choose the exact versions that the README's commands and .ci/run install.

    python .ci/constraints.py             keep what is chosen, add what pyproject.toml newly names
    python .ci/constraints.py --upgrade   take the newest release of everything

constraints.txt   everything of the dev extra, for every Python that pyproject.toml names
.ci/lowest.txt    the oldest releases that pyproject.toml allows of the core and of the extras
                  without torch, on the oldest Python; what those need in turn is the newest that
                  fits, and what runs the tests is as in constraints.txt

uv resolves both, in an environment of its own that is gone afterwards. Commit what it writes once
.ci/run has passed with it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

UV = "uv==0.13.9"
ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OLDEST = PROJECT["requires-python"].removeprefix(">=")
CONSTRAINTS, LOWEST = ROOT / "constraints.txt", ROOT / ".ci" / "lowest.txt"
HEAVY = {"torch", "models"}
"""Extras that bring torch: .ci/run has the one release that dev names."""
TOOLS = ("pytest", "hypothesis", "shapely", "requests")
"""What the tests need that no extra brings."""


def light_extras() -> list[str]:
    """The extras of ``all`` that do without torch."""
    (line,) = PROJECT["optional-dependencies"]["all"]
    named = re.fullmatch(r"rs-embed\[(.+)\]", line)
    assert named is not None, line
    return [extra for extra in named[1].split(",") if extra not in HEAVY]


def resolve(uv: str, out: Path, extras: list[str], *options: str, more: str = "") -> None:
    """Write the versions of the core, its extras and more, each on a line of its own."""
    chosen = [word for extra in extras for word in ("--extra", extra)]
    subprocess.run(
        [uv, "pip", "compile", "--quiet", "pyproject.toml", "-", *chosen, *options,
         "--python-version", OLDEST, "--no-annotate", "--custom-compile-command",
         "python .ci/constraints.py", "--output-file", str(out)],
        check=True, cwd=ROOT, input=more, text=True,
    )  # fmt: skip


def chosen_tools() -> str:
    """The lines of constraints.txt for what runs the tests."""
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if line.partition("==")[0] in TOOLS)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        tool = [str(Path(folder, "bin", name)) for name in ("pip", "uv")]
        subprocess.run([tool[0], "install", "--quiet", UV], check=True)
        resolve(tool[1], CONSTRAINTS, ["dev"], "--universal", *sys.argv[1:])
        lowest = ["--resolution", "lowest-direct", *sys.argv[1:]]
        resolve(tool[1], LOWEST, light_extras(), *lowest, more=chosen_tools())
    for path in (CONSTRAINTS, LOWEST):
        lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
        print(f"{path.relative_to(ROOT)}: {len(lines)} lines")
