"""``python -m rs_embed`` is ``rs-embed``."""

from rs_embed.cli import main

main()
