"""The streaming tiny decoder: chunking, rollouts side by side, snapshots, loading, and what it refuses."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from flashdreams.infra.runtime.state import copy_state
from flashdreams.recipes.taehv import (
    AVAILABLE_TAEHV_CHECKPOINT_PATHS,
    TAEHVCache,
    TAEHVDecoderConfig,
    TeahvVAEDecoder,
    TeahvVAEDecoderConfig,
)


def tiny_config(**changes: object) -> TeahvVAEDecoderConfig:
    sizes = {"checkpoint_path": None, "dtype": torch.float32, "latent_channels": 4, "widths": (8, 8, 6, 6)}
    return TeahvVAEDecoderConfig(**(sizes | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def decoder() -> TeahvVAEDecoder:
    torch.manual_seed(0)
    decoder: TeahvVAEDecoder = tiny_config().setup()
    with torch.no_grad():  # Random weights as they come give nearly one colour: a lively video sees more faults.
        for parameter in decoder.parameters():
            parameter.mul_(1.7)
        decoder.decoder[-1].bias.fill_(0.5)
    return decoder


def latents(frames: int, seed: int = 0, batch: tuple[int, ...] = (1,), height: int = 3, width: int = 2) -> Tensor:
    return torch.randn(*batch, frames, 4, height, width, generator=torch.Generator().manual_seed(seed))


def stream(decoder: TeahvVAEDecoder, clip: Tensor, sizes: list[int], cache: TAEHVCache, first: int = 0) -> list[Tensor]:
    return [decoder(chunk, first + i, cache) for i, chunk in enumerate(clip.split(sizes, dim=-4))]


@pytest.mark.parametrize("sizes", [[1] * 6, [3, 3], [1, 5], [2, 1, 3], [5, 1]])
def test_streaming_decode_equals_one_shot(decoder: TeahvVAEDecoder, sizes: list[int]) -> None:
    clip = latents(6)
    whole = decoder(clip)
    chunks = stream(decoder, clip, sizes, decoder.initialize_autoregressive_cache())
    assert [chunk.shape[-4] for chunk in chunks] == [4 * size - 3 * (i == 0) for i, size in enumerate(sizes)]
    assert whole.std() > 0.2
    torch.testing.assert_close(torch.cat(chunks, -4), whole, rtol=0, atol=1e-5)


def test_first_latent_is_one_frame_and_later_ones_four(decoder: TeahvVAEDecoder) -> None:
    cache = decoder.initialize_autoregressive_cache()
    assert decoder(latents(1), 0, cache).shape == (1, 1, 3, 24, 16)
    assert decoder(latents(1), 1, cache).shape == (1, 4, 3, 24, 16)
    assert (decoder.spatial_compression_ratio, decoder.temporal_compression_ratio) == (8, 4)
    assert [decoder.get_output_temporal_size(i, 3) for i in (0, 1)] == [9, 12]
    assert [decoder.get_input_temporal_size(i, frames) for i, frames in ((0, 9), (1, 12))] == [3, 3]
    with pytest.raises(ValueError, match="takes a multiple of 4 pixel frames, got 9"):
        decoder.get_input_temporal_size(1, 9)


def test_every_chunk_depends_on_the_one_before(decoder: TeahvVAEDecoder) -> None:
    one, other = latents(2, seed=1), latents(2, seed=1)
    other[:, 0] += 1
    assert not torch.allclose(decoder(one)[:, 1:2], decoder(other)[:, 1:2], atol=1e-3)


def test_batch_dims_are_rollouts_of_their_own(decoder: TeahvVAEDecoder) -> None:
    clip = latents(3, batch=(2, 3))
    together = decoder(clip)
    assert together.shape == (2, 3, 9, 3, 24, 16)
    for i in range(2):
        for j in range(3):
            torch.testing.assert_close(decoder(clip[i, j]), together[i, j], rtol=0, atol=1e-5)


def test_interleaved_rollouts_are_bit_identical_to_rollouts_alone(decoder: TeahvVAEDecoder) -> None:
    clips = [latents(4, seed=1), latents(4, seed=2, height=2, width=5), latents(4, seed=3, batch=(2,))]
    alone = [stream(decoder, clip, [1, 2, 1], decoder.initialize_autoregressive_cache()) for clip in clips]
    caches = [decoder.initialize_autoregressive_cache() for _ in clips]
    for i, chunk in enumerate((slice(0, 1), slice(1, 3), slice(3, 4))):
        for clip, cache, expected in zip(clips, caches, alone, strict=True):
            assert torch.equal(decoder(clip[:, chunk], i, cache), expected[i])


@pytest.mark.parametrize("copier", [copy_state, copy.deepcopy])
def test_continuation_from_a_snapshot_is_bit_identical(decoder: TeahvVAEDecoder, copier: object) -> None:
    assert callable(copier)
    clip, cache = latents(5), decoder.initialize_autoregressive_cache()
    stream(decoder, clip[:, :2], [1, 1], cache)
    snapshot = copier(cache)
    went_on = stream(decoder, clip[:, 2:], [1, 2], cache, first=2)
    branch = stream(decoder, -clip[:, 2:], [1, 2], copier(snapshot), first=2)
    again = stream(decoder, clip[:, 2:], [1, 2], copier(snapshot), first=2)
    assert all(map(torch.equal, went_on, again))
    assert not torch.equal(branch[0], went_on[0])


def test_state_dict_has_the_published_keys_at_the_published_sizes() -> None:
    with torch.device("meta"):
        decoder = TeahvVAEDecoderConfig(checkpoint_path=None).setup()
    shapes = {key: tuple(tensor.shape) for key, tensor in decoder.state_dict().items()}
    blocks = [*range(3, 6), *range(9, 12), *range(15, 18)]
    keys = {f"decoder.{i}.conv.{j}.{part}" for i in blocks for j in (0, 2, 4) for part in ("weight", "bias")}
    keys |= {f"decoder.{i}.conv.weight" for i in (7, 13, 19)} | {f"decoder.{i}.weight" for i in (8, 14, 20)}
    keys |= {f"decoder.{i}.{part}" for i in (1, 22) for part in ("weight", "bias")}
    assert set(shapes) == keys
    assert shapes["decoder.3.conv.0.weight"] == (256, 512, 3, 3)
    assert shapes["decoder.7.conv.weight"] == (256, 256, 1, 1)
    assert shapes["decoder.13.conv.weight"] == (256, 128, 1, 1)
    assert shapes["decoder.19.conv.weight"] == (128, 64, 1, 1)
    assert shapes["decoder.22.weight"] == (3, 64, 3, 3)


def test_weights_come_from_the_checkpoint_in_the_configs_dtype(decoder: TeahvVAEDecoder, tmp_path: Path) -> None:
    torch.save({**decoder.state_dict(), "encoder.0.weight": torch.zeros(1)}, tmp_path / "tiny.pth")
    config = tiny_config(checkpoint_path=tmp_path / "tiny.pth", dtype=torch.bfloat16, latents="normalised")
    video = config.setup()(latents(2))
    assert video.dtype == torch.bfloat16
    assert -1 <= video.min() and video.max() <= 1
    assert (video.float() - decoder(latents(2))).abs().mean() < 0.05


def test_checkpoint_that_does_not_fit_says_why(decoder: TeahvVAEDecoder, tmp_path: Path) -> None:
    torch.save({**decoder.state_dict(), "encoder.0.weight": torch.zeros(1)}, tmp_path / "tiny.pth")
    with pytest.raises(ValueError, match=r"1 unexpected: encoder\.0\.weight"):
        tiny_config(checkpoint_path=tmp_path / "tiny.pth", state_dict_transform=None).setup()
    with pytest.raises(ValueError, match=r"decoder\.22\.weight \(has \[3, 6, 3, 3\], needs \[12, 6, 3, 3\]\)"):
        tiny_config(checkpoint_path=tmp_path / "tiny.pth", patch_size=2).setup()
    with pytest.raises(ValueError, match=r"latent_mean and latent_std must have 4 numbers, one per channel .* got 16"):
        tiny_config(checkpoint_path=tmp_path / "tiny.pth").setup()
    with pytest.raises(ValueError, match="latents must be 'file', 'normalised' or 'raw', got 'scaled'"):
        tiny_config(latents="scaled")
    with pytest.raises(FileNotFoundError, match="there is no checkpoint at"):
        tiny_config(checkpoint_path=tmp_path / "none.pth").setup()


def test_default_config_is_lighttae_and_survives_json() -> None:
    config = TAEHVDecoderConfig()
    assert TAEHVDecoderConfig is TeahvVAEDecoderConfig
    assert config.checkpoint_path == AVAILABLE_TAEHV_CHECKPOINT_PATHS["lighttae"]
    assert (config.dtype, config.use_cuda_graph, config.use_compile) == (torch.bfloat16, True, True)
    assert TeahvVAEDecoderConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("latent", "index", "message"),
    [
        (latents(1)[:, :, :3], 1, r"must be floats \[..., T, 4, h, w\], got torch.float32 \[1, 1, 3, 3, 2\]"),
        (latents(1).long(), 1, "latents must be floats"),
        (latents(1)[0, 0], 1, "latents must be floats"),
        (latents(1), 0, "autoregressive_index must be 1 for this cache, got 0"),
        (latents(1), 2, "autoregressive_index must be 1 for this cache, got 2"),
        (latents(1, height=4), 1, "have a batch of 1 and 3 x 2 positions"),
        (latents(1, batch=(2,)), 1, "have a batch of 1 and 3 x 2 positions"),
        (latents(1)[:, :0], 1, "at least 1 latent frame, got 0"),
    ],
)
def test_refused_chunk_leaves_the_rollout_as_it_was(
    decoder: TeahvVAEDecoder, latent: Tensor, index: int, message: str
) -> None:
    cache = decoder.initialize_autoregressive_cache()
    decoder(latents(1), 0, cache)
    expected = decoder(latents(1), 1, copy.deepcopy(cache))
    with pytest.raises(ValueError, match=message):
        decoder(latent, index, cache)
    assert torch.equal(decoder(latents(1), 1, cache), expected)


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="the 4 widths must be at least 1"):
        tiny_config(widths=(8, 8, 6))
    with pytest.raises(ValueError, match="the 4 widths must be at least 1"):
        tiny_config(patch_size=0)


@pytest.mark.gpu
@pytest.mark.parametrize("compiled", [False, True])
def test_graph_replays_equal_plain_calls(decoder: TeahvVAEDecoder, compiled: bool) -> None:
    config = tiny_config(use_compile=compiled)
    on_gpu: TeahvVAEDecoder = config.setup().cuda()
    on_gpu.load_state_dict(decoder.state_dict())
    clips = [latents(8, seed=1).cuda(), latents(8, seed=2, height=2, width=5).cuda()]
    caches = [on_gpu.initialize_autoregressive_cache() for _ in clips]
    frames: list[list[Tensor]] = [[], []]
    for i in range(8):
        for clip, cache, made in zip(clips, caches, frames, strict=True):
            made.append(on_gpu(clip[:, i : i + 1], i, cache))
    for clip, made in zip(clips, frames, strict=True):
        torch.testing.assert_close(torch.cat(made, 1).cpu(), decoder(clip.cpu()), rtol=0, atol=5e-3)


@pytest.mark.parametrize(
    ("name", "raw"),
    [("lighttaew2_1.safetensors", True), ("lighttae-fp16.pth", True), ("tae.pth", True), ("taew2_1.pth", False)],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_a_file_that_is_saved_again_decodes_the_same_latents(
    decoder: TeahvVAEDecoder, name: str, raw: bool, dtype: torch.dtype, tmp_path: Path
) -> None:
    torch.save({key: tensor.to(dtype) for key, tensor in decoder.state_dict().items()}, tmp_path / name)
    statistics = {"latent_mean": (0.5,) * 4, "latent_std": (2.0,) * 4}
    loaded: TeahvVAEDecoder = tiny_config(checkpoint_path=tmp_path / name, **statistics).setup()
    given = latents(2) * 2 + 0.5 if raw else latents(2)
    assert (loaded(latents(2)) - decoder(given)).abs().mean() < 1e-2
    assert loaded.std.flatten().tolist() == [2.0 if raw else 1.0] * 4
