"""The streaming tiny decoder: latents of one chunk after another to video, all rollout state in its cache."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from flashdreams.infra.decoder import CausalVideoDecoder, DecoderConfig
from flashdreams.infra.runtime.accelerated import AcceleratedStep
from flashdreams.infra.temporal import check_follows
from flashdreams.recipes.taehv.checkpoint import (
    AVAILABLE_TAEHV_CHECKPOINT_PATHS,
    StateDictTransform,
    lighttae_state_dict_transform,
)
from flashdreams.recipes.taehv.impl import SPACE_RATIO, TAEHV, TIME_RATIO, TAEHVCache
from flashdreams.recipes.wan.autoencoder.statistics import WAN21_LATENT_MEAN, WAN21_LATENT_STD


@dataclass(kw_only=True)
class TeahvVAEDecoderConfig(DecoderConfig):
    """Config of `TeahvVAEDecoder`; the sizes are those of the published decoders of Wan 2.1's latents."""

    _target: type[TeahvVAEDecoder] = field(default_factory=lambda: TeahvVAEDecoder)

    checkpoint_path: str | Path | None = AVAILABLE_TAEHV_CHECKPOINT_PATHS["lighttae"]
    """Weights, as `load_checkpoint` takes them; None leaves them random, for training."""
    state_dict_transform: StateDictTransform | None = lighttae_state_dict_transform
    """Makes our keys of the file's; None takes them as they are."""
    dtype: torch.dtype = torch.bfloat16
    """Type of the weights and of the video."""
    use_cuda_graph: bool = True
    """On a GPU, replay a captured graph for each size of latents."""
    use_compile: bool = True
    """On a GPU, compile the layers at the first call."""
    latent_channels: int = 16
    """Channels of the latents."""
    widths: tuple[int, int, int, int] = (256, 128, 64, 64)
    """Channels of the three stages and of the output."""
    latents: Literal["file", "normalised", "raw"] = "file"
    """Latents that the weights decode: as Wan's models make them (normalised: taew2_1) or as Wan's autoencoder has them
    before normalisation (raw: LightTAE). The two have the same keys and shapes; file takes a file whose name has taew
    without light before it for the first, as it is published, all others for the second, and random weights for the
    first."""
    latent_mean: tuple[float, ...] = WAN21_LATENT_MEAN
    """Mean of each channel of raw latents."""
    latent_std: tuple[float, ...] = WAN21_LATENT_STD
    """Standard deviation of each channel of raw latents."""
    patch_size: int = 1
    """Pixels along a side that the last layer gives for each of its positions; 2 for Wan 2.2's latents."""

    def __post_init__(self) -> None:
        sizes = (self.latent_channels, self.patch_size, *self.widths)
        if len(self.widths) != 4 or min(sizes) < 1:
            raise ValueError(
                "latent_channels, patch_size and the 4 widths must be at least 1, "
                f"got {self.latent_channels}, {self.patch_size}, {self.widths}"
            )
        if self.latents not in ("file", "normalised", "raw"):
            raise ValueError(f"latents must be 'file', 'normalised' or 'raw', got {self.latents!r}")


TAEHVDecoderConfig = TeahvVAEDecoderConfig


class TeahvVAEDecoder(TAEHV, CausalVideoDecoder[TAEHVCache]):
    """Latents `[..., T, C, h, w]` to video `[..., T', 3, H, W]` in [-1, 1], 8x in space (times `patch_size`).

    `T'` is `4 T`, but the first latent of a rollout gives one frame. Any chunking of a clip gives the same video.
    """

    mean: Tensor
    std: Tensor
    _LIGHTTAE_MEAN = WAN21_LATENT_MEAN
    _LIGHTTAE_STD = WAN21_LATENT_STD

    def __init__(self, config: TeahvVAEDecoderConfig) -> None:
        """Raises what `load_checkpoint` and `load_into` raise for a file that is missing or does not fit."""
        AcceleratedStep.__init__(
            self, config=config, use_compile=config.use_compile, use_cuda_graph=config.use_cuda_graph
        )
        self.clamp_output = True
        self._build((True, True), (True, True, True), config.patch_size, config.latent_channels, config.widths)
        if config.checkpoint_path is not None:
            self.load_from_checkpoint(str(config.checkpoint_path), config.state_dict_transform or dict)
        # Channels last is the order in which convolutions are fastest, on a CPU as on a GPU.
        self.to(config.dtype).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self._keep_statistics()

    def initialize_autoregressive_cache(self) -> TAEHVCache:  # type: ignore[override]
        """Return the cache of a new rollout, of any batch and size."""
        return TAEHVCache()

    @torch.no_grad()
    def forward(self, input: Tensor, autoregressive_index: int = 0, cache: TAEHVCache | None = None) -> Tensor:
        """Return the video of the normalised latents of chunk `autoregressive_index`; `cache=None` is a whole clip.

        Raises ValueError for latents of other channels or another size than the rollout's, and for any index but the
        cache's next one.
        """
        cache = TAEHVCache() if cache is None else cache
        self._check(input, autoregressive_index, cache)
        self.get_output_temporal_size(autoregressive_index, input.shape[-4])
        latent = input.reshape(-1, *input.shape[-4:]).float() * self.std + self.mean
        video = self.decode(latent.to(next(self.parameters()).dtype), cache) * 2 - 1
        cache.autoregressive_index = autoregressive_index
        return video.reshape(*input.shape[:-4], *video.shape[1:])

    @property
    def decodes_raw_latents(self) -> bool:
        """True of weights for the latents of Wan's autoencoder before normalisation."""
        if self.config.latents != "file" or self.config.checkpoint_path is None:
            return self.config.latents == "raw"
        name = Path(str(self.config.checkpoint_path)).name.lower()
        return "taew" not in name.replace("lighttaew", "")

    def _keep_statistics(self) -> None:
        """Keep the statistics that undo the normalisation, in fp32 whatever the weights are."""
        channels, c, raw = self.config.latent_channels, self.config, self.decodes_raw_latents
        mean, std = (c.latent_mean, c.latent_std) if raw else ((0.0,) * channels, (1.0,) * channels)
        if len(mean) != channels or len(std) != channels:
            raise ValueError(
                f"latent_mean and latent_std must have {channels} numbers, one per channel of the latents, "
                f"got {len(mean)} and {len(std)}"
            )
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)

    @property
    def spatial_compression_ratio(self) -> int:
        return SPACE_RATIO * self.config.patch_size

    @property
    def temporal_compression_ratio(self) -> int:
        return TIME_RATIO

    def _check(self, latent: Tensor, index: int, cache: TAEHVCache) -> None:
        channels = self.config.latent_channels
        if latent.dim() < 4 or latent.shape[-3] != channels or not latent.is_floating_point():
            raise ValueError(f"latents must be floats [..., T, {channels}, h, w], got {latent.dtype} {[*latent.shape]}")
        check_follows(index, cache.autoregressive_index)
        if not cache.dec_state:
            return
        batch, _, height, width = next(iter(cache.dec_state.values())).shape
        if (latent.shape[:-4].numel(), *latent.shape[-2:]) != (batch, height, width):
            size = f"a batch of {batch} and {height} x {width} positions"
            raise ValueError(f"this rollout's latents have {size}, got {list(latent.shape)}")
