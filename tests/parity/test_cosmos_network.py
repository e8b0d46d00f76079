"""The Cosmos network against diffusers' on random weights, and streaming against whole clips without a cache."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from flashdreams.core.attention import RopeTable, RotaryPositionEmbedding3D, rope_table
from flashdreams.core.checkpoint import load_into
from flashdreams.recipes.cosmos import CosmosDiTNetwork, CosmosDiTNetworkConfig
from flashdreams.recipes.cosmos.transformer.impl.modules import BlockCache
from tests.parity.test_wan_network import relative_error

pytestmark = pytest.mark.usefixtures("one_thread")

# Relative errors in fp32: the norm of the difference by the norm of the reference.
DIFFUSERS_TOLERANCE = 1e-4
STREAMING_TOLERANCE = 1e-5
TEXT_LEN, TEXT_DIM, CONTEXT_DIM, CHANNELS, CONTROL = 7, 10, 8, 4, 3
SCALES = (1.0, 3.0, 3.0)

FROM_DIFFUSERS = [
    (r"^time_embed\.t_embedder\.", "t_embedder.1."),
    (r"^time_embed\.norm\.", "t_embedding_norm."),
    (r"^transformer_blocks\.", "blocks."),
    (r"\.norm1\.linear_(\d)\.", r".adaln_modulation_self_attn.\1."),
    (r"\.norm2\.linear_(\d)\.", r".adaln_modulation_cross_attn.\1."),
    (r"\.norm3\.linear_(\d)\.", r".adaln_modulation_mlp.\1."),
    (r"\.attn1\.", ".self_attn."),
    (r"\.attn2\.", ".cross_attn."),
    (r"\.to_([qkv])\.", r".\1_proj."),
    (r"\.to_out\.0\.", ".output_proj."),
    (r"\.norm_([qk])\.", r".\1_norm."),
    (r"\.ff\.net\.0\.proj\.", ".mlp.layer1."),
    (r"\.ff\.net\.2\.", ".mlp.layer2."),
    (r"^patch_embed\.proj\.", "x_embedder.proj.1."),
    (r"^norm_out\.linear_(\d)\.", r"final_layer.adaln_modulation.\1."),
    (r"^proj_out\.", "final_layer.linear."),
]


def randomize(module: torch.nn.Module) -> None:
    """Norms and biases away from their neutral values, so that none can be left out unnoticed."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.dim() == 1:
                parameter.copy_(torch.randn_like(parameter) * 0.3 + ("norm" in name))


@dataclass
class Size:
    """A network of `heads` x `head_dim`, on clips of `frames` of `height` x `width` latents."""

    heads: int
    head_dim: int
    layers: int
    frames: int
    height: int
    width: int
    control: int = 0

    @property
    def config(self) -> CosmosDiTNetworkConfig:
        return CosmosDiTNetworkConfig(
            in_channels=CHANNELS + 1,
            out_channels=CHANNELS,
            control_channels=self.control,
            model_channels=self.heads * self.head_dim,
            num_heads=self.heads,
            num_blocks=self.layers,
            mlp_ratio=3.0,
            adaln_lora_dim=6,
            crossattn_proj_in_channels=TEXT_DIM,
            crossattn_emb_channels=CONTEXT_DIM,
        )

    def rope(self, frames: int, chunk: int = 0) -> RopeTable:
        rotation = RotaryPositionEmbedding3D(
            self.head_dim,
            self.height // 2,
            self.width // 2,
            frames,
            SCALES[1],
            SCALES[2],
            interleaved=False,
            device="cpu",
        )
        return rope_table(rotation.shift_t(chunk), interleaved=False)


def pair(size: Size) -> tuple[torch.nn.Module, CosmosDiTNetwork]:
    """The same random weights in diffusers' model and in ours.

    diffusers' has one embedding for all channels; ours has the same columns, those of the control apart.
    """
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.CosmosTransformer3DModel(
        in_channels=CHANNELS + 2 + size.control,
        out_channels=CHANNELS,
        num_attention_heads=size.heads,
        attention_head_dim=size.head_dim,
        num_layers=size.layers,
        mlp_ratio=3.0,
        text_embed_dim=CONTEXT_DIM,
        adaln_lora_dim=6,
        rope_scale=SCALES,
        max_size=(16, 32, 32),
        concat_padding_mask=False,
        extra_pos_embed_type=None,
        use_crossattn_projection=True,
        crossattn_proj_in_channels=TEXT_DIM,
        encoder_hidden_states_channels=CONTEXT_DIM,
    ).eval()
    randomize(theirs)
    ours: CosmosDiTNetwork = size.config.setup()
    weights = theirs.state_dict()
    if size.control:
        columns = weights["patch_embed.proj.weight"]
        weights["patch_embed.proj.weight"] = columns[:, : (CHANNELS + 2) * 4]
        weights["additional_patch_embedding.proj.1.weight"] = columns[:, (CHANNELS + 2) * 4 :]
    load_into(ours, weights, patterns=FROM_DIFFUSERS)
    ours.update_parameters_after_loading_checkpoint()
    return theirs, ours


SIZES = [
    pytest.param(Size(2, 16, 2, 3, 6, 4), id="3 frames of 3 x 2"),
    pytest.param(Size(3, 20, 1, 1, 4, 8), id="1 frame of 2 x 4"),
    pytest.param(Size(2, 128, 2, 2, 8, 10, CONTROL), id="heads of the 2B model, HD map"),
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("timesteps", [937.5, [937.5, 12.0]], ids=["scalar", "per-batch"])
@torch.no_grad()
def test_one_chunk_of_a_whole_clip_equals_diffusers(size: Size, timesteps: float | list[float]) -> None:
    theirs, ours = pair(size)
    generator = torch.Generator().manual_seed(1)
    shape = (2, size.frames, CHANNELS, size.height, size.width)
    latent, text = torch.randn(shape, generator=generator), torch.randn(2, TEXT_LEN, TEXT_DIM, generator=generator)
    given = torch.zeros_like(latent[:, :, :1])
    given[:, :1] = 1
    control = torch.randn(*shape[:2], size.control, *shape[3:], generator=generator)
    t = torch.tensor(timesteps)
    everything = torch.cat([latent, given, torch.zeros_like(given), control], 2).transpose(1, 2)
    expected = theirs(everything, t.expand(2) * 0.001, text).sample.transpose(1, 2)

    tokens = ours.patchify_and_maybe_split_cp(torch.cat([latent, given], 2))
    hint = ours.patchify_and_maybe_split_cp(control) if size.control else None
    cache = ours.initialize_cache(tokens.shape[1], tokens.shape[1], 0, text)
    flow = ours(tokens, t, cache, size.rope(size.frames), control=hint)
    flow = ours.unpatchify_and_maybe_gather_cp(size.height // 2, size.width // 2, flow)
    error = relative_error(flow, expected)
    print(f"{size}, t {timesteps}: relative error {error:.1e}")
    assert error <= DIFFUSERS_TOLERANCE


def test_our_keys_are_the_published_ones() -> None:
    """diffusers' conversion of published files makes exactly its own model's keys of ours."""
    utils = pytest.importorskip("diffusers.loaders.single_file_utils")
    theirs, ours = pair(Size(2, 16, 2, 1, 4, 4))
    converted = utils.convert_cosmos_transformer_checkpoint_to_diffusers(
        {f"net.{key}": value for key, value in ours.state_dict().items()}
    )
    shapes = {key: value.shape for key, value in theirs.state_dict().items()}
    assert {key: value.shape for key, value in converted.items()} == shapes


STREAM = Size(2, 16, 3, 1, 4, 6, CONTROL)
FRAME = STREAM.height * STREAM.width // 4


def visible(chunk: int, len_t: int, window: int) -> list[int]:
    """Frames that chunk `chunk` attends to: the newest `window`."""
    seen = (chunk + 1) * len_t
    return list(range(max(0, seen - window), seen))


class PlainMemory:
    """Self-attention of a whole clip, chunk by chunk with an explicit loop; rotations made from the definition."""

    def __init__(self, len_t: int, window: int) -> None:
        self.len_t, self.window = len_t, window

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k = self.rotated(q), self.rotated(k)
        q, k, v = (x.unflatten(1, (-1, FRAME)) for x in (q, k, v))
        rows = []
        for chunk in range(q.shape[1] // self.len_t):
            frames = visible(chunk, self.len_t, self.window)
            queries = q[:, frames[-self.len_t :]].flatten(1, 2)
            scores = torch.einsum("bqhd,bkhd->bhqk", queries, k[:, frames].flatten(1, 2)) / STREAM.head_dim**0.5
            rows.append(torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v[:, frames].flatten(1, 2)))
        return torch.cat(rows, 1)

    def rotated(self, x: Tensor) -> Tensor:
        """`x [B, L, H, D]` of a clip from its beginning on."""
        dim, third = STREAM.head_dim, 2 * (STREAM.head_dim // 6)
        rows, columns = STREAM.height // 2, STREAM.width // 2
        axes = (range(x.shape[1] // FRAME), range(rows), range(columns))
        grids = torch.meshgrid(*(torch.tensor(axis) for axis in axes), indexing="ij")
        angles, first = torch.zeros(x.shape[1], dim // 2), 0
        for grid, part, scale in zip(grids, (dim - 2 * third, third, third), SCALES, strict=True):
            theta = 10000.0 * scale ** (part / (part - 2))
            for i in range(part // 2):
                angles[:, first + i] = grid.flatten() * math.pow(theta, -2 * i / part)
            first += part // 2
        a, b = x.chunk(2, -1)
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def whole_clip(network: CosmosDiTNetwork, memory: PlainMemory, x: Tensor, t: Tensor, *rest: Any) -> Tensor:
    """The flow of the newest chunk of a clip `x [B, L, D]` at timesteps `t [B, L]`, computed from nothing."""
    text, given, control = rest
    layers: Any = [BlockCache(memory, prompt) for prompt in network.cross_keys_values(text)]  # type: ignore[arg-type]
    flow = network.run_blocks(torch.cat([x, given], -1), t, layers, control=control)
    return flow[:, -memory.len_t * FRAME :]


@pytest.mark.parametrize(("len_t", "window"), [(1, 3), (2, 6), (2, 4)], ids=str)
@torch.no_grad()
def test_streaming_equals_the_whole_clip_past_the_roll(len_t: int, window: int) -> None:
    network: CosmosDiTNetwork = STREAM.config.setup()
    randomize(network)
    generator, length, chunks = torch.Generator().manual_seed(2), FRAME * len_t, 6
    text = torch.randn(2, TEXT_LEN, TEXT_DIM, generator=generator)
    clean = torch.randn(2, chunks * length, 4 * CHANNELS, generator=generator)
    control = torch.randn(2, chunks * length, 4 * CONTROL, generator=generator)
    given = torch.zeros(2, chunks * length, 4)
    given[:, :FRAME] = 1
    cache = network.initialize_cache(length, window * FRAME, 0, text)
    worst = 0.0
    for chunk in range(chunks):
        before, end = chunk * length, (chunk + 1) * length
        for t in (900.0, 450.0, 128.0):  # two denoising steps, then the noised chunk that stays in the cache
            x = clean[:, before:end] + t / 1000 * torch.randn(2, length, 4 * CHANNELS, generator=generator)
            tokens, rope = torch.cat([x, given[:, before:end]], -1), STREAM.rope(len_t, chunk)
            flow = network(tokens, torch.tensor(t), cache, rope, chunk, control=control[:, before:end])
            timesteps = torch.cat([torch.full((2, before), 128.0), torch.full((2, length), t)], 1)
            clip = torch.cat([clean[:, :before], x], 1)
            rest = (text, given[:, :end], control[:, :end])
            worst = max(
                worst, relative_error(flow, whole_clip(network, PlainMemory(len_t, window), clip, timesteps, *rest))
            )
        clean[:, before:end] = x
    print(f"chunks of {len_t}, window {window}: relative error {worst:.1e}")
    assert cache.self_attn[0].is_steady_state() and chunks * len_t > window
    assert worst <= STREAMING_TOLERANCE


@torch.no_grad()
def test_the_plain_reference_tells_windows_apart() -> None:
    """Otherwise the test above could not fail."""
    network: CosmosDiTNetwork = STREAM.config.setup()
    randomize(network)
    generator = torch.Generator().manual_seed(3)
    x, control = (torch.randn(1, 6 * FRAME, 4 * size, generator=generator) for size in (CHANNELS, CONTROL))
    text, given = torch.randn(1, TEXT_LEN, TEXT_DIM, generator=generator), torch.zeros(1, 6 * FRAME, 4)
    arguments = (x, torch.zeros(1, x.shape[1]), text, given, control)
    expected = whole_clip(network, PlainMemory(1, 3), *arguments)
    for window in (2, 4):
        assert relative_error(whole_clip(network, PlainMemory(1, window), *arguments), expected) > 1e-4
