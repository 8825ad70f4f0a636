"""The steps from a spec to an embedding, each a small public function, to compose or replace.

`docs/pipeline.md` works through an example; `steps.embed` is the whole as one expression.
"""

from rs_embed.pipeline.assemble import assemble_embedding
from rs_embed.pipeline.steps import (
    Progress,
    TiledInput,
    embed,
    encode_inputs,
    encoded,
    fetch,
    plan,
    provenance,
    south_up,
    stack_windows,
    tiled_input,
    windows,
)

__all__ = [
    "TiledInput",
    "Progress",
    "embed",
    "encode_inputs",
    "encoded",
    "fetch",
    "assemble_embedding",
    "south_up",
    "tiled_input",
    "plan",
    "provenance",
    "stack_windows",
    "windows",
]
