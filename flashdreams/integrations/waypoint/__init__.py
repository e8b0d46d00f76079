"""Waypoint 1.5 1B: one latent for each action of keys, mouse and wheel.

At a size of one's own, in fp32, without weights:

    network = WaypointNetworkConfig(in_dim=4, out_dim=4, dim=64, num_heads=4, num_kv_heads=2, num_layers=4,
                                    num_buttons=12, noise_features=32)
    transformer = WaypointTransformerConfig(network=network, height=8, width=12, dtype=torch.float32).setup()
    transformer.network.load_state_dict(state)                        # the published key layout
    cache = transformer.initialize_autoregressive_cache()
    tokens = transformer.patchify_and_maybe_split_cp(latent)          # [1, 1, 4, 8, 12] -> [1, 24, 16]
    cache.start(0)
    flow = transformer.predict_flow(tokens, torch.tensor(0.9), cache, control)   # control [1, 2 + 12 + 1] or None
    transformer.finalize_kv_cache(tokens, torch.tensor(0.0), cache, control)
    cache.finalize(0)

Timesteps are noise levels: `WaypointScheduler` hands over 1, 0.9, 0.75 and 0.3, and 0 writes the clean latent. Index 0
is the start picture's latent, committed with a control of zeros; actions begin at 1. `control_vector` makes a control
of held buttons, mouse and wheel. `PIPELINES[slug].setup()` is the whole model with its published weights:

    cache = pipeline.initialize_cache(image, seed=1)                  # [1, 1, 3, 720, 1280] in [-1, 1]
    video = pipeline.generate(0, cache)                               # the start picture, one frame
    pipeline.finalize(0, cache)
    video = pipeline.generate(1, cache, control_vector({87})[None])   # four frames
"""

from flashdreams.integrations.waypoint.config import PIPELINES, WAYPOINT_360P, WAYPOINT_720P
from flashdreams.integrations.waypoint.controls import control_vector
from flashdreams.integrations.waypoint.network import WaypointNetwork, WaypointNetworkConfig
from flashdreams.integrations.waypoint.pipeline import WaypointPipeline, WaypointPipelineConfig
from flashdreams.integrations.waypoint.scheduler import WaypointScheduler, WaypointSchedulerConfig
from flashdreams.integrations.waypoint.transformer import (
    WaypointControl,
    WaypointTransformer,
    WaypointTransformerConfig,
)

__all__ = [
    "PIPELINES",
    "WAYPOINT_360P",
    "WAYPOINT_720P",
    "WaypointControl",
    "WaypointNetwork",
    "WaypointNetworkConfig",
    "WaypointPipeline",
    "WaypointPipelineConfig",
    "WaypointScheduler",
    "WaypointSchedulerConfig",
    "WaypointTransformer",
    "WaypointTransformerConfig",
    "control_vector",
]
