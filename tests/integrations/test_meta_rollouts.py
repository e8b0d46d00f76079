"""Rollouts of the newer models at their full width and two blocks deep, on the meta device: a stray tensor raises."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from flashdreams.infra.config.base import replace_everywhere
from flashdreams.infra.memory.tracker import on_meta, repeated
from flashdreams.infra.temporal import causal_pixel_frames
from flashdreams.integrations.krea_realtime import config as krea
from flashdreams.integrations.lingbot_world import config as lingbot
from flashdreams.integrations.lingbot_world.camera import LingBotCtrl
from flashdreams.integrations.longlive import config as longlive
from flashdreams.integrations.matrix_game2 import MatrixGameCtrl, MatrixGameTransformerConfig
from flashdreams.integrations.matrix_game2 import config as matrix_game
from flashdreams.integrations.rolling_forcing import config as rolling_forcing
from flashdreams.integrations.waypoint import config as waypoint
from flashdreams.recipes.wan import Wan21TransformerConfig

ALL: dict[str, tuple[Any, int, int]] = {
    **{slug: (pipeline, 44, 80) for slug, pipeline in matrix_game.PIPELINES.items()},
    **{slug: (lingbot.PIPELINES[slug], 58, 104) for slug in (lingbot.V2_SLUG, lingbot.V2_STREAMING, lingbot.V2_SMALL)},
    longlive.SLUG: (longlive.PIPELINES[longlive.SLUG], 60, 104),
    krea.SLUG: (krea.PIPELINES[krea.SLUG], 60, 104),
    rolling_forcing.SLUG: (rolling_forcing.PIPELINES[rolling_forcing.SLUG], 60, 104),
}
"""Pipelines with the height and width of their latents."""


def control_of(config: Wan21TransformerConfig, chunk: int, height: int, width: int, device: str) -> Any:
    """A chunk's control, as its encoder makes it; controls of frames come from the CPU."""
    latent = torch.zeros(1, config.len_t, 16, height, width, device=device)
    mask = torch.zeros(1, config.len_t, 1, height, width, device=device)
    if isinstance(config, MatrixGameTransformerConfig):
        frames = causal_pixel_frames(chunk, config.len_t, 4)
        network = config.network
        mouse = torch.zeros(1, frames, network.mouse_dim, device="cpu") if network.mouse_dim else None
        keyboard = torch.zeros(1, frames, network.keyboard_dim, device="cpu")
        return MatrixGameCtrl(latent=latent, mask=mask, keyboard=keyboard, mouse=mouse)
    if config.concat_image_mask_to_latent:
        camera = torch.zeros(1, config.len_t, 384, height, width, device=device)
        return LingBotCtrl(latent=latent, mask=mask, camera=camera)
    return None


class Repeated(TorchDispatchMode):
    """Finds the shape of the same operation on the meta device once."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return repeated(func, args, kwargs or {})


@pytest.mark.parametrize("slug", ALL)
@torch.no_grad()
def test_every_tensor_of_a_rollout_is_on_the_device(slug: str) -> None:
    pipeline, height, width = ALL[slug]
    depth = {"num_layers": 2, "action_blocks": 1}
    config = replace_everywhere(pipeline.diffusion_model.transformer, checkpoint_path=None, **depth)
    transformer: Any = on_meta(config)
    with torch.device("meta"), Repeated():
        features = torch.zeros(1, config.network.text_len, config.network.text_dim, dtype=config.dtype)
        cache = transformer.initialize_autoregressive_cache(height=height, width=width, text_embeddings=features)
        for chunk in range(config.window_chunks + 2):
            if chunk == config.window_chunks:
                transformer.replace_text(cache, features)
            control = control_of(config, chunk, height, width, "meta")
            control = None if control is None else transformer.patchify_and_maybe_split_cp(control)
            cache.start(chunk)
            tokens = torch.zeros(transformer.latent_shape_of(cache), dtype=config.dtype)
            window, times = torch.cat([tokens] * config.joint_chunks, -2), torch.zeros(config.joint_chunks)
            flow: Tensor = transformer.predict_flow(window, times, cache, control)
            assert flow.device.type == "meta" and flow.shape == window.shape and flow.dtype == window.dtype
            transformer.finalize_kv_cache(tokens, torch.zeros(()), cache, control)
            cache.finalize(chunk)


@pytest.mark.parametrize("slug", waypoint.PIPELINES)
@torch.no_grad()
def test_every_tensor_of_a_waypoint_rollout_is_on_the_device(slug: str) -> None:
    """At full width, four blocks deep: three with a local window, one with a global one, both short."""
    pipeline, windows = waypoint.PIPELINES[slug], {"local_window": 4, "global_latents": 2, "global_dilation": 2}
    config = replace_everywhere(pipeline.diffusion_model.transformer, checkpoint_path=None, num_layers=4, **windows)
    network = config.network
    transformer: Any = on_meta(config)
    with torch.device("meta"), Repeated():
        cache = transformer.initialize_autoregressive_cache()
        for chunk in range(config.window_size_t + network.global_dilation + 1):
            cache.start(chunk)
            control = torch.zeros(1, 2 + network.num_buttons + 1, device="cpu") if chunk else None
            tokens = torch.zeros(transformer.latent_shape, dtype=config.dtype)
            flow: Tensor = transformer.predict_flow(tokens, torch.zeros(()), cache, control)
            assert flow.device.type == "meta" and flow.shape == tokens.shape and flow.dtype == tokens.dtype
            transformer.finalize_kv_cache(tokens, torch.zeros(()), cache, control)


@torch.no_grad()
def test_a_tensor_on_another_device_is_noticed() -> None:
    """Otherwise the test above could not fail."""
    with pytest.raises((RuntimeError, NotImplementedError)):
        torch.nn.Linear(2, 2, device="meta")(torch.zeros(1, 2, device="cpu"))
    with pytest.raises(RuntimeError, match="device"):
        torch.zeros(3, device="meta") + torch.zeros(3, device="cpu")
    with Repeated():
        for other in ("meta", "cpu"):
            with nullcontext() if other == "meta" else pytest.raises(RuntimeError, match="device"):
                torch.zeros(3, device="meta") + torch.zeros(3, device=other)
