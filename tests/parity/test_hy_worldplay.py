"""HY-WorldPlay against plain implementations: projective attention, chunks with memory, the choice of views."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.infra.diffusion.model.base import DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler import FlowMatchEulerDiscreteSchedulerConfig
from flashdreams.integrations.hy_worldplay.camera import HyWorldPlayCtrl
from flashdreams.integrations.hy_worldplay.checkpoint import hy_worldplay_state_dict_transform
from flashdreams.integrations.hy_worldplay.network import HyWorldPlayNetworkConfig
from flashdreams.integrations.hy_worldplay.overlap import ViewCone, ViewConeConfig
from flashdreams.integrations.hy_worldplay.prope import project, projections
from flashdreams.integrations.hy_worldplay.transformer import HyWorldPlayTransformerConfig
from flashdreams.recipes.wan.transformer.impl.modules import sinusoidal_embedding_1d
from tests.parity.test_lingbot_world import camera_path
from tests.parity.test_wan_streaming import (
    FRAME,
    HEIGHT,
    TEXT_LEN,
    TOLERANCE,
    WIDTH,
    theirs,
    unpatchify,
)
from tests.wan import CHANNELS, HEAD_DIM, HEADS, TEXT_DIM, noise, relative_error

DIM, LEN_T, CHUNKS = HEADS * HEAD_DIM, 4, 7
TIMESTEPS = (1000.0, 960.0, 888.8889, 727.2728, 0.0)
LENSES = torch.tensor([[0.5, 0.9]], dtype=torch.float64)


def plain_prope(q: Tensor, k: Tensor, v: Tensor, poses: Tensor, lenses: Tensor, seen: Tensor | None = None) -> Tensor:
    """PRoPE attention of tokens `[L, H, D]` in fp64, by a matrix for every pair of tokens.

    `poses [L, 4, 4]` camera-to-world and `lenses [L, 2]` of each token; `seen [L, L]`: which token sees which.
    """
    length, _, size = q.shape
    q, k, v = (x.double().unflatten(-1, (size // 4, 4)) for x in (q, k, v))
    p = torch.diag_embed(torch.cat([lenses, torch.ones(length, 2)], -1).double()) @ torch.linalg.inv(poses)
    between = p[:, None] @ torch.linalg.inv(p)[None, :]
    scores = torch.einsum("ihcx,ijxy,jhcy->hij", q, between, k) / math.sqrt(size)
    if seen is not None:
        scores = scores.masked_fill(~seen, -math.inf)
    return torch.einsum("hij,ijxy,jhcy->ihcx", scores.softmax(-1), between, v).flatten(-2)


def test_projective_attention_equals_a_plain_implementation() -> None:
    frames, tokens, heads, size = 3, 2, 2, 8
    q, k, v = (noise(frames * tokens, heads, size, seed=seed) for seed in range(3))
    poses, lenses = torch.from_numpy(camera_path(frames)), torch.tensor([[0.5, 0.9], [0.6, 1.0], [0.7, 1.3]]).double()
    cameras = projections(poses, lenses)
    queries, keys, values = project(q, cameras.of_queries), project(k, cameras.of_keys), project(v, cameras.of_keys)
    heads_first = (x.transpose(0, 1) for x in (queries, keys, values))
    answers = project(F.scaled_dot_product_attention(*heads_first).transpose(0, 1), cameras.of_answers)
    expected = plain_prope(q, k, v, poses.repeat_interleave(tokens, 0), lenses.repeat_interleave(tokens, 0))
    assert relative_error(answers.double(), expected) < 1e-6


def test_projective_attention_knows_relative_poses_only() -> None:
    q, k, v = (noise(6, 2, 8, seed=seed) for seed in range(3))
    poses, elsewhere = torch.from_numpy(camera_path(6)), torch.from_numpy(camera_path(1, seed=4)[0])
    lenses = LENSES.expand(6, 2)
    assert relative_error(plain_prope(q, k, v, elsewhere @ poses, lenses), plain_prope(q, k, v, poses, lenses)) < 1e-9


def published(folder: Path) -> tuple[Any, dict[str, Tensor]]:
    """diffusers' model and, beside it, what HY-WorldPlay adds; written together as the published file is."""
    model = theirs(folder / "wan")
    added = {}
    for layer in range(2):
        name = f"blocks.{layer}.attn1.to_out_prope.0"
        added |= {f"{name}.weight": noise(DIM, DIM, seed=layer) / DIM**0.5, f"{name}.bias": noise(DIM, seed=layer + 5)}
    for number, columns in ((1, 16), (2, DIM)):
        name = f"condition_embedder.action_embedder.linear_{number}"
        added |= {f"{name}.weight": noise(DIM, columns, seed=number) / columns**0.5, f"{name}.bias": noise(DIM, seed=9)}
    tensors = {f"model.{key}": value.clone() for key, value in (model.state_dict() | added).items()}
    torch.save({"generator": tensors, "generator_ema": {}}, folder / "model.pt")
    return model, added


class Remembering:
    """diffusers' model on memory and chunk at once, with plain projective attention and action classes added."""

    def __init__(self, model: Any, added: dict[str, Tensor]) -> None:
        from diffusers.models.transformers.transformer_wan import WanAttnProcessor

        self.model, self.added = model, added
        self.poses, self.actions, self.past = torch.empty(0), torch.empty(0), 0
        outer = self

        class Twofold(WanAttnProcessor):
            def __init__(self, layer: int) -> None:
                super().__init__()
                self.layer = layer

            def __call__(self, attn: Any, x: Tensor, text: Any = None, mask: Any = None, rope: Any = None) -> Tensor:
                by_place: Tensor = super().__call__(attn, x, text, outer.seen(x), rope)
                return by_place + outer.by_camera(self.layer, attn, x)

        for layer, block in enumerate(model.blocks):
            block.attn1.set_processor(Twofold(layer))
        model.condition_embedder.time_embedder.register_forward_hook(lambda module, inputs, out: out + self.embedded())

    def seen(self, x: Tensor) -> Tensor:
        """The memory sees itself alone, the chunk sees all."""
        visible = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool)
        visible[: self.past * FRAME, self.past * FRAME :] = False
        return visible

    def by_camera(self, layer: int, attn: Any, x: Tensor) -> Tensor:
        heads = (HEADS, HEAD_DIM)
        q, k = attn.norm_q(attn.to_q(x)).unflatten(-1, heads), attn.norm_k(attn.to_k(x)).unflatten(-1, heads)
        poses = self.poses.repeat_interleave(FRAME, 0)
        lenses = LENSES.expand(len(poses), 2)
        answers = plain_prope(q[0], k[0], attn.to_v(x).unflatten(-1, heads)[0], poses, lenses, self.seen(x))
        name = f"blocks.{layer}.attn1.to_out_prope.0"
        return F.linear(answers.float().flatten(-2), self.added[f"{name}.weight"], self.added[f"{name}.bias"])[None]

    def embedded(self) -> Tensor:
        name = "condition_embedder.action_embedder.linear_"
        first, second = (
            (self.added[f"{name}{number}.weight"], self.added[f"{name}{number}.bias"]) for number in (1, 2)
        )
        return F.linear(F.silu(F.linear(sinusoidal_embedding_1d(16, self.actions), *first)), *second).repeat_interleave(
            FRAME, 0
        )[None]

    @torch.no_grad()
    def flow(
        self, past: Tensor, chunk: Tensor, timesteps: Tensor, poses: Tensor, actions: Tensor, text: Tensor
    ) -> Tensor:
        """Of `chunk [1, T, C, H, W]` after `past [1, K, C, H, W]`; timesteps, poses and actions of all K + T frames."""
        self.poses, self.actions, self.past = poses, actions, past.shape[1]
        clip = torch.cat([past, chunk], 1).transpose(1, 2)
        flow = self.model(clip, timesteps.repeat_interleave(FRAME)[None], text, return_dict=False)[0]
        return flow.transpose(1, 2)[:, past.shape[1] :]


def transformer_config(folder: Path, **changes: Any) -> HyWorldPlayTransformerConfig:
    network = HyWorldPlayNetworkConfig(
        text_len=TEXT_LEN,
        in_dim=CHANNELS,
        dim=DIM,
        ffn_dim=40,
        freq_dim=16,
        text_dim=TEXT_DIM,
        out_dim=CHANNELS,
        num_heads=HEADS,
        num_layers=2,
    )
    return HyWorldPlayTransformerConfig(
        network=network,
        dtype=torch.float32,
        checkpoint_path=folder / "model.pt",
        state_dict_transform=hy_worldplay_state_dict_transform,
        **changes,
    )


def views_by_hand(poses: np.ndarray, chunk: int, points: np.ndarray) -> list[int]:
    """Latents that chunk `chunk` looks at again: the last 12, and of the blocks of 4 before the one that saw most."""
    now = range(LEN_T * chunk, LEN_T * chunk + 4)
    if chunk <= 4:
        return list(range(LEN_T * chunk))
    shares = {}
    for block in range(0, LEN_T * chunk - 12, 4):
        counts = []
        for query in now:
            for then in (block, block + 2):
                relative = np.linalg.inv(poses[query]) @ poses[then]
                visible = [point for point in points if visible_from(np.eye(4), point)]
                counts.append(sum(visible_from(relative, point) for point in visible) / len(visible))
        shares[block] = np.mean(counts)
    best = max(shares, key=lambda block: (shares[block], -block))
    return [*range(best, best + 4), *range(LEN_T * chunk - 12, LEN_T * chunk)]


def visible_from(pose: np.ndarray, point: np.ndarray) -> bool:
    """Within 60 x 35 degrees of where the camera looks, and within 8 units."""

    def angles(x: float, y: float, z: float) -> np.ndarray:
        return np.degrees([math.atan2(x, z), math.atan2(y, math.hypot(x, z))])

    ray = point - pose[:3, 3]
    off = (angles(*ray) - angles(*pose[:3, 2]) + 180) % 360 - 180
    return bool(abs(off[0]) < 30 and abs(off[1]) < 17.5 and np.linalg.norm(ray) < 8)


@pytest.mark.parametrize("seed", range(3))
def test_the_choice_of_views_equals_a_brute_force_one(seed: int) -> None:
    cone, chunks = ViewCone(ViewConeConfig(points=4000)), 9
    poses = camera_path(chunks * LEN_T, seed)
    poses[:, :3, 3] *= 3
    points = ball(cone)
    for chunk in range(4, chunks):
        blocks = torch.from_numpy(poses[: LEN_T * (chunk - 3)]).unflatten(0, (-1, LEN_T))
        now = torch.from_numpy(poses[LEN_T * chunk : LEN_T * chunk + LEN_T])
        (best,) = cone.nearest(now, blocks, 1)
        assert list(range(4 * best, 4 * best + 4)) == views_by_hand(poses, chunk, points)[:4]


def ball(cone: ViewCone) -> np.ndarray:
    """The points on which overlaps are counted, with some that no camera at the origin sees."""
    return np.concatenate([cone.points.numpy(), -cone.points.numpy()])


def test_points_fill_what_a_camera_sees_evenly() -> None:
    cone = ViewCone(ViewConeConfig())
    share = 60 / 360 * math.sin(math.radians(17.5))
    assert len(cone.points) == pytest.approx(50_000 * share, rel=0.05)
    assert (cone.points.norm(dim=-1) ** 3).mean() == pytest.approx(8**3 / 2, rel=0.05)
    assert cone.points[:, :2].mean(0).abs().max() < 0.1


def test_a_rollout_with_memory_equals_the_whole_clip(tmp_path: Path) -> None:
    model, added = published(tmp_path)
    reference = Remembering(model, added)
    scheduler = FlowMatchEulerDiscreteSchedulerConfig(num_inference_steps=4, fixed_timesteps=TIMESTEPS)
    ours = DiffusionModelConfig(transformer=transformer_config(tmp_path), scheduler=scheduler, seed=7).setup()
    text, image = noise(1, TEXT_LEN, TEXT_DIM), noise(1, 1, CHANNELS, HEIGHT, WIDTH, seed=4)
    cache = ours.transformer.initialize_autoregressive_cache(height=HEIGHT, width=WIDTH, text_embeddings=text)
    poses = camera_path(CHUNKS * LEN_T, seed=2)
    actions = torch.arange(CHUNKS * LEN_T) * 7 % 81
    generator, clip, worst = torch.Generator().manual_seed(7), torch.empty(1, 0, CHANNELS, HEIGHT, WIDTH), 0.0
    chosen = []
    for chunk in range(CHUNKS):
        here = slice(chunk * LEN_T, (chunk + 1) * LEN_T)
        latent, mask = torch.zeros(1, LEN_T, CHANNELS, HEIGHT, WIDTH), torch.zeros(1, LEN_T, 1, HEIGHT, WIDTH)
        if chunk == 0:
            latent[:, :1], mask[:, :1] = image, 1
        control = HyWorldPlayCtrl(
            latent=latent,
            mask=mask,
            poses=torch.from_numpy(poses[here])[None],
            lenses=LENSES.expand(1, LEN_T, 2),
            actions=actions[here][None],
        )
        clean, state = ours.generate(chunk, cache, control)
        ours.finalize(state)

        views = views_by_hand(poses, chunk, ours.transformer.cone.points.numpy()[::8])
        chosen += views[:1] if chunk > 4 else []
        frames = torch.tensor([*views, *range(here.start, here.stop)])
        x = unpatchify(torch.randn(state.clean_latent.shape, generator=generator))
        for t, following in itertools.pairwise(TIMESTEPS):
            timesteps = torch.tensor([14.0] * len(views) + [t] * LEN_T)
            if chunk == 0:
                x[:, :1], timesteps[0] = image, 14.0
            flow = reference.flow(clip[:, views], x, timesteps, torch.from_numpy(poses)[frames], actions[frames], text)
            x = x + (following - t) / 1000 * flow
        if chunk == 0:
            x[:, :1] = image
        worst = max(worst, relative_error(clean, x))
        clip = torch.cat([clip, x], 1)
    print(f"HY-WorldPlay, {CHUNKS} chunks, views from {chosen}: relative error {worst:.1e}")
    assert worst <= TOLERANCE
