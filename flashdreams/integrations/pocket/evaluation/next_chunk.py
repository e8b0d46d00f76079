"""One chunk ahead of a true past: how right the next picture is, and how wrong with somebody else's cameras."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from flashdreams.integrations.pocket.evaluation.stage import Samples, Stage, new_seed
from flashdreams.integrations.pocket.model.codec import psnr
from flashdreams.integrations.pocket.model.decoder import PocketDecoder
from flashdreams.integrations.pocket.model.denoiser import PocketTransformer
from flashdreams.integrations.pocket.model.scene_encoder import SceneEncoder
from flashdreams.integrations.pocket.scenes.movement import FRAMES_PER_CHUNK
from flashdreams.integrations.pocket.training.training_clips import (
    cameras_before,
    predict_clean,
    scene_features,
    with_carried,
)
from flashdreams.integrations.pocket.world import PocketWorld


@torch.no_grad()
def next_chunk(stage: Stage, world: PocketWorld, scene: str, camera_paths: int) -> Samples:
    """PSNR of the chunk after a window full of true ones, dreamed in one pass, and what happens if its camera lies.

    `action_shuffle_ratio` is the squared error with the motion of another camera path over that with its own.
    """
    window, rng = world.config.window_chunks, stage.rng(scene, 9)
    poses = torch.from_numpy(stage.camera_paths(scene, rng, camera_paths, window)[:, ::FRAMES_PER_CHUNK]).float()
    true = torch.stack([stage.truth.images(scene, camera_path.double().numpy()) for camera_path in poses])
    moved = poses[:, -2] @ (poses[:, -2].inverse() @ poses[:, -1]).roll(1, 0)
    shuffled = torch.cat([poses[:, :-1], moved[:, None]], 1)
    seed = new_seed(rng)
    images = [_next(world, scene, true, cameras, seed) for cameras in (poses, shuffled)]
    errors = [(image - true[:, -1]).square().mean().item() for image in images]
    return {
        "next_chunk_psnr_db": psnr(images[0], true[:, -1]).tolist(),
        "action_shuffle_ratio": [errors[1] / max(errors[0], 1e-9)],
    }


def _next(world: PocketWorld, scene: str, true: Tensor, poses: Tensor, seed: int) -> Tensor:
    """The last pictures `[N, 3, H, W]` of walks along `poses [N, T, 4, 4]` whose earlier pictures are `true`."""
    device = world.pipeline.device
    encoder = cast(SceneEncoder, world.pipeline.encoder)
    transformer = cast(PocketTransformer, world.pipeline.diffusion_model.transformer)
    decoder = cast(PocketDecoder, world.pipeline.decoder)
    torch.manual_seed(seed)
    codes = encoder.codec.encode(true.flatten(0, 1).to(device)).unflatten(0, true.shape[:2])
    clean = codes.flatten(-2).transpose(-2, -1)
    poses = poses.to(device)
    before = cameras_before(poses)
    scenes = torch.full(poses.shape[:2], [s.name for s in world.config.scenes].index(scene), device=device)
    features, inverse_depth = scene_features(encoder, before, poses, scenes)
    given = torch.ones(scenes.shape, dtype=torch.bool, device=device)
    features = with_carried(encoder, features, clean, before, poses, inverse_depth, given)
    level = torch.zeros(scenes.shape, device=device)
    level[:, -1] = 1
    noisy = torch.cat([clean[:, :-1], torch.randn_like(clean[:, -1:])], 1).to(transformer.dtype)
    generated = predict_clean(transformer, noisy, level, features, scenes)
    latent = generated[:, -1].float().transpose(-2, -1).unflatten(-1, codes.shape[-2:])
    return decoder.key_frame(latent).clamp(0, 1).cpu()
