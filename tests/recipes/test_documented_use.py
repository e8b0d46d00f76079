"""The documented uses of the Wan recipe: configs by default, pipelines and transformers in latent sizes, hooks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from flashdreams.core.attention import BlockKVCache
from flashdreams.recipes.wan import (
    AVAILABLE_WAN_VAE_CHECKPOINT_PATHS,
    NEGATIVE_PROMPT,
    Wan21TransformerConfig,
    Wan22TransformerConfig,
    WanDiTNetwork,
    WanDiTNetworkConfig,
    WanI2VCtrlEncoderConfig,
    WanVAEDecoderConfig,
    WanVAEEncoderConfig,
)
from flashdreams.recipes.wan.autoencoder.i2v import I2VCtrl
from flashdreams.recipes.wan.transformer.impl.modules import Block, BlockCache, sinusoidal_embedding_1d
from flashdreams.recipes.wan.transformer.wan21 import Wan21Transformer, Wan21TransformerCache
from tests.recipes.tiny_wan import CHANNELS, TEXT_DIM, TEXT_LEN, picture, pipeline, transformer

pytestmark = pytest.mark.usefixtures("one_thread")


def text(seed: int = 0) -> Tensor:
    return torch.randn(1, TEXT_LEN, TEXT_DIM, generator=torch.Generator().manual_seed(seed))


def test_configs_have_the_documented_defaults() -> None:
    assert Wan21TransformerConfig().network.dim == 1536 and Wan21TransformerConfig().len_t == 21
    two = Wan22TransformerConfig()
    assert (two.boundary_timestep, two.batch_shape, two.len_t, two.guidance_scale) == (875.0, (1,), 21, 1.0)
    assert WanI2VCtrlEncoderConfig().encoder == WanVAEEncoderConfig()
    assert WanVAEDecoderConfig().checkpoint_path == AVAILABLE_WAN_VAE_CHECKPOINT_PATHS["vae"]
    assert NEGATIVE_PROMPT and WanDiTNetworkConfig(WanDiTNetwork, (1, 2, 2), 512, 16).in_dim == 16


def test_a_text_pipeline_takes_latent_sizes() -> None:
    made = pipeline()
    cache = made.initialize_cache(text=["a lake at night"], height=60, width=104)
    for index in range(2):
        video = made.generate(index, cache)
        made.finalize(index, cache)
        assert video.shape == (1, made.get_num_output_frames(index), 3, 480, 832)
    assert made.latent_size(480, 832) == {"height": 60, "width": 104}


def test_an_image_pipeline_takes_its_size_from_the_picture() -> None:
    made = pipeline(image=True)
    cache = made.initialize_cache(text=["a lake"], image=picture(), height=4, width=6)
    assert made._preprocess_i2v_input(0, picture()).shape == (1, made.get_num_input_frames(0), 3, 32, 48)
    assert made._preprocess_i2v_input(1, picture()).abs().max() == 0
    assert made.generate(0, cache).shape == (1, 5, 3, 32, 48)
    with pytest.raises(ValueError, match="height must be"):
        made.initialize_cache(text=["a lake"], image=picture(), height=32, width=48)


def test_a_pipeline_without_a_text_encoder_takes_embeddings() -> None:
    made = pipeline(text_encoder=None)
    with pytest.raises(ValueError, match="text_encoder"):
        made.initialize_cache(["a lake"], height=4, width=6)
    assert made.generate(0, made.initialize_cache(text(), height=4, width=6)).shape == (1, 5, 3, 32, 48)  # type: ignore[arg-type]


def test_a_transformer_is_used_as_documented() -> None:
    made: Wan21Transformer = transformer().setup()
    context = {"height": 4, "width": 6, "text_embeddings": text(), "something_else": 1}
    cache = made.initialize_autoregressive_cache(**context)
    assert isinstance(cache, Wan21TransformerCache)
    assert cache.network_cache_uncond is None and cache.rope_freqs is None and cache.autoregressive_index == -1
    cache.start(0)
    noisy = torch.randn(made.latent_shape)
    flow = made.predict_flow(noisy, torch.tensor(500.0), cache, input=None, network_extra_kwargs=None)
    assert flow.shape == noisy.shape and cache.rope_freqs is not None
    assert made.unpatchify_and_maybe_gather_cp(flow).shape == (1, 2, CHANNELS, 4, 6)
    assert cache.fill == 0.5 and isinstance(cache.network_cache.block_caches[0].self_attn, BlockKVCache)
    two = Wan22TransformerConfig(transformer_high_noise=transformer(), transformer_low_noise=transformer()).setup()
    assert two.initialize_autoregressive_cache(**context, image_embeddings=None).transformer_low_noise.height == 4
    assert two.latent_shape == made.latent_shape


class TiltedBlock(Block):
    """A block of a plugin: written from the parts of `Block`, with one more input."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tilt = nn.Linear(self.dim, self.dim)

    def forward(  # type: ignore[override]
        self, x: Tensor, e: Any, cache: BlockCache, rope_freqs: Any, tilt: Tensor | None = None
    ) -> Tensor:
        x = super().forward(x, e, cache, rope_freqs)
        return x if tilt is None else x + self.tilt(tilt)


class TiltedNetwork(WanDiTNetwork):
    """A network of a plugin, whose `forward` takes an input of its own."""

    def _build_block(self, layer_idx: int) -> Block:
        return TiltedBlock(
            self.dim,
            self.ffn_dim,
            self.num_heads,
            cross_attn_norm=self.cross_attn_norm,
            eps=self.eps,
            i2v=self.cross_attn_enable_img,
        )

    def forward(self, *args: Any, angle: Tensor | None = None, **kwargs: Any) -> Tensor:  # type: ignore[override]
        tilt = None if angle is None else sinusoidal_embedding_1d(self.dim, angle)
        return super().forward(*args, block_extra_kwargs={"tilt": tilt}, **kwargs)


@dataclass
class TiltedNetworkConfig(WanDiTNetworkConfig):
    """Config of `TiltedNetwork`."""

    _target: type = field(default_factory=lambda: TiltedNetwork)


def test_a_plugins_network_gets_its_input_through_the_transformer() -> None:
    torch.manual_seed(0)
    sizes = {name: getattr(transformer().network, name) for name in ("text_len", "in_dim", "out_dim", "dim", "ffn_dim")}
    sizes |= {
        name: getattr(transformer().network, name) for name in ("freq_dim", "text_dim", "num_heads", "num_layers")
    }
    made = transformer().setup()
    config = Wan21TransformerConfig(network=TiltedNetworkConfig(**sizes), dtype=torch.float32, len_t=2, window_size_t=4)
    tilted = config.setup()
    tilted.network.load_state_dict(made.network.state_dict(), strict=False)
    flows = []
    for one, extra in ((made, None), (tilted, None), (tilted, {"angle": torch.tensor([40.0])})):
        cache = one.initialize_autoregressive_cache(height=4, width=6, text_embeddings=text())
        cache.start(0)
        noisy = torch.ones(one.latent_shape)
        flows.append(one.predict_flow(noisy, torch.tensor(500.0), cache, network_extra_kwargs=extra))
    assert torch.equal(flows[0], flows[1]) and not torch.allclose(flows[0], flows[2], atol=1e-4)


def test_a_control_says_whether_it_is_tokens() -> None:
    made = transformer(True).setup()
    control = I2VCtrl(latent=torch.zeros(1, 2, CHANNELS, 4, 6), mask=torch.zeros(1, 2, 1, 4, 6))
    tokens = made.patchify_and_maybe_split_cp(control)
    assert not control._is_patchified and tokens._is_patchified
    assert made.patchify_and_maybe_split_cp(tokens) is tokens
