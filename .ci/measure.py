"""Run one step of .ci/run and tell its time and the memory of its largest process.

``python .ci/measure.py TITLE FUNCTION WORDS...``, with a function that .ci/run exports.
"""

import resource
import subprocess
import sys
import time

title, *words = sys.argv[1:]
print(f"\n== {title}", flush=True)
began = time.monotonic()
code = subprocess.run(["bash", "-euo", "pipefail", "-c", '"$@"', "step", *words]).returncode
seconds = time.monotonic() - began
# Linux counts in kibibytes: the largest of all processes that the step waited for, not their sum.
peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
told = "" if code == 0 else f", FAILED ({code})"
print(f"== {title}: {seconds:.0f} s, largest process {peak_mb:.0f} MB{told}", flush=True)
sys.exit(code)
