"""The command ``rs-embed``."""

from __future__ import annotations


def main() -> None:
    """Run the command line; installed as ``rs-embed``."""
    try:
        from rs_embed.cli.app import run

        run()
    except KeyboardInterrupt:
        import sys

        # Here too, since the modules above take a moment to load.
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
