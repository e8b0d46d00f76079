"""Wan's video autoencoders against diffusers' `AutoencoderKLWan`: random weights in fp32, in both layouts of files."""

from __future__ import annotations

import functools
import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from flashdreams.infra.runtime.state import copy_state
from flashdreams.recipes.wan.autoencoder.checkpoints import read_wan_vae_shape, wan22_ti2v_5b_vae_state_dict_transform
from flashdreams.recipes.wan.autoencoder.i2v import I2VCtrlEncoder, WanI2VCtrlEncoderConfig, blank_frames
from flashdreams.recipes.wan.autoencoder.vae import (
    WanVAEDecoder,
    WanVAEDecoderConfig,
    WanVAEEncoder,
    WanVAEEncoderConfig,
)

diffusers = pytest.importorskip("diffusers")

# Largest absolute difference over the largest absolute value.
TOLERANCE = 1e-4
OFFICIAL_NAMES = (
    (r"^quant_conv", "conv1"),
    (r"^post_quant_conv", "conv2"),
    (r"mid_block\.attentions\.0", "middle.1"),
    (r"mid_block\.resnets\.0", "middle.0"),
    (r"mid_block\.resnets\.1", "middle.2"),
    (r"norm_out", "head.0"),
    (r"(?<!\d)\.conv_out", ".head.2"),
    (r"norm1", "residual.0"),
    (r"norm2", "residual.3"),
    (r"(\d)\.conv1", r"\1.residual.2"),
    (r"(\d)\.conv2", r"\1.residual.6"),
    (r"conv_shortcut", "shortcut"),
    (r"conv_in", "conv1"),
)


@dataclass(frozen=True)
class Variant:
    """An autoencoder by its sizes."""

    base_dim: int
    decoder_base_dim: int | None = None
    z_dim: int = 4
    stages: bool = False

    def config(self) -> dict[str, Any]:
        """Keywords of our configs, but for the checkpoint."""
        return {
            "dtype": torch.float32,
            "base_dim": self.base_dim,
            "decoder_base_dim": self.decoder_base_dim,
            "z_dim": self.z_dim,
            "patch_size": 2 if self.stages else 1,
            "is_residual": self.stages,
            "latent_mean": tuple(0.3 * i - 0.4 for i in range(self.z_dim)),
            "latent_std": tuple(0.5 + 0.2 * i for i in range(self.z_dim)),
        }


WAN21 = Variant(base_dim=8)
LIGHT = Variant(base_dim=4, decoder_base_dim=6, z_dim=3)
WAN22 = Variant(base_dim=6, decoder_base_dim=8, z_dim=5, stages=True)
VARIANTS = pytest.mark.parametrize("variant", [WAN21, LIGHT, WAN22], ids=["2.1", "2.1 narrow", "2.2"])


@functools.cache
def reference(variant: Variant) -> Any:
    """Diffusers' autoencoder, with random weights that let every layer count."""
    torch.manual_seed(variant.base_dim)
    patched = {"in_channels": 12, "out_channels": 12, "patch_size": 2, "scale_factor_spatial": 16}
    model = diffusers.AutoencoderKLWan(
        base_dim=variant.base_dim,
        decoder_base_dim=variant.decoder_base_dim,
        z_dim=variant.z_dim,
        is_residual=variant.stages,
        **(patched if variant.stages else {}),
    ).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("gamma"):
                parameter.copy_(1 + 0.2 * torch.randn_like(parameter))
            elif name.endswith("bias"):
                parameter.copy_(0.1 * torch.randn_like(parameter))
            else:
                parameter.mul_(1.5)
        model.decoder.conv_out.weight.mul_(0.7)
    return model


def official_name(key: str, stages: bool) -> str:
    """The official key of diffusers' `key`, by the rules that the published files follow."""
    match = re.match(r"decoder\.up_blocks\.(\d)\.(resnets\.(\d)|upsamplers\.0|upsampler)", key)
    if match:
        stage, layer = int(match[1]), 3 if match[3] is None else int(match[3])
        new = f"decoder.upsamples.{stage}.upsamples.{layer}" if stages else f"decoder.upsamples.{4 * stage + layer}"
        key = new + key[match.end() :]
    key = re.sub(r"^encoder\.down_blocks\.(\d)\.resnets", r"encoder.downsamples.\1.downsamples", key)
    key = re.sub(r"^encoder\.down_blocks\.(\d)\.downsampler", r"encoder.downsamples.\1.downsamples.2", key)
    key = key.replace("encoder.down_blocks", "encoder.downsamples")
    for old, new in OFFICIAL_NAMES:
        key = re.sub(old, new, key)
    return key


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vae")


@functools.cache
def ours(variant: Variant, folder: Path, layout: str = "official") -> tuple[WanVAEEncoder, WanVAEDecoder]:
    """Our two halves with the weights of the reference, through a file of the given layout."""
    tensors = {key: tensor.clone() for key, tensor in reference(variant).state_dict().items()}
    (folder := folder / f"{layout} {variant.base_dim}").mkdir(exist_ok=True)
    if layout == "diffusers":
        path = folder / "any name.safetensors"
        save_file(tensors, path)
    else:
        path = folder / "any name.pth"
        torch.save({official_name(key, variant.stages): tensor for key, tensor in tensors.items()}, path)
    encoder: WanVAEEncoder = WanVAEEncoderConfig(checkpoint_path=path, **variant.config()).setup()
    decoder: WanVAEDecoder = WanVAEDecoderConfig(checkpoint_path=path, **variant.config()).setup()
    return encoder, decoder


def statistics(variant: Variant) -> tuple[Tensor, Tensor]:
    config = variant.config()
    return tuple(torch.tensor(config[name]).view(-1, 1, 1) for name in ("latent_mean", "latent_std"))  # type: ignore


@functools.cache
def expected_latent(variant: Variant, video: Tensor) -> Tensor:
    """Normalised latents `[B, T, C, h, w]` of `video [B, T, 3, H, W]`, by the reference."""
    mean, std = statistics(variant)
    with torch.no_grad():
        return (reference(variant).encode(video.transpose(1, 2)).latent_dist.mode().transpose(1, 2) - mean) / std


@functools.cache
def expected_video(variant: Variant, latent: Tensor) -> Tensor:
    mean, std = statistics(variant)
    with torch.no_grad():
        return reference(variant).decode((latent * std + mean).transpose(1, 2)).sample.transpose(1, 2)


@functools.cache
def clip(frames: int, height: int, width: int, batch: int = 1, seed: int = 0) -> Tensor:
    return torch.rand(batch, frames, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@functools.cache
def noise(variant: Variant, frames: int, height: int, width: int, batch: int = 1, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, frames, variant.z_dim, height, width, generator=generator)


def relative_error(got: Tensor, expected: Tensor) -> float:
    assert got.shape == expected.shape
    return ((got - expected).abs().max() / expected.abs().max()).item()


def check(what: str, got: Tensor, expected: Tensor) -> None:
    error = relative_error(got, expected)
    print(f"{what}: relative error {error:.1e}, spread of the values {expected.std():.2f}")
    assert expected.std() > 0.2
    assert error <= TOLERANCE


def chunked(module: Any, clip: Tensor, sizes: list[int], cache: Any, first: int = 0) -> list[Tensor]:
    return [module(chunk, first + i, cache) for i, chunk in enumerate(clip.split(sizes, dim=1))]


@functools.cache
def one_pass(half: WanVAEEncoder | WanVAEDecoder, whole: Tensor) -> Tensor:
    """Return the result of a half on a whole clip at once."""
    made: Tensor = half(whole)
    return made


@VARIANTS
@pytest.mark.parametrize("layout", ["official", "diffusers"])
def test_encode_equals_diffusers(variant: Variant, layout: str, folder: Path) -> None:
    encoder, _ = ours(variant, folder, layout)
    for frames, height, width, batch in ((1, 32, 16, 1), (5, 16, 32, 2), (13, 32, 48, 1)):
        video = clip(frames, height, width, batch)
        what = f"encode, {layout}, {batch} of {frames} frames at {height} x {width}"
        check(what, encoder(video), expected_latent(variant, video))


@VARIANTS
@pytest.mark.parametrize("layout", ["official", "diffusers"])
def test_decode_equals_diffusers(variant: Variant, layout: str, folder: Path) -> None:
    _, decoder = ours(variant, folder, layout)
    for frames, height, width, batch in ((1, 2, 3, 1), (2, 3, 1, 2), (4, 2, 2, 1)):
        latent = noise(variant, frames, height, width, batch)
        what = f"decode, {layout}, {batch} of {frames} latents at {height} x {width}"
        check(what, decoder(latent), expected_video(variant, latent))


@VARIANTS
@pytest.mark.parametrize("sizes", [[1] * 5, [3, 2], [1, 3, 1], [4, 1]])
def test_any_chunking_equals_diffusers_one_pass(variant: Variant, sizes: list[int], folder: Path) -> None:
    encoder, decoder = ours(variant, folder)
    latent, video = noise(variant, 5, 2, 1, seed=1), clip(17, 32, 16, seed=1)
    frames = [encoder.get_input_temporal_size(i, size) for i, size in enumerate(sizes)]
    latents = chunked(encoder, video, frames, encoder.initialize_autoregressive_cache())
    pictures = chunked(decoder, latent, sizes, decoder.initialize_autoregressive_cache())
    assert [each.shape[1] for each in latents] == sizes and [each.shape[1] for each in pictures] == frames
    check(f"encode in chunks of {sizes} latents", torch.cat(latents, 1), expected_latent(variant, video))
    check(f"decode in chunks of {sizes} latents", torch.cat(pictures, 1), expected_video(variant, latent))
    assert torch.equal(torch.cat(latents, 1), one_pass(encoder, video))
    assert torch.equal(torch.cat(pictures, 1), one_pass(decoder, latent))


@VARIANTS
def test_interleaved_rollouts_are_bit_identical_to_rollouts_alone(variant: Variant, folder: Path) -> None:
    encoder, decoder = ours(variant, folder)
    latents = [noise(variant, 4, 2, 1, seed=1), noise(variant, 4, 1, 3, seed=2), noise(variant, 4, 2, 1, 2, seed=3)]
    videos = [clip(13, 16, 16, seed=1), clip(13, 32, 16, seed=2), clip(13, 16, 16, 2, seed=3)]
    for module, clips, sizes in ((decoder, latents, [1, 2, 1]), (encoder, videos, [1, 8, 4])):
        alone = [chunked(module, each, sizes, module.initialize_autoregressive_cache()) for each in clips]
        caches = [module.initialize_autoregressive_cache() for _ in clips]
        chunks = [each.split(sizes, 1) for each in clips]
        for i in range(3):
            for rollout in (2, 0, 1):
                assert torch.equal(module(chunks[rollout][i], i, caches[rollout]), alone[rollout][i])
    check("encode, interleaved with two others", torch.cat(alone[1], 1), expected_latent(variant, videos[1]))


@VARIANTS
def test_continuation_from_a_snapshot_is_bit_identical(variant: Variant, folder: Path) -> None:
    encoder, decoder = ours(variant, folder)
    for module, whole, sizes in (
        (decoder, noise(variant, 5, 2, 1, seed=4), [1, 2, 1, 1]),
        (encoder, clip(17, 16, 16, seed=4), [5, 4, 4, 4]),
    ):
        cache, chunks = module.initialize_autoregressive_cache(), whole.split(sizes, 1)
        for i in range(2):
            module(chunks[i], i, cache)
        snapshot = copy_state(cache)
        went_on = [module(chunks[i], i, cache) for i in (2, 3)]
        branch, again = copy_state(snapshot), copy_state(snapshot)
        other = module(-chunks[2], 2, branch)
        restored = [module(chunks[i], i, again) for i in (2, 3)]
        assert all(map(torch.equal, went_on, restored)) and not torch.equal(other, went_on[0])
        expected = expected_video(variant, whole) if module is decoder else expected_latent(variant, whole)
        after = torch.cat(restored, 1)
        check(f"{type(module).__name__} after a snapshot", after, expected[:, -after.shape[1] :])


def test_image_control_equals_diffusers_on_the_picture_and_grey(folder: Path) -> None:
    encoder, _ = ours(LIGHT, folder)
    control: I2VCtrlEncoder = WanI2VCtrlEncoderConfig(encoder=encoder.config).setup()
    picture, grey = clip(1, 16, 16, batch=2, seed=6), torch.zeros(2, 4 * 35, 3, 16, 16)
    cache = control.initialize_autoregressive_cache()
    frames = [torch.cat([picture, blank_frames(picture, 8)], 1), *(blank_frames(picture, 12) for _ in range(11))]
    chunks = [control(each, i, cache).latent for i, each in enumerate(frames)]
    expected = expected_latent(LIGHT, torch.cat([picture, grey], 1))
    check("image control, 12 chunks of 3 latents", torch.cat(chunks, 1), expected)


def test_statistics_of_wan_21_are_diffusers() -> None:
    defaults = inspect.signature(diffusers.AutoencoderKLWan.__init__).parameters
    for ours_, theirs in (("latent_mean", "latents_mean"), ("latent_std", "latents_std")):
        assert getattr(WanVAEEncoderConfig(), ours_) == tuple(defaults[theirs].default)


PUBLISHED = (Variant(96, z_dim=16), Variant(160, 256, 48, stages=True))


@pytest.mark.parametrize("variant", PUBLISHED, ids=["Wan2.1_VAE.pth", "Wan2.2_VAE.pth"])
def test_published_files_have_our_keys_and_shapes(variant: Variant) -> None:
    with torch.device("meta"):
        patched = {"in_channels": 12, "out_channels": 12, "patch_size": 2} if variant.stages else {}
        model = diffusers.AutoencoderKLWan(
            base_dim=variant.base_dim,
            decoder_base_dim=variant.decoder_base_dim,
            z_dim=variant.z_dim,
            is_residual=variant.stages,
            **patched,
        )
        kinds = (WanVAEEncoderConfig, WanVAEDecoderConfig)
        halves = [kind(checkpoint_path=None, **variant.config()).setup().state_dict() for kind in kinds]
    theirs = {key: tensor.shape for key, tensor in model.state_dict().items()}
    mine = {key: tensor.shape for half in halves for key, tensor in half.items()}
    assert mine == {official_name(key, variant.stages): shape for key, shape in theirs.items()}
    assert len(mine) == (196 if variant.stages else 194)
    transformed = wan22_ti2v_5b_vae_state_dict_transform(model.state_dict())
    assert {key: tensor.shape for key, tensor in transformed.items()} == mine
    assert read_wan_vae_shape(model.state_dict()) == read_wan_vae_shape(transformed)
    print(f"{len(mine)} keys, {sum(shape.numel() for shape in mine.values()) / 1e6:.1f} M parameters")
