"""The command ``rs-embed``."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line; installed as ``rs-embed``."""
    try:
        from rs_embed.cli import interrupts

        interrupts.watch()
        _open_streams()
        from rs_embed.cli.app import run

        run()
    except KeyboardInterrupt:
        # Here too, since the modules above take a moment to load.
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None


def _open_streams() -> None:
    """A stream that was closed before the start takes what is written, and keeps nothing."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
