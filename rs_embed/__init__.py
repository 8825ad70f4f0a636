"""rs_embed: embeddings of remote-sensing foundation models for any place, time or xarray array.

Importing the package registers the accessor ``.rsembed`` on DataArray and Dataset and loads no
torch, timm, ee or rasterio; each is imported where it is first needed.
"""

from rs_embed import accessors as _accessors  # registers .rsembed
from rs_embed.api import (
    get_embedding,
    get_embeddings_batch,
    inspect_gee_patch,
    load_model,
    models_for,
    open_embedding,
    open_roi,
    register_model,
    register_provider,
    sample_scene,
    unload_models,
)
from rs_embed.core.embedding import Embedding
from rs_embed.core.errors import ModelError, ProviderError, RsEmbedError, SpecError
from rs_embed.core.model import ModelChoice
from rs_embed.core.specs import BBox, OutputSpec, PointBuffer, SensorSpec, TemporalSpec
from rs_embed.core.version import __version__ as __version__
from rs_embed.exports import export_batch, export_npz, load_export

__all__ = [
    "BBox",
    "Embedding",
    "ModelChoice",
    "ModelError",
    "OutputSpec",
    "PointBuffer",
    "ProviderError",
    "RsEmbedError",
    "SensorSpec",
    "SpecError",
    "TemporalSpec",
    "export_batch",
    "export_npz",
    "get_embedding",
    "get_embeddings_batch",
    "inspect_gee_patch",
    "load_export",
    "load_model",
    "open_embedding",
    "models_for",
    "open_roi",
    "register_model",
    "register_provider",
    "sample_scene",
    "unload_models",
]
del _accessors
