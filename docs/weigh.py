"""Weigh what an installation brings, and record it for docs/install.md.

    python docs/weigh.py core plot dask gee     install each into an environment of its own
    python docs/weigh.py torch=/path/to/venv    weigh an environment that there is

Counted are the distributions that rs-embed with the extra requires, itself included, and the bytes
of their installed files (MB: 10^6).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORD = Path(__file__).parent / "install.json"

_COUNT = """
import json, re, sys, sysconfig
from importlib.metadata import distribution
from packaging.requirements import Requirement

def key(name):
    return re.sub("[-_.]+", "-", name).lower()

wanted, found = [("rs-embed", sys.argv[1])], {}
seen = set()
while wanted:
    name, extra = wanted.pop()
    if (name, extra) in seen:
        continue
    seen.add((name, extra))
    found[name] = distribution(name)
    for line in found[name].requires or ():
        need = Requirement(line)
        if need.marker is None or need.marker.evaluate({"extra": extra}):
            wanted += [(key(need.name), e) for e in (need.extras or {""})]
            wanted += [(key(need.name), "")]
paths = {p for d in found.values() for f in d.files or () if (p := d.locate_file(f)).is_file()}
size = sum(p.stat().st_size for p in paths)
cuda = any(name.startswith("nvidia-") for name in found)
print(json.dumps({"packages": len(found), "mb": round(size / 1e6), "cuda": cuda,
                  "python": "%d.%d" % sys.version_info[:2], "platform": sysconfig.get_platform()}))
"""


def weigh(name: str) -> dict[str, object]:
    """Install the core, or one extra, into a new environment and weigh it."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        wanted = str(ROOT) if name == "core" else f"{ROOT}[{name}]"
        python = str(Path(folder, "bin", "python"))
        subprocess.run([python, "-m", "pip", "install", "--quiet", wanted], check=True)
        return count(python, name)


def count(python: str, name: str) -> dict[str, object]:
    """Packages and megabytes of rs-embed with an extra in an interpreter's environment."""
    extra = "" if name == "core" else name
    done = subprocess.run([python, "-c", _COUNT, extra], check=True, capture_output=True, text=True)
    told: dict[str, object] = json.loads(done.stdout)
    return told


if __name__ == "__main__":
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    for word in sys.argv[1:]:
        name, given, folder = word.partition("=")
        record[name] = count(str(Path(folder, "bin", "python")), name) if given else weigh(name)
        print(name, record[name])
    RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
