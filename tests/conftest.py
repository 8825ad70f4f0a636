"""What every test shares."""

from __future__ import annotations

import os

from hypothesis import settings

# With as many workers as cores (pytest -n auto) each computes on one; torch reads it when imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# No deadline: a busy machine is not a failing test.
settings.register_profile("rs_embed", deadline=None)
# pytest --hypothesis-profile=thorough looks harder.
settings.register_profile("thorough", deadline=None, max_examples=2000)
settings.load_profile("rs_embed")
