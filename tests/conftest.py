"""What every test shares."""

from __future__ import annotations

from hypothesis import settings

# No deadline: a busy machine is not a failing test.
settings.register_profile("rs_embed", deadline=None)
# pytest --hypothesis-profile=thorough looks harder.
settings.register_profile("thorough", deadline=None, max_examples=2000)
settings.load_profile("rs_embed")
