"""From latents to frames: each latent is a chunk's last frame, the frames before it are found between two such.

The camera's turn between frames is known exactly, so both ends are first turned into place (a homography, whatever the
depth); a small network then finds what walking shifted and mends the rest. The code is linear, the decoder streams.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flashdreams.infra.decoder.base import DecoderConfig, StreamingDecoderCache, StreamingVideoDecoder
from flashdreams.integrations.pocket.codec import PATCH, PatchCodec
from flashdreams.integrations.pocket.optics import HEIGHT, WIDTH, picture_grid, pixel_rays, sample
from flashdreams.integrations.pocket.walk import FRAMES_PER_CHUNK

FLOW_REACH = 12.0
"""Pixels: the network's shifts are this times a number that starts at zero."""


@dataclass(kw_only=True)
class PocketDecoderConfig(DecoderConfig):
    """Config of `PocketDecoder`."""

    _target: type = field(default_factory=lambda: PocketDecoder)

    width: int = 48
    """Channels of both networks."""
    dtype: torch.dtype = torch.bfloat16
    """Type of the networks; pictures are fp32."""


class PocketDecoderCache(StreamingDecoderCache):
    """The end of the chunk before, and the camera of the chunk to be decoded."""

    picture: Tensor | None = None
    """`[B, 3, H, W]`: the last frame shown."""
    pose: Tensor | None = None
    """`[B, 4, 4]`: its camera."""
    poses: Tensor | None = None
    """`[B, F, 4, 4]`: the cameras of the next chunk's frames; set before every `forward`."""


class PocketDecoder(StreamingVideoDecoder[PocketDecoderCache]):
    """Latents `[B, 1, 48, 9, 16]` -> frames `[B, T, 3, 144, 256]` in [0, 1]: T is 1 at the first chunk, then 4."""

    rays: Tensor

    def __init__(self, config: PocketDecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.codec = PatchCodec()
        self.sharpen = _convolutions(12, config.width, 12, (1, 2, 1))
        # Convolutions cannot know where they are in a token's patch, and faults are worst along its rim.
        self.within_patch = nn.Parameter(torch.zeros(config.width, PATCH // 2, PATCH // 2, dtype=config.dtype))
        self.between = _convolutions(24 + 6, config.width, 12 + 5, (1, 2, 4, 1))
        for network in (self.sharpen, self.between):
            network.to(config.dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.register_buffer("rays", pixel_rays(), persistent=False)

    @property
    def spatial_compression_ratio(self) -> int:
        return PATCH

    @property
    def temporal_compression_ratio(self) -> int:
        return FRAMES_PER_CHUNK

    def get_output_temporal_size(self, autoregressive_index: int, input_temporal_size: int) -> int:
        """Frames of a chunk of one latent."""
        if input_temporal_size != 1:
            raise ValueError(f"the pocket world's chunks have 1 latent frame, got {input_temporal_size}")
        return 1 if autoregressive_index == 0 else FRAMES_PER_CHUNK

    def get_input_temporal_size(self, autoregressive_index: int, output_temporal_size: int) -> int:
        """Latents that give a chunk's frames: always 1."""
        wanted = self.get_output_temporal_size(autoregressive_index, 1)
        if output_temporal_size != wanted:
            raise ValueError(f"chunk {autoregressive_index} has {wanted} frames, got {output_temporal_size}")
        return 1

    def initialize_autoregressive_cache(self, **context: Any) -> PocketDecoderCache:
        """No context is taken."""
        if context:
            raise TypeError(f"the pocket decoder takes no rollout context, got {', '.join(context)}")
        return PocketDecoderCache()

    def forward(self, input: Tensor, autoregressive_index: int = 0, cache: PocketDecoderCache | None = None) -> Tensor:
        """See the class. `cache.poses` must hold the cameras of the chunk's frames; without a cache, one picture."""
        picture = self.key_picture(input[:, 0])
        if cache is None:
            return picture[:, None]
        poses = cache.poses
        if poses is None:
            raise RuntimeError("cache.poses must be set before a chunk is decoded")
        frames = picture[:, None]
        if cache.picture is not None and cache.pose is not None and poses.shape[1] > 1:
            frames = torch.cat([self.frames_between(cache.picture, picture, cache.pose, poses), frames], 1)
        cache.picture, cache.pose, cache.poses = picture, poses[:, -1], None
        return frames

    def key_picture(self, latent: Tensor) -> Tensor:
        """The picture `[B, 3, H, W]` of a latent `[B, 48, 9, 16]`: the linear code, mended."""
        plain = self.codec.decode(latent.float())
        told = self.within_patch.repeat(1, HEIGHT // PATCH, WIDTH // PATCH)
        return plain + F.pixel_shuffle(_run(self.sharpen, F.pixel_unshuffle(plain, 2), told), 2)

    def frames_between(self, first: Tensor, last: Tensor, first_pose: Tensor, poses: Tensor) -> Tensor:
        """Frames `[B, F - 1, 3, H, W]` at `poses[:, :-1]`, between `first` and `last` (at `poses[:, -1]`)."""
        batch, count = poses.shape[0], poses.shape[1] - 1
        inner = poses[:, :-1].flatten(0, 1)
        ends = [(first, first_pose), (last, poses[:, -1])]
        pictures = [p.repeat_interleave(count, 0) for p, _ in ends]
        grids = [self._turned(inner, pose.repeat_interleave(count, 0)) for _, pose in ends]
        turned = [sample(p, grid) for p, grid in zip(pictures, grids, strict=True)]
        time = (torch.arange(1, count + 1, device=first.device) / (count + 1)).repeat(batch).view(-1, 1, 1, 1)
        step = first_pose[:, :3, :3].transpose(1, 2) @ (poses[:, -1, :3, 3] - first_pose[:, :3, 3]).unsqueeze(-1)
        planes = [*self._pixel_planes(len(inner)), time.expand(-1, 1, HEIGHT // 2, WIDTH // 2)]
        planes.append((step * 2.0).repeat_interleave(count, 0)[..., None].expand(-1, 3, HEIGHT // 2, WIDTH // 2))
        seen = [F.pixel_unshuffle(t, 2) for t in turned]
        answer = _run(self.between, torch.cat([*seen, *planes], 1))
        mend = F.pixel_shuffle(answer[:, :12], 2)
        shifts, choice = F.interpolate(answer[:, 12:], scale_factor=2, mode="bilinear").split([4, 1], 1)
        unit = torch.tensor([2 / WIDTH, 2 / HEIGHT], device=first.device) * FLOW_REACH
        moved = [
            sample(p, grid + shift.permute(0, 2, 3, 1) * unit)
            for p, grid, shift in zip(pictures, grids, shifts.chunk(2, 1), strict=True)
        ]
        inside = [(grid.abs().amax(-1) < 1).float().unsqueeze(1) for grid in grids]
        odds = torch.logit(1 - time) + choice * 4 + 6 * (inside[0] - inside[1])
        weight = torch.sigmoid(odds)
        return (weight * moved[0] + (1 - weight) * moved[1] + mend).unflatten(0, (batch, count))

    def _turned(self, target: Tensor, source: Tensor) -> Tensor:
        """Where the pixels of camera `target` lie in the picture of `source` if it only turned: a sampling grid."""
        turn = source[:, :3, :3].transpose(1, 2).float() @ target[:, :3, :3].float()
        return picture_grid(turn @ self.rays)

    def _pixel_planes(self, count: int) -> tuple[Tensor, Tensor]:
        u, v, _ = F.avg_pool2d(self.rays.unflatten(1, (HEIGHT, WIDTH)), 2).expand(count, -1, -1, -1).split(1, 1)
        return u, v


def _convolutions(n_in: int, width: int, n_out: int, dilations: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(n_in, width, 3, padding=1), nn.ReLU(inplace=True)]
    for d in dilations:
        layers += [nn.Conv2d(width, width, 3, padding=d, dilation=d), nn.ReLU(inplace=True)]
    layers.append(nn.Conv2d(width, n_out, 3, padding=1))
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    nn.init.zeros_(layers[-1].weight)  # type: ignore[arg-type]
    return nn.Sequential(*layers)


def _run(network: nn.Sequential, x: Tensor, told: Tensor | None = None) -> Tensor:
    """`network` of `x [N, C, h, w]`; `told [width, h, w]` is added to what its first layer finds."""
    first, *rest = network
    found: Tensor = first(x.to(next(network.parameters()).dtype, memory_format=torch.channels_last))
    found = found if told is None else found + told
    for layer in rest:
        found = layer(found)
    return found.float()
