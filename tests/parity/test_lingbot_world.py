"""LingBot-World's camera control against a plain loop over pixels, and its rollouts against diffusers' whole clips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from flashdreams.camera.poses import pose_from_yaw_pitch
from flashdreams.infra.diffusion.model.base import DiffusionModel
from flashdreams.integrations.lingbot_world.camera import LingBotCtrl, LingBotCtrlEncoder, LingBotCtrlEncoderConfig
from flashdreams.integrations.lingbot_world.network import CAMERA_CHANNELS, LingBotNetworkConfig
from flashdreams.integrations.lingbot_world.transformer import LingBotTransformerConfig
from flashdreams.recipes.wan import WanVAEEncoderConfig, wan_dit_state_dict_transform
from flashdreams.recipes.wan.autoencoder.i2v import blank_frames
from flashdreams.recipes.wan.camera_pipeline import CameraInput
from tests.parity.test_wan_streaming import (
    CHUNKS,
    HEIGHT,
    TEXT_LEN,
    TOLERANCE,
    WIDTH,
    Plain,
    layout_of,
    model_of,
    patchify,
    theirs,
    unpatchify,
)
from tests.wan import CHANNELS, HEAD_DIM, HEADS, TEXT_DIM, noise, relative_error

DIM = HEADS * HEAD_DIM
PICTURE = (16, 24)
LENS = np.array([20.0, 21.0, 11.5, 8.25])


def camera_path(frames: int, seed: int = 0) -> np.ndarray:
    """Camera-to-world `[N, 4, 4]` of a walk that turns, looks up and down, and goes sideways."""
    steps = np.cumsum(np.random.default_rng(seed).normal(size=(frames, 5)) * (0.1, 0.02, 0.1, 4, 2), 0)
    return np.stack([pose_from_yaw_pitch(step[:3], step[3], step[4]) for step in steps])


def rays_by_hand(poses: np.ndarray, previous: np.ndarray | None, scale: float) -> np.ndarray:
    """`[T, 384, h, w]`, pixel after pixel, from the description of the model's input."""
    height, width = PICTURE
    found = np.zeros((len(poses), CAMERA_CHANNELS, height // 8, width // 8))
    fx, fy, cx, cy = LENS
    for t, pose in enumerate(poses):
        relative = np.eye(4) if previous is None else np.linalg.inv(previous) @ pose
        previous = pose
        for y in range(height):
            for x in range(width):
                ray = np.array([(x + 0.5 - cx) / fx, (y + 0.5 - cy) / fy, 1.0])
                six = np.concatenate([relative[:3, 3] / scale, relative[:3, :3] @ (ray / np.linalg.norm(ray))])
                for channel, value in enumerate(six):
                    found[t, channel * 64 + (y % 8) * 8 + x % 8, y // 8, x // 8] = value
    return found


def test_the_camera_control_equals_a_loop_over_pixels() -> None:
    scale, len_t = 0.7, 3
    torch.manual_seed(0)
    picture_encoder = WanVAEEncoderConfig(checkpoint_path=None, dtype=torch.float32, base_dim=4)
    encoder: LingBotCtrlEncoder = LingBotCtrlEncoderConfig(encoder=picture_encoder, world_scale=scale).setup()
    cache = encoder.initialize_autoregressive_cache()
    image, poses, previous, seen = torch.zeros(1, 1, 3, *PICTURE), camera_path(9 + 12 + 12), None, 0
    for chunk, (frames, places) in enumerate([(9, [0, 4, 8]), (12, [3, 7, 11]), (12, [3, 7, 11])]):
        here = poses[seen : seen + frames]
        given = CameraInput(
            frames=blank_frames(image, frames),
            poses=torch.from_numpy(here)[None],
            intrinsics=torch.from_numpy(LENS).expand(1, frames, 4),
        )
        control = encoder(given, chunk, cache)
        expected = rays_by_hand(here[places], previous, scale)
        assert control.camera.shape == (1, len_t, 384, 2, 3)
        np.testing.assert_allclose(control.camera[0].numpy(), expected, atol=1e-6)
        assert control.mask[0, :, 0].amax((1, 2)).tolist() == [float(chunk == 0), 0, 0]
        previous, seen = here[places[-1]], seen + frames


def camera_weights(seed: int = 5) -> dict[str, Tensor]:
    """Of what the published network has beyond Wan's, under its names."""
    shapes = {"patch_embedding_wancamctrl": (DIM, 4 * CAMERA_CHANNELS)}
    shapes |= {f"c2ws_hidden_states_layer{i}": (DIM, DIM) for i in (1, 2)}
    for block in range(2):
        names = ("cam_injector_layer1", "cam_injector_layer2", "cam_scale_layer", "cam_shift_layer")
        shapes |= {f"blocks.{block}.{name}": (DIM, DIM) for name in names}
    tensors = {}
    for number, (name, (rows, columns)) in enumerate(shapes.items()):
        tensors[f"{name}.weight"] = noise(rows, columns, seed=seed + number) / columns**0.5
        tensors[f"{name}.bias"] = noise(rows, seed=seed + 100 + number) * 0.3
    return tensors


class Steered:
    """diffusers' model, whose clip is scaled and shifted by the camera between self- and cross-attention."""

    def __init__(self, model: Any, weights: dict[str, Tensor]) -> None:
        self.model, self.weights, self.rays = model, weights, torch.empty(0)
        for number, block in enumerate(model.blocks):
            # diffusers' norm2 reads the sum that cross-attention adds to: changing it there changes both.
            block.norm2.register_forward_pre_hook(lambda module, inputs, n=number: self.inject(n, inputs[0]))

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def inject(self, block: int, x: Tensor) -> None:
        rays = patchify(self.rays[:, : x.shape[1] * 4 // (HEIGHT * WIDTH)])
        e = self.linear("patch_embedding_wancamctrl", rays)
        p = self.linear("c2ws_hidden_states_layer2", F.silu(self.linear("c2ws_hidden_states_layer1", e))) + e
        of_block = f"blocks.{block}."
        inner = F.silu(self.linear(of_block + "cam_injector_layer1", p))
        h = self.linear(of_block + "cam_injector_layer2", inner) + p
        scaled = (1 + self.linear(of_block + "cam_scale_layer", h)) * x + self.linear(of_block + "cam_shift_layer", h)
        x.copy_(scaled)


@pytest.mark.parametrize(("len_t", "sink", "window"), [(1, 0, 3), (2, 2, 4), (4, 6, 12)], ids=str)
@torch.no_grad()
def test_a_steered_rollout_equals_the_whole_clip(len_t: int, sink: int, window: int, tmp_path: Path) -> None:
    in_dim, layout, frames = 2 * CHANNELS + 4, layout_of(len_t, sink, window), CHUNKS * len_t
    reference, weights = theirs(tmp_path / "wan", in_dim=in_dim), camera_weights()
    steered = Steered(reference, weights)
    steered.rays = noise(1, frames, CAMERA_CHANNELS, HEIGHT, WIDTH, seed=9)
    # The published layout: official keys and the camera's, in one folder of safetensors.
    official = official_keys(reference.state_dict())
    (tmp_path / "lingbot").mkdir()
    save_file(official | weights, tmp_path / "lingbot" / "diffusion_pytorch_model.safetensors")

    given = torch.zeros(1, frames, 1, HEIGHT, WIDTH)
    given[:, 0] = 1
    image, text = noise(1, frames, CHANNELS, HEIGHT, WIDTH, seed=4), noise(1, TEXT_LEN, TEXT_DIM)
    plain = Plain(lambda t: reference, layout, text, concat=True, image=image, given=given)
    network = LingBotNetworkConfig(
        text_len=TEXT_LEN,
        in_dim=in_dim,
        dim=DIM,
        ffn_dim=40,
        freq_dim=16,
        text_dim=TEXT_DIM,
        out_dim=CHANNELS,
        num_heads=HEADS,
        num_layers=2,
    )
    config = LingBotTransformerConfig(
        network=network,
        dtype=torch.float32,
        checkpoint_path=tmp_path / "lingbot",
        len_t=len_t,
        window_size_t=window,
        sink_size_t=sink,
    )
    error = worst_steered_error(model_of(config), plain, steered)
    print(f"LingBot-World, {CHUNKS} chunks of {len_t}, sink {sink}, window {window}: relative error {error:.1e}")
    assert error <= TOLERANCE


def official_keys(of_diffusers: dict[str, Tensor]) -> dict[str, Tensor]:
    """Under Wan's official names, with the head's rows in the official order."""
    return {key: tensor.clone() for key, tensor in wan_dit_state_dict_transform(of_diffusers).items()}


def worst_steered_error(model: DiffusionModel, plain: Plain, steered: Steered) -> float:
    """As `worst_error` of the other Wan models, each chunk with its camera."""
    cache = model.transformer.initialize_autoregressive_cache(height=HEIGHT, width=WIDTH, text_embeddings=plain.text)
    assert plain.image is not None and plain.given is not None
    generator, worst = torch.Generator().manual_seed(7), 0.0
    for chunk in range(CHUNKS):
        here = slice(chunk * plain.layout.len_t, (chunk + 1) * plain.layout.len_t)
        control = LingBotCtrl(latent=plain.image[:, here], mask=plain.given[:, here], camera=steered.rays[:, here])
        clean, state = model.generate(chunk, cache, control)
        model.finalize(state)
        tokens = model.scheduler.sample(
            torch.randn(state.clean_latent.shape, generator=generator),
            lambda noisy_latent, timestep: patchify(plain.flow(unpatchify(noisy_latent), float(timestep))),
            generator,
        )
        expected = unpatchify(tokens)
        plain.past.append(expected)
        worst = max(worst, relative_error(clean, expected))
    return worst


@torch.no_grad()
def test_the_reference_notices_the_camera(tmp_path: Path) -> None:
    """Otherwise the test above could not fail."""
    reference, layout = theirs(tmp_path), layout_of(1, 0, 3)
    steered, clip = Steered(reference, camera_weights()), noise(1, 1, CHANNELS, HEIGHT, WIDTH)
    flows = []
    for seed in (1, 2):
        steered.rays = noise(1, 1, CAMERA_CHANNELS, HEIGHT, WIDTH, seed=seed)
        flows.append(Plain(lambda t: reference, layout, noise(1, TEXT_LEN, TEXT_DIM)).flow(clip, 500.0))
    assert relative_error(*flows) > 1e-2
