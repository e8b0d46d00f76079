"""The control of an image model: the picture, then grey."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from flashdreams.infra.runtime.state import copy_state
from flashdreams.recipes.wan.autoencoder.i2v import I2VCtrlEncoder, WanI2VCtrlEncoderConfig, blank_frames
from flashdreams.recipes.wan.autoencoder.network import SETTLED_FROM
from flashdreams.recipes.wan.autoencoder.vae import (
    WanVAEEncoder,
    WanVAEEncoderConfig,
)

MEAN, STD = (0.2, -0.1, 0.4), (0.5, 1.0, 2.0)


def tiny(**changes: Any) -> dict[str, Any]:
    """Keywords of a small 2.1 autoencoder."""
    statistics = {"z_dim": 3, "latent_mean": MEAN, "latent_std": STD}
    return {"checkpoint_path": None, "dtype": torch.float32, "base_dim": 4, **statistics, **changes}


def lively(module: Any) -> Any:
    """With larger weights: as they come, random ones give nearly one colour."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("weight"):
                parameter.mul_(1.5)
    return module


@pytest.fixture(scope="module")
def encoder() -> WanVAEEncoder:
    torch.manual_seed(0)
    return lively(WanVAEEncoderConfig(**tiny()).setup())


def video(frames: int, height: int = 16, width: int = 8, batch: tuple[int, ...] = (1,), seed: int = 0) -> Tensor:
    return torch.rand(*batch, frames, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def latents(frames: int, height: int = 2, width: int = 1, batch: tuple[int, ...] = (1,), seed: int = 0) -> Tensor:
    return torch.randn(*batch, frames, 3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def control(encoder: WanVAEEncoder) -> I2VCtrlEncoder:
    module: I2VCtrlEncoder = WanI2VCtrlEncoderConfig(encoder=WanVAEEncoderConfig(**tiny())).setup()
    module.encoder.load_state_dict(encoder.state_dict())
    return module


def shown(control: I2VCtrlEncoder, picture: Tensor, chunk: int, latents: int) -> Tensor:
    """Frames of a chunk of a video that begins with the picture."""
    frames = control.get_input_temporal_size(chunk, latents)
    return blank_frames(picture, frames) if chunk else torch.cat([picture, blank_frames(picture, frames - 1)], -4)


@pytest.mark.parametrize("latent_frames", [1, 3])
def test_control_is_the_picture_then_grey(control: I2VCtrlEncoder, encoder: WanVAEEncoder, latent_frames: int) -> None:
    picture, chunks = video(1, batch=(2,)), 45 // latent_frames
    cache = control.initialize_autoregressive_cache()
    made = [control(shown(control, picture, i, latent_frames), i, cache) for i in range(chunks)]
    grey = torch.zeros(2, (chunks * latent_frames - 1) * 4, 3, 16, 8)
    assert torch.equal(torch.cat([each.latent for each in made], 1), encoder(torch.cat([picture, grey], 1)))
    mask = torch.cat([each.mask for each in made], 1)
    assert mask.shape == (2, chunks * latent_frames, 1, 2, 1)
    assert mask[:, 0].min() == 1 and mask[:, 1:].max() == 0
    assert cache.settled is not None and cache.video.memory is None and cache.blank <= SETTLED_FROM + latent_frames


def test_control_alone_is_one_marked_latent(control: I2VCtrlEncoder, encoder: WanVAEEncoder) -> None:
    alone = control(video(1))
    assert torch.equal(alone.latent, encoder(video(1))) and alone.mask.min() == 1


def test_control_continues_from_a_snapshot(control: I2VCtrlEncoder) -> None:
    picture = video(1, seed=5)
    cache = control.initialize_autoregressive_cache()
    control(shown(control, picture, 0, 7), 0, cache)
    snapshot = copy_state(cache)
    went_on = [control(shown(control, picture, i, 7), i, cache).latent for i in range(1, 7)]
    again = [control(shown(control, picture, i, 7), i, snapshot).latent for i in range(1, 7)]
    assert all(map(torch.equal, went_on, again))


def test_control_refuses_what_is_not_its_picture(control: I2VCtrlEncoder) -> None:
    with pytest.raises(ValueError, match=r"input must be floats \[..., T, 3, H, W\]"):
        control(video(1).int())
    with pytest.raises(ValueError, match=r"takes 1 \+ a multiple of 4 pixel frames, got 2"):
        control(video(2))
    with pytest.raises(ValueError, match="sides that 8 divides, got 20 x 8"):
        control(video(1, height=20))
    for chunks in (1, 6):  # before and after the latents settle
        cache = control.initialize_autoregressive_cache()
        for i in range(chunks):
            control(shown(control, video(1), i, 8), i, cache)
        with pytest.raises(ValueError, match=f"must be {chunks} for this cache, got {chunks + 1}"):
            control(shown(control, video(1), chunks, 8), chunks + 1, cache)
        with pytest.raises(ValueError, match="this rollout"):
            control(shown(control, video(1, height=24), chunks, 8), chunks, cache)
        assert control(shown(control, video(1), chunks, 8), chunks, cache).latent.shape == (1, 8, 3, 2, 1)
    with pytest.raises(ValueError, match="input must be blank_frames"):
        control(video(32), chunks + 1, cache)


def test_frames_that_are_not_blank_are_encoded_however_late(control: I2VCtrlEncoder, encoder: WanVAEEncoder) -> None:
    clip = video(1 + 4 * 20)
    cache, plain = control.initialize_autoregressive_cache(), encoder.initialize_autoregressive_cache()
    for i, frames in enumerate([clip[:, :1], *clip[:, 1:].split(4 * 5, 1)]):
        assert torch.equal(control(frames, i, cache).latent, encoder(frames, i, plain))
    assert (control.spatial_compression_ratio, control.temporal_compression_ratio) == (8, 4)
    assert control.get_output_temporal_size(0, 9) == 3 and control.get_input_temporal_size(1, 3) == 12
