"""Wan's streaming autoencoders and the image control: sizes, files, configs, and what they refuse."""

from __future__ import annotations

import copy
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from flashdreams.core.checkpoint.load import SafetensorsFiles
from flashdreams.recipes.wan.autoencoder.checkpoints import (
    AVAILABLE_WAN_VAE_CHECKPOINT_PATHS,
    WanVAEShape,
    read_wan_vae_shape,
    wan22_ti2v_5b_vae_state_dict_transform,
)
from flashdreams.recipes.wan.autoencoder.i2v import WanI2VCtrlEncoderConfig
from flashdreams.recipes.wan.autoencoder.vae import (
    CausalConv3d,
    Resample,
    ResidualBlock,
    Wan22TI2V5BVAEDecoderConfig,
    Wan22TI2V5BVAEEncoderConfig,
    WanVAE,
    WanVAEDecoder,
    WanVAEDecoderConfig,
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


@pytest.fixture(scope="module")
def decoder() -> WanVAEDecoder:
    torch.manual_seed(1)
    return lively(WanVAEDecoderConfig(**tiny()).setup())


@pytest.fixture(scope="module")
def published(encoder: WanVAEEncoder, decoder: WanVAEDecoder) -> dict[str, Tensor]:
    """A whole file's tensors, by the official keys."""
    return {**encoder.state_dict(), **decoder.state_dict()}


def video(frames: int, height: int = 16, width: int = 8, batch: tuple[int, ...] = (1,), seed: int = 0) -> Tensor:
    return torch.rand(*batch, frames, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def latents(frames: int, height: int = 2, width: int = 1, batch: tuple[int, ...] = (1,), seed: int = 0) -> Tensor:
    return torch.randn(*batch, frames, 3, height, width, generator=torch.Generator().manual_seed(seed))


def saved(tensors: dict[str, Tensor], folder: Path, name: str = "some.pth") -> Path:
    torch.save(tensors, folder / name)
    return folder / name


def test_first_latent_is_one_frame_and_later_ones_four(encoder: WanVAEEncoder, decoder: WanVAEDecoder) -> None:
    reading, showing = encoder.initialize_autoregressive_cache(), decoder.initialize_autoregressive_cache()
    assert encoder(video(1), 0, reading).shape == (1, 1, 3, 2, 1)
    assert encoder(video(8), 1, reading).shape == (1, 2, 3, 2, 1)
    assert decoder(latents(1), 0, showing).shape == (1, 1, 3, 16, 8)
    assert decoder(latents(2), 1, showing).shape == (1, 8, 3, 16, 8)
    for half in (encoder, decoder):
        assert (half.spatial_compression_ratio, half.temporal_compression_ratio) == (8, 4)
    assert [encoder.get_output_temporal_size(i, frames) for i, frames in ((0, 9), (1, 12))] == [3, 3]
    assert [encoder.get_input_temporal_size(i, 3) for i in (0, 1)] == [9, 12]
    assert [decoder.get_output_temporal_size(i, 3) for i in (0, 1)] == [9, 12]
    assert [decoder.get_input_temporal_size(i, frames) for i, frames in ((0, 9), (1, 12))] == [3, 3]


def test_patches_double_the_compression_in_space() -> None:
    sizes = tiny(patch_size=2, is_residual=True)
    assert WanVAEEncoderConfig(**sizes).setup()(video(5, 32, 16)).shape == (1, 2, 3, 2, 1)
    decoder = WanVAEDecoderConfig(**sizes).setup()
    assert decoder(latents(2)).shape == (1, 5, 3, 32, 16) and decoder.spatial_compression_ratio == 16


def test_memory_of_a_session_does_not_grow(encoder: WanVAEEncoder, decoder: WanVAEDecoder) -> None:
    for half, clip, sizes in ((encoder, video(25), [1, 8, 16]), (decoder, latents(7), [1, 2, 4])):
        cache, bytes_ = half.initialize_autoregressive_cache(), []
        assert cache.nbytes == 0
        for i, chunk in enumerate(clip.split(sizes, 1)):
            half(chunk, i, cache)
            bytes_.append(cache.nbytes)
        assert len(set(bytes_)) == 1 and bytes_[0] > 0


def test_batch_dims_are_rollouts_of_their_own(encoder: WanVAEEncoder, decoder: WanVAEDecoder) -> None:
    for half, clip in ((encoder, video(5, batch=(2, 2))), (decoder, latents(2, batch=(2, 2)))):
        together = half(clip)
        assert together.shape[:2] == (2, 2)
        for i in range(2):
            for j in range(2):
                torch.testing.assert_close(half(clip[i, j]), together[i, j], rtol=0, atol=1e-5)


def test_values_are_normalised_and_pixels_clamped(encoder: WanVAEEncoder, decoder: WanVAEDecoder) -> None:
    plain = WanVAEEncoderConfig(**tiny(latent_mean=(0.0,) * 3, latent_std=(1.0,) * 3)).setup()
    plain.load_state_dict(encoder.state_dict())
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (MEAN, STD))
    torch.testing.assert_close(encoder(video(5)) * std + mean, plain(video(5)))
    pixels = decoder(100 * latents(2))
    assert pixels.min() == -1 and pixels.max() == 1


def test_statistics_stay_exact_when_the_weights_are_bfloat16(encoder: WanVAEEncoder) -> None:
    rounded = WanVAEEncoderConfig(**tiny(dtype=torch.bfloat16)).setup()
    rounded.load_state_dict(encoder.state_dict())
    assert rounded.latent_mean.dtype == torch.float32
    latent, exact = rounded(video(5)), encoder(video(5))
    assert latent.dtype == torch.bfloat16
    assert (latent.float() - exact).abs().mean() < 0.05 * exact.std()


@pytest.mark.parametrize("prefix", ["", "vae.", "first_stage_model."])
def test_a_file_is_known_by_its_keys(published: dict[str, Tensor], prefix: str, tmp_path: Path) -> None:
    beside = {"text_encoder.weight": torch.zeros(1)} if prefix else {}
    tensors = {prefix + key: tensor.clone() for key, tensor in published.items()} | beside
    save_file(tensors, tmp_path / "x.safetensors")
    loaded = WanVAEDecoderConfig(**tiny(checkpoint_path=tmp_path / "x.safetensors")).setup()
    assert all(torch.equal(tensor, published[key]) for key, tensor in loaded.state_dict().items())


def test_no_more_than_one_tensor_of_a_file_is_held(
    published: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file(published, tmp_path / "x.safetensors")
    read: list[weakref.ref[Tensor]] = []
    held: list[int] = []
    getitem = SafetensorsFiles.__getitem__

    def counted(self: SafetensorsFiles, key: str) -> Tensor:
        held.append(sum(each() is not None for each in read))
        tensor = getitem(self, key)
        read.append(weakref.ref(tensor))
        return tensor

    monkeypatch.setattr(SafetensorsFiles, "__getitem__", counted)
    decoder = WanVAEDecoderConfig(**tiny(checkpoint_path=tmp_path / "x.safetensors")).setup()
    assert len(read) == len(decoder.state_dict()) and max(held) <= 1


def test_a_nested_pickle_loads_in_the_configs_dtype(published: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save({"model": published}, path)
    loaded = WanVAEEncoderConfig(**tiny(checkpoint_path=path, dtype=torch.bfloat16)).setup()
    for key, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, published[key].to(torch.bfloat16))


def test_a_file_of_one_half_is_enough_for_it(decoder: WanVAEDecoder, tmp_path: Path) -> None:
    path = saved(decoder.state_dict(), tmp_path)
    loaded = WanVAEDecoderConfig(**tiny(checkpoint_path=path)).setup()
    assert torch.equal(loaded(latents(2)), decoder(latents(2)))
    with pytest.raises(ValueError, match=r"some\.pth does not fit: it holds no encoder, only the other half"):
        WanVAEEncoderConfig(**tiny(checkpoint_path=path)).setup()


def test_what_does_not_fit_is_listed(published: dict[str, Tensor], tmp_path: Path) -> None:
    wrong = dict(published)
    del wrong["decoder.middle.1.proj.bias"], wrong["decoder.upsamples.3.time_conv.weight"]
    wrong["decoder.head.0.gamma"] = torch.zeros(5, 1, 1, 1)
    wrong["decoder.upsamples.99.gamma"] = wrong["something.else"] = torch.zeros(1)
    with pytest.raises(ValueError) as caught:
        WanVAEDecoderConfig(**tiny(checkpoint_path=saved(wrong, tmp_path))).setup()
    message = str(caught.value)
    assert "2 missing: decoder.middle.1.proj.bias, decoder.upsamples.3.time_conv.weight" in message
    assert "2 unexpected: decoder.upsamples.99.gamma, something.else" in message
    assert "1 of another shape: decoder.head.0.gamma (has [5, 1, 1, 1], needs [4, 1, 1, 1])" in message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_dim": 8}, "it has base_dim 4, the config says base_dim 8"),
        ({"patch_size": 2}, "it has patch_size 1, the config says patch_size 2"),
        ({"is_residual": True}, "it has is_residual False, the config says is_residual True"),
        (
            {"z_dim": 4, "base_dim": 5, "latent_mean": (0.0,) * 4, "latent_std": (1.0,) * 4},
            "it has z_dim 3, base_dim 4, the config says z_dim 4, base_dim 5",
        ),
    ],
)
def test_another_autoencoder_is_told_in_one_sentence(
    published: dict[str, Tensor], changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        WanVAEEncoderConfig(**tiny(checkpoint_path=saved(published, tmp_path), **changes)).setup()


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = saved({"encoder.0.weight": torch.zeros(1), "decoder.1.bias": torch.zeros(1)}, tmp_path)
    message = r"some\.pth does not fit: no autoencoder of Wan's .* it holds encoder\.0\.weight, decoder\.1\.bias"
    with pytest.raises(ValueError, match=message):
        WanVAEDecoderConfig(**tiny(checkpoint_path=path)).setup()
    with pytest.raises(ValueError, match="it holds nothing"):
        wan22_ti2v_5b_vae_state_dict_transform({})
    with pytest.raises(ValueError, match="it is cut short"):
        read_wan_vae_shape({"decoder.conv1.weight": torch.zeros(1)})
    with pytest.raises(FileNotFoundError, match="there is no checkpoint at"):
        WanVAEDecoderConfig(**tiny(checkpoint_path=tmp_path / "none.pth")).setup()


def test_shape_is_read_from_the_tensors(published: dict[str, Tensor], decoder: WanVAEDecoder) -> None:
    sizes = {"is_residual": False, "z_dim": 3, "patch_size": 1, "decoder_base_dim": 4}
    assert read_wan_vae_shape(published) == WanVAEShape(base_dim=4, **sizes)
    assert read_wan_vae_shape(decoder.state_dict()) == WanVAEShape(base_dim=None, **sizes)


def test_transform_of_the_config_comes_first(published: dict[str, Tensor], tmp_path: Path) -> None:
    path = saved({f"odd/{key}": tensor for key, tensor in published.items()}, tmp_path)

    def mend(tensors: Any) -> dict[str, Tensor]:
        return {key.removeprefix("odd/"): tensors[key] for key in tensors}

    loaded = WanVAEDecoderConfig(**tiny(checkpoint_path=path, state_dict_transform=mend)).setup()
    assert torch.equal(loaded.state_dict()["conv2.bias"], published["conv2.bias"])


def test_presets_have_the_published_sizes() -> None:
    for config in (Wan22TI2V5BVAEEncoderConfig(), Wan22TI2V5BVAEDecoderConfig()):
        assert (config.base_dim, config.z_dim, config.patch_size, config.is_residual) == (160, 48, 2, True)
        assert config.state_dict_transform is wan22_ti2v_5b_vae_state_dict_transform
        assert (config.latent_mean[0], config.latent_std[-1]) == (-0.2289, 0.7744)
    assert Wan22TI2V5BVAEDecoderConfig().decoder_width == 256 and WanVAEDecoderConfig().decoder_width == 96
    assert WanVAEEncoderConfig(checkpoint_path=AVAILABLE_WAN_VAE_CHECKPOINT_PATHS["lightvae"]).base_dim == 24
    for wan21 in (WanVAEEncoderConfig(), WanVAEDecoderConfig()):
        assert (wan21.base_dim, wan21.z_dim, wan21.patch_size) == (96, 16, 1)
        assert (wan21.dtype, wan21.use_cuda_graph, wan21.use_compile) == (torch.bfloat16, True, False)
        assert (wan21.latent_mean[0], wan21.latent_std[-1]) == (-0.7571, 1.916)


def test_configs_survive_json() -> None:
    for config in (WanVAEEncoderConfig(**tiny()), Wan22TI2V5BVAEDecoderConfig()):
        assert type(config).from_dict(config.to_dict()) == config
    control = WanI2VCtrlEncoderConfig(encoder=WanVAEEncoderConfig(base_dim=24))
    assert WanI2VCtrlEncoderConfig.from_dict(control.to_dict()) == control


def test_impossible_configs_are_refused() -> None:
    with pytest.raises(ValueError, match="base_dim, z_dim, patch_size and decoder_base_dim must be at least 1"):
        WanVAEEncoderConfig(base_dim=0)
    with pytest.raises(ValueError, match=r"\(z_dim 48\), the deviations above 0; got 16 and 16"):
        WanVAEDecoderConfig(z_dim=48)
    with pytest.raises(ValueError, match="the deviations above 0"):
        WanVAEDecoderConfig(**tiny(latent_std=(1.0, 0.0, 1.0)))
    with pytest.raises(TypeError, match="WanVAEDecoder takes no rollout context, got height"):
        WanVAEDecoderConfig(**tiny()).setup().initialize_autoregressive_cache(height=2)


@pytest.mark.parametrize(
    ("chunk", "index", "message"),
    [
        (video(4)[:, :, :2], 1, r"video must be floats \[..., T, 3, H, W\], got torch.float32 \[1, 4, 2, 16, 8\]"),
        (video(4).byte(), 1, "video must be floats"),
        (video(4)[0, 0], 1, "video must be floats"),
        (video(3), 1, "AR step 1 takes a multiple of 4 pixel frames, got 3"),
        (video(5), 1, "AR step 1 takes a multiple of 4 pixel frames, got 5"),
        (video(4)[:, :0], 1, "AR step 1 takes a multiple of 4 pixel frames, got 0"),
        (video(4), 0, "autoregressive_index must be 1 for this cache, got 0"),
        (video(4), 2, "autoregressive_index must be 1 for this cache, got 2"),
        (video(4, height=24), 1, "this rollout takes video with a batch of 1 and 16 x 8 positions"),
        (video(4, batch=(2,)), 1, "this rollout takes video with a batch of 1 and 16 x 8 positions"),
    ],
)
def test_refused_video_leaves_the_rollout_as_it_was(
    encoder: WanVAEEncoder, chunk: Tensor, index: int, message: str
) -> None:
    cache = encoder.initialize_autoregressive_cache()
    encoder(video(1), 0, cache)
    expected = encoder(video(4), 1, copy.deepcopy(cache))
    with pytest.raises(ValueError, match=message):
        encoder(chunk, index, cache)
    assert torch.equal(encoder(video(4), 1, cache), expected)


@pytest.mark.parametrize(("height", "width"), [(12, 8), (16, 9), (0, 8)])
def test_sides_that_are_not_whole_latents_are_refused(encoder: WanVAEEncoder, height: int, width: int) -> None:
    with pytest.raises(ValueError, match=f"video must have sides that 8 divides, got {height} x {width}"):
        encoder(video(1, height, width))


@pytest.mark.parametrize(
    ("chunk", "index", "message"),
    [
        (latents(1)[:, :, :2], 1, r"latents must be floats \[..., T, 3, H, W\]"),
        (latents(1).long(), 1, "latents must be floats"),
        (latents(1)[:, :0], 1, "at least 1 latent frame, got 0"),
        (latents(1), 3, "autoregressive_index must be 1 for this cache, got 3"),
        (latents(1, height=3), 1, "this rollout takes latents with a batch of 1 and 2 x 1 positions"),
    ],
)
def test_refused_latents_leave_the_rollout_as_it_was(
    decoder: WanVAEDecoder, chunk: Tensor, index: int, message: str
) -> None:
    cache = decoder.initialize_autoregressive_cache()
    decoder(latents(1), 0, cache)
    expected = decoder(latents(1), 1, copy.deepcopy(cache))
    with pytest.raises(ValueError, match=message):
        decoder(chunk, index, cache)
    assert torch.equal(decoder(latents(1), 1, cache), expected)


def test_both_halves_in_one_module_stream_like_the_halves(
    encoder: WanVAEEncoder, decoder: WanVAEDecoder, published: dict[str, Tensor], tmp_path: Path
) -> None:
    path, clip = saved(published, tmp_path), video(13)
    whole = WanVAE(str(path), base_dim=4, z_dim=3, latent_mean=MEAN, latent_std=STD)
    cache = whole.prepare_cache()
    latent = torch.cat([whole.encode(frames, cache) for frames in clip.split([5, 8], 1)], 1)
    shown = torch.cat([whole.decode(each, cache) for each in latent.split([1, 3], 1)], 1)
    sizes = {"checkpoint_path": path}
    halves = [kind(**tiny(**sizes)).setup() for kind in (WanVAEEncoderConfig, WanVAEDecoderConfig)]
    assert torch.equal(latent, halves[0](clip)) and torch.equal(shown, halves[1](latent))
    assert (whole.spatial_compression_ratio, whole.temporal_compression_ratio, whole.z_dim) == (8, 4, 3)
    with pytest.raises(RuntimeError, match="enable_decoder"):
        WanVAE(str(path), base_dim=4, z_dim=3, latent_mean=MEAN, latent_std=STD, enable_decoder=False).decode(
            latent, whole.prepare_cache()
        )


def test_layers_alone_keep_their_own_state() -> None:
    torch.manual_seed(0)
    block, x = ResidualBlock(4, 6), torch.randn(1, 4, 5, 3, 2)
    state: dict[int, Tensor] = {}
    parts = [block(frames, state) for frames in x.split([1, 4], 2)]
    assert torch.allclose(torch.cat(parts, 2), block(x, {}), atol=1e-6)
    conv = CausalConv3d(4, 4, 3, padding=1)
    assert torch.allclose(conv(x[:, :, 2:], x[:, :, :2]), conv(x)[:, :, 2:], atol=1e-6)
    with pytest.raises(ValueError, match="mode must be"):
        Resample(4, "upsample4d")


@pytest.mark.gpu
@pytest.mark.parametrize("compiled", [False, True])
def test_graph_replays_equal_plain_calls(decoder: WanVAEDecoder, encoder: WanVAEEncoder, compiled: bool) -> None:
    for half, config, clips in (
        (decoder, WanVAEDecoderConfig, [latents(8, seed=1), latents(8, 3, 2, seed=2)]),
        (encoder, WanVAEEncoderConfig, [video(29, seed=1), video(29, 24, 16, seed=2)]),
    ):
        on_gpu: Any = config(**tiny(use_compile=compiled)).setup().cuda()
        on_gpu.load_state_dict(half.state_dict())
        caches = [on_gpu.initialize_autoregressive_cache() for _ in clips]
        sizes = [on_gpu.get_input_temporal_size(i, 1) if half is encoder else 1 for i in range(8)]
        made: list[list[Tensor]] = [[], []]
        for i in range(8):
            for clip, cache, results in zip(clips, caches, made, strict=True):
                results.append(on_gpu(clip.split(sizes, 1)[i].cuda(), i, cache))
        for clip, results in zip(clips, made, strict=True):
            torch.testing.assert_close(torch.cat(results, 1).cpu(), half(clip), rtol=0, atol=2e-2)
