"""Convolutions in full float32 while a network runs.

On a GPU cuDNN would round the factors of a convolution to 10 bits (TF32) unless told otherwise,
and a model would no longer give its authors' numbers to float32's precision. The switch is the
whole process's, so it is turned for as long as networks of ours run, and turned back after.
Products of matrices are in full precision by torch's own default, and stay as the caller set them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_TURN = threading.Lock()
_RUNNING = [0]
_BEFORE = [True]


@contextmanager
def full_precision() -> Iterator[None]:
    """CuDNN's TF32 off inside; as it was once the last of several threads has left."""
    from torch.backends import cudnn

    with _TURN:
        if not _RUNNING[0]:
            _BEFORE[0] = cudnn.allow_tf32
            cudnn.allow_tf32 = False
        _RUNNING[0] += 1
    try:
        yield
    finally:
        with _TURN:
            _RUNNING[0] -= 1
            if not _RUNNING[0]:
                cudnn.allow_tf32 = _BEFORE[0]
