"""Whole clips through the denoiser at once, for training: causal attention over chunks without a KV cache."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.core.attention import RopeTable, apply_rope_freqs, rope_table
from flashdreams.integrations.pocket.model.codec import LATENT_SIZE
from flashdreams.integrations.pocket.model.denoiser import TIMESTEPS, PocketTransformer, network_input
from flashdreams.integrations.pocket.model.scene_encoder import SceneEncoder
from flashdreams.recipes.wan.transformer.impl.modules import BlockCache, CrossAttnCache, KeysValues


class ClipMemory:
    """Self-attention of all chunks of a clip `[N, T, L, H, D]`: each to itself and the `window - 1` chunks before."""

    def __init__(self, rope: RopeTable, window: int) -> None:
        self.rope, self.window = rope, window

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        chunks, tokens = q.shape[1:3]
        q, k = (apply_rope_freqs(x.flatten(1, 2), self.rope).transpose(1, 2) for x in (q, k))
        v = v.flatten(1, 2).transpose(1, 2)
        q = q * q.shape[-1] ** -0.5
        rows = []
        for t in range(chunks):  # chunk by chunk: half of a masked square would be wasted
            past = slice(max(0, t - self.window + 1) * tokens, (t + 1) * tokens)
            scores = q[:, :, t * tokens : (t + 1) * tokens] @ k[:, :, past].transpose(-2, -1)
            rows.append(scores.softmax(-1) @ v[:, :, past])
        return torch.stack(rows, 1).transpose(2, 3)


def predict_clean(denoiser: PocketTransformer, noisy: Tensor, level: Tensor, features: Tensor, scene: Tensor) -> Tensor:
    """Clean latents `[N, T, L, C]` from noisy ones at noise levels `level [N, T]` in 0..1.

    `place [N, T, L, F]` are the encoder's features, `scene [N, T]` the scene of every chunk.
    """
    network, chunks = denoiser.network, noisy.shape[1]
    rope = rope_table(denoiser.rope.at_times(torch.arange(chunks))).pairs.to(noisy.device)
    memory = ClipMemory(RopeTable(rope), denoiser.config.window_chunks)
    every_scene = network.cross_keys_values(denoiser.scene_tokens)
    layers = []
    for each in every_scene:
        k, v = each.text.cached_k()[scene], each.text.cached_v()[scene]
        layers.append(BlockCache(memory, CrossAttnCache(KeysValues(k, v))))  # type: ignore[arg-type]
    x = network_input(noisy, level[..., None, None], features)
    return network.run_blocks(x, (level * TIMESTEPS).unsqueeze(-1), layers)


def scene_features(encoder: SceneEncoder, before: Tensor, poses: Tensor, scene: Tensor) -> tuple[Tensor, Tensor]:
    """Features `[N, T, L, F]` and inverse depths `[N, T, 36, 64]` of cameras `poses`, which were at `before`."""
    features, inverse_depth = encoder.features(before.flatten(0, 1), poses.flatten(0, 1), scene.flatten())
    return features.flatten(-2).transpose(1, 2).unflatten(0, scene.shape), inverse_depth.unflatten(0, scene.shape)


def cameras_before(poses: Tensor) -> Tensor:
    """The cameras just before the chunks of clips `[N, T, 4, 4]` that begin at rest."""
    return torch.cat([poses[:, :1], poses[:, :-1]], 1)


def with_carried(
    encoder: SceneEncoder,
    features: Tensor,
    latents: Tensor,
    before: Tensor,
    poses: Tensor,
    inverse_depth: Tensor,
    given: Tensor,
) -> Tensor:
    """All that the network is told, `[N, T, L, F + 49]`: `scene_features` beside `carried_features`."""
    carried = carried_features(encoder, latents, before, poses, inverse_depth, given)
    return torch.cat([features, carried.to(features.dtype)], -1)


@torch.no_grad()
def carried_features(
    encoder: SceneEncoder, latents: Tensor, before: Tensor, poses: Tensor, inverse_depth: Tensor, given: Tensor
) -> Tensor:
    """Return features `[N, T, L, 49]` of the chunk before each chunk, from latents `[N, T, L, C]`.

    `inverse_depth [N, T, 36, 64]` is that of every chunk's last camera. Nothing (zeros) is told at the first chunk and
    where `given [N, T]` is false.
    """
    shape = (len(latents), latents.shape[1] - 1)
    codes = latents[:, :-1].flatten(0, 1).transpose(1, 2).unflatten(-1, LATENT_SIZE)
    shown = encoder.codec.decode(codes.float())
    later = [x[:, 1:].flatten(0, 1) for x in (before, poses, inverse_depth)]
    carried = encoder.carried(shown, *later)
    carried = F.pad(carried.flatten(-2).transpose(1, 2).unflatten(0, shape), (0, 0, 0, 0, 1, 0))
    return carried * given[..., None, None]
