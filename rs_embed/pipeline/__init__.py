"""The steps from a spec to an embedding, each a small public function, to compose or replace.

`docs/pipeline.md` works through an example; `steps.embed` is the whole as one expression.
"""

from rs_embed.embedders.catalog import add_model, find_model
from rs_embed.embedders.runtime import load, unload_models
from rs_embed.pipeline.assemble import assemble_embedding
from rs_embed.pipeline.encoding import (
    TiledInput,
    encode_input,
    encode_inputs,
    encoded,
    windows,
)
from rs_embed.pipeline.export_plan import (
    Need,
    Share,
    item_fingerprint,
    model_fingerprint,
    request_fingerprint,
    reusable,
    shards,
    share_fetches,
    taken,
)
from rs_embed.pipeline.export_request import ExportRequest, check_export, file_names, labels
from rs_embed.pipeline.options import EmbedOptions, Progress
from rs_embed.pipeline.steps import (
    embed,
    fetch,
    open_input,
    open_pixels,
    plan,
    provenance,
    south_up,
    tiled_input,
)
from rs_embed.pipeline.tokens_of import stack_windows
from rs_embed.providers.base import open_provider
from rs_embed.providers.base import register as register_source
from rs_embed.providers.local import sample_scene

__all__ = [
    "EmbedOptions",
    "ExportRequest",
    "Need",
    "Share",
    "check_export",
    "file_names",
    "item_fingerprint",
    "labels",
    "model_fingerprint",
    "request_fingerprint",
    "reusable",
    "shards",
    "share_fetches",
    "taken",
    "unload_models",
    "TiledInput",
    "add_model",
    "Progress",
    "assemble_embedding",
    "embed",
    "encode_input",
    "encode_inputs",
    "encoded",
    "fetch",
    "find_model",
    "load",
    "open_input",
    "open_pixels",
    "open_provider",
    "plan",
    "provenance",
    "register_source",
    "sample_scene",
    "south_up",
    "stack_windows",
    "tiled_input",
    "windows",
]
