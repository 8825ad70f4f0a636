"""The steps from a spec to an embedding, each a small public function, to compose or replace.

`docs/pipeline.md` works through an example; `steps.embed` is the whole as one expression.
"""

from rs_embed.pipeline.assemble import assemble_embedding
from rs_embed.pipeline.options import EmbedOptions, Progress
from rs_embed.pipeline.steps import (
    TiledInput,
    embed,
    encode_input,
    encode_inputs,
    encoded,
    fetch,
    open_input,
    open_pixels,
    plan,
    provenance,
    south_up,
    stack_windows,
    tiled_input,
    windows,
)

__all__ = [
    "EmbedOptions",
    "Progress",
    "TiledInput",
    "assemble_embedding",
    "embed",
    "encode_input",
    "encode_inputs",
    "encoded",
    "fetch",
    "open_input",
    "open_pixels",
    "plan",
    "provenance",
    "south_up",
    "stack_windows",
    "tiled_input",
    "windows",
]
