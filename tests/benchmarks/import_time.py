"""How long ``import rs_embed`` takes beside ``import xarray``.

Run ``python tests/benchmarks/import_time.py``: fresh processes by turns; the median of the ratios
of the pairs is printed. At most 1.15 is wanted.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

PAIRS = 15


def seconds(module: str) -> float:
    """Wall time of one import in a process of its own, start of the interpreter included."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    return time.perf_counter() - start


def main() -> None:
    """Warm the disk's cache, then measure."""
    seconds("rs_embed")
    pairs = [(seconds("xarray"), seconds("rs_embed")) for _ in range(PAIRS)]
    ratio = statistics.median(ours / theirs for theirs, ours in pairs)
    theirs, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"import xarray {theirs:.3f} s, import rs_embed {ours:.3f} s, ratio {ratio:.3f}")


if __name__ == "__main__":
    main()
