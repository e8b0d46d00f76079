"""Matrix-Game 2.0: three latents for each chunk of keys and mouse movements, one vector of each per frame.

At a size of one's own, in fp32, without files:

    network = MatrixGameNetworkConfig(dim=24, ffn_dim=40, freq_dim=16, num_heads=2, num_layers=2, in_dim=12, out_dim=4,
                                      action_blocks=1, action_dim=32, action_heads=2, action_rope_dims=(8, 4, 4),
                                      keyboard_embed_dim=6, keyboard_dim=4, mouse_dim=2)   # mouse_dim=0: no mouse
    config = MatrixGameTransformerConfig(network=network, dtype=torch.float32, len_t=3, window_size_t=6)
    transformer = config.setup()
    transformer.load_published(state)     # the published key layout, with or without `model.`; heads are permuted here
    cache = transformer.initialize_autoregressive_cache(height=4, width=6, image_embeddings=clip)   # [1, 257, 1280]
    control = MatrixGameCtrl(latent=image, mask=mask, keyboard=keyboard, mouse=mouse)
    # image [1, 3, 4, 4, 6]; mask [1, 3, 1 or 4, 4, 6]; keyboard [1, F, 4] and mouse [1, F, 2], one row per frame of
    # this chunk: F = 9 in chunk 0, 12 in all others. Earlier frames are remembered by the cache.
    cache.start(0)
    tokens, given = map(transformer.patchify_and_maybe_split_cp, (latent, control))     # latent [1, 3, 4, 4, 6]
    flow = transformer.predict_flow(tokens, torch.tensor(908.8427), cache, given)       # any number of steps
    flow = transformer.unpatchify_of(flow, cache)
    transformer.finalize_kv_cache(clean_tokens, torch.tensor(0.0), cache, given)
    cache.finalize(0)
"""

from flashdreams.integrations.matrix_game2.config import (
    GTA_DRIVE,
    PRESETS,
    TEMPLERUN,
    UNIVERSAL,
    MatrixGamePreset,
    matrix_game_pipeline,
)
from flashdreams.integrations.matrix_game2.controls import ControlVectors, control_vector, control_vectors
from flashdreams.integrations.matrix_game2.network import MatrixGameNetwork, MatrixGameNetworkConfig
from flashdreams.integrations.matrix_game2.pipeline import MatrixGamePipeline, MatrixGamePipelineConfig
from flashdreams.integrations.matrix_game2.transformer import (
    MatrixGameCtrl,
    MatrixGameTransformer,
    MatrixGameTransformerConfig,
)

__all__ = [
    "GTA_DRIVE",
    "PRESETS",
    "TEMPLERUN",
    "UNIVERSAL",
    "ControlVectors",
    "MatrixGameCtrl",
    "MatrixGameNetwork",
    "MatrixGameNetworkConfig",
    "MatrixGamePipeline",
    "MatrixGamePipelineConfig",
    "MatrixGamePreset",
    "MatrixGameTransformer",
    "MatrixGameTransformerConfig",
    "control_vector",
    "control_vectors",
    "matrix_game_pipeline",
]
