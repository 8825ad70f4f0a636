"""The command ``rs-embed``."""

from __future__ import annotations


def main() -> None:
    """Run the command line; installed as ``rs-embed``."""
    from rs_embed.cli.app import run

    run()
