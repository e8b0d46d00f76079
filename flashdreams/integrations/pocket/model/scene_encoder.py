"""The scene encoder: features of a chunk, read from the scene's learnt grids along the rays of its cameras.

Each scene has a learnt occupancy grid (see `occupancy.py`), from which ray marching finds distances, and learnt
colours, a top view and a panorama of the sky, which are read where the rays end. Geometry is
kept in the grids and found by the pose alone, so that turning away and back gives the same view. With the distances the
last frame shown is warped to the new camera and passed on as well, which keeps generated detail stable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flashdreams.infra.encoder.base import EncoderConfig, StreamingEncoder, StreamingEncoderCache
from flashdreams.integrations.pocket.model.codec import LATENT_CHANNELS, LATENT_SIZE, PATCH, PatchCodec, product
from flashdreams.integrations.pocket.model.occupancy import OccupancyGrid, level_of, read
from flashdreams.integrations.pocket.model.optics import ground_inverse_depth, pixel_rays, seen_next
from flashdreams.integrations.pocket.scenes.movement import EYE_HEIGHT

RAYS = 2
"""Rays per token along each side that look along their way through the map."""
SPOTS = 4
"""Spots per token along each side whose distance they tell, and where the map is read again."""
DEPTH_SIZE = (LATENT_SIZE[0] * SPOTS, LATENT_SIZE[1] * SPOTS)
"""Height and width of the inverse depth."""
NEAR, FAR = 0.7, 30.0
"""Metres: first and last distance at which a ray looks into the map."""
SKY_LOW, SKY_HIGH = -0.1, 0.85
"""Upward components of the directions at the lower and upper edge of a learnt sky."""
GRIDS = ("maps", "skies", "colors", "sky_colors", "occupancy.grid")
"""Parameters that are read where rays go: they learn at another rate than the networks."""


@dataclass(kw_only=True)
class SceneEncoderConfig(EncoderConfig):
    """Config of `SceneEncoder`."""

    _target: type = field(default_factory=lambda: SceneEncoder)

    scenes: int = 6
    """Number of places."""
    map_size: int = 128
    """Cells of a map along each side."""
    map_channels: int = 16
    """Features of a cell."""
    map_reach: float = 24.0
    """Metres from the origin to a map's edge."""
    sky_size: tuple[int, int] = (64, 256)
    """Cells of a sky: upwards from `SKY_LOW` to `SKY_HIGH`, and all around."""
    sky_channels: int = 8
    """Features of a sky's cell."""
    color_size: tuple[int, int] = (16, 128)
    """Cells of a place's colours: upwards, and along each side."""
    solid_size: tuple[int, int] = (32, 224)
    """Cells of a occupancy grid: upwards, and along each side."""
    samples: int = 16
    """Distances along a ray."""
    ray_hidden: int = 128
    """Width of the ray-wise network."""
    ray_features: int = 32
    """Features of a ray that the token-wise network receives."""
    spot_hidden: int = 96
    """Width of the spot-wise network."""
    spot_features: int = 24
    """Features of a spot that the token-wise network receives, beside the map there."""
    hidden: int = 512
    """Width of the token-wise network."""
    out_dim: int = 160
    """Features of a token that come from the place; the first `LATENT_CHANNELS` are a guess of its latent."""


DIRECTION_WAVES, POSITION_WAVES, MOTION_FEATURES = 12, 16, 7
CARRIED_FEATURES = LATENT_CHANNELS + 1
"""Features of a token that come from the picture shown last: its latent, and how much of the token it covers."""


@dataclass
class SceneInput:
    """Camera and scene of one chunk, and what was shown before it."""

    pose: Tensor
    """Camera-to-world `[B, 4, 4]` of the chunk's last frame."""
    scene: Tensor
    """Scene indices `[B]`."""
    shown: Tensor | None = None
    """The picture `[B, 3, H, W]` in [0, 1] shown last; None at the first chunk."""


class SceneEncoderCache(StreamingEncoderCache):
    """The last pose of the newest chunk, and what was seen from it."""

    pose: Tensor | None = None
    """`[B, 4, 4]`"""
    inverse_depth: Tensor | None = None
    """`[B, 36, 64]` in 1/m."""


class SceneEncoder(StreamingEncoder[SceneEncoderCache]):
    """Features `[B, 1, out_dim + 49, 9, 16]` of a chunk from the cameras at its end and before it."""

    coarse: Tensor
    fine: Tensor
    steps: Tensor
    rays: Tensor

    def __init__(self, config: SceneEncoderConfig) -> None:
        super().__init__(config)
        self.maps = nn.Parameter(
            torch.randn(config.scenes, config.map_channels, config.map_size, config.map_size) * 0.3
        )
        self.skies = nn.Parameter(torch.randn(config.scenes, config.sky_channels, *config.sky_size) * 0.3)
        levels, side = config.color_size
        self.colors = nn.Parameter(torch.zeros(config.scenes, 3, levels, side, side))
        self.sky_colors = nn.Parameter(torch.zeros(config.scenes, 3, *config.sky_size))
        along = (config.samples + 1) * config.map_channels
        self.along_ray = nn.Sequential(nn.Linear(along + DIRECTION_WAVES, config.ray_hidden), nn.SiLU())
        self.ray_projection = nn.Linear(config.ray_hidden, config.ray_features)
        self.occupancy = OccupancyGrid(config.scenes, *config.solid_size, config.map_reach)
        seen = config.map_channels + 2
        self.spot = nn.Sequential(
            nn.Linear(seen + config.sky_channels + 2 + 3, config.spot_hidden),
            nn.SiLU(),
            nn.Linear(config.spot_hidden, config.spot_features + 3),
        )
        width = SPOTS**2 * (seen + config.spot_features + 3) + RAYS**2 * config.ray_features
        width += DIRECTION_WAVES + POSITION_WAVES + MOTION_FEATURES
        self.enter = nn.Sequential(nn.Linear(width, config.hidden), nn.SiLU(), nn.LayerNorm(config.hidden))
        last = nn.Linear(config.hidden, config.hidden)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.deeper = nn.Sequential(nn.Linear(config.hidden, config.hidden), nn.SiLU(), last)
        self.leave = nn.Linear(config.hidden, config.out_dim)
        self.codec = PatchCodec()
        self.register_buffer("rays", pixel_rays(), persistent=False)
        self.register_buffer("coarse", _token_rays(RAYS), persistent=False)
        self.register_buffer("fine", _token_rays(SPOTS), persistent=False)
        steps = torch.logspace(math.log10(NEAR), math.log10(FAR), config.samples)
        self.register_buffer("steps", steps, persistent=False)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the networks."""
        return self.leave.weight.dtype

    def set_dtype(self, dtype: torch.dtype) -> None:
        """Run the networks in `dtype`; grids and geometry stay fp32."""
        for network in (self.along_ray, self.ray_projection, self.spot, self.enter, self.deeper, self.leave):
            network.to(dtype)

    def initialize_autoregressive_cache(self, **context: Any) -> SceneEncoderCache:
        """No context is taken."""
        if context:
            raise TypeError(f"the scene encoder takes no rollout context, got {', '.join(context)}")
        return SceneEncoderCache()

    def forward(
        self, input: SceneInput, autoregressive_index: int = 0, cache: SceneEncoderCache | None = None
    ) -> Tensor:
        """See the class. Without a cache, or at the first chunk, the camera is taken to have stood still."""
        before = input.pose if cache is None or cache.pose is None else cache.pose
        features, inverse_depth = self.features(before, input.pose, input.scene)
        if cache is not None:
            cache.pose, cache.inverse_depth = input.pose, inverse_depth
        if input.shown is None:
            carried = features.new_zeros(len(features), CARRIED_FEATURES, *LATENT_SIZE)
        else:
            carried = self.carried(input.shown, before, input.pose, inverse_depth)
        return torch.cat([features, carried.to(features.dtype)], 1)[:, None]

    def features(self, before: Tensor, pose: Tensor, scene: Tensor) -> tuple[Tensor, Tensor]:
        """`[N, out_dim, 9, 16]` for cameras `before` and `pose [N, 4, 4]` in scenes `scene [N]`.

        The second answer is the inverse depth `[N, 36, 64]` in 1/m of what `pose` sees.
        """
        rays = _in_world(pose, self.fine)
        inverse_depth, thing = self.distances(pose, scene, rays)
        return self.tokens(before, pose, scene, rays, inverse_depth, thing), inverse_depth.unflatten(-1, DEPTH_SIZE)

    def sight(self, pose: Tensor, scene: Tensor) -> Tensor:
        """The inverse depth `[N, 36, 64]` in 1/m of what cameras `pose [N, 4, 4]` see in scenes `scene [N]`."""
        return self.distances(pose, scene, _in_world(pose, self.fine))[0].unflatten(-1, DEPTH_SIZE)

    def distances(self, pose: Tensor, scene: Tensor, rays: Tensor) -> tuple[Tensor, Tensor]:
        """See `OccupancyGrid.ends`, of the fine `rays [N, R, 3]`."""
        ground = ground_inverse_depth(pose, self.fine.T)
        with torch.no_grad():
            return self.occupancy.ends(self.occupancy.log_odds(pose, scene, rays), rays, ground)

    def distance_loss(self, pose: Tensor, scene: Tensor, inverse_depth: Tensor) -> Tensor:
        """See `OccupancyGrid.loss`, of the true `inverse_depth [N, 36, 64]`."""
        rays, ground = _in_world(pose, self.fine), ground_inverse_depth(pose, self.fine.T)
        return self.occupancy.loss(self.occupancy.log_odds(pose, scene, rays), rays, ground, inverse_depth.flatten(1))

    def tokens(
        self, before: Tensor, pose: Tensor, scene: Tensor, rays: Tensor, inverse_depth: Tensor, thing: Tensor
    ) -> Tensor:
        """`[N, out_dim, 9, 16]`: see `features`; the fine `rays` end at `inverse_depth`, at a `thing` or not."""
        h, w = LATENT_SIZE
        direction = F.normalize(_in_world(pose, self.coarse), dim=-1)
        way = torch.cat([self._features_along_rays(scene, pose, direction), _direction_waves(direction)], -1)
        ray = self.ray_projection(self.along_ray(way.to(self.dtype)))
        spots = self._spots(scene, pose, rays, inverse_depth, thing)
        color = spots[..., -3:].transpose(1, 2).unflatten(-1, DEPTH_SIZE).float()
        centre = _by_token(direction, RAYS).unflatten(-1, (RAYS * RAYS, 3)).mean(-2)
        whole = torch.cat([_position_waves(pose[:, :3, 3]), _motion(before, pose)], -1)[:, None].expand(-1, h * w, -1)
        rows = [_by_token(spots, SPOTS), _by_token(ray, RAYS), _direction_waves(centre), whole]
        tokens = self.enter(torch.cat([r.to(self.dtype) for r in rows], -1))
        tokens = self.leave(tokens + self.deeper(tokens)).transpose(1, 2).unflatten(-1, (h, w))
        drawn = self.codec.encode(F.interpolate(color, scale_factor=PATCH // SPOTS, mode="bilinear"), centred=True)
        return tokens + F.pad(drawn.to(tokens.dtype), (0, 0, 0, 0, 0, tokens.shape[1] - LATENT_CHANNELS))

    def carried(self, shown: Tensor, before: Tensor, pose: Tensor, inverse_depth: Tensor) -> Tensor:
        """`[N, 49, 9, 16]`: pictures `shown [N, 3, H, W]` of cameras `before` as `pose` would see them, as latents."""
        image, inside = seen_next(shown, before, pose, inverse_depth, self.rays)
        return torch.cat([self.codec.encode(image), F.avg_pool2d(inside, PATCH)], 1)

    def _features_along_rays(self, scene: Tensor, pose: Tensor, direction: Tensor) -> Tensor:
        """Map features `[N, R, (samples + 1) * C]` along rays of world `direction [N, R, 3]`, and on the ground."""
        flat = direction[..., ::2]
        level = flat.norm(dim=-1, keepdim=True).clamp_min(1e-3)
        down = (-direction[..., 1:2]).clamp_min(EYE_HEIGHT / FAR * 0.8)
        ground = (EYE_HEIGHT / down * level).clamp_max(FAR)
        reach = torch.cat([self.steps.expand(*flat.shape[:2], -1), ground], -1)
        points = pose[:, None, None, (0, 2), 3].float() + (flat / level).unsqueeze(2) * reach.unsqueeze(-1)
        return read(self.maps, scene, points / self.config.map_reach).permute(0, 2, 3, 1).flatten(2)

    def _spots(self, scene: Tensor, pose: Tensor, rays: Tensor, inverse_depth: Tensor, thing: Tensor) -> Tensor:
        """Return the features of the spots `[N, R, F]` where the fine rays end.

        The map there, its height and its inverse depth; what the spot-wise network tells of these and of the sky; and
        last their colour, as a difference from the mean picture: the one kept there, mended by the network.
        """
        reach = rays / inverse_depth.unsqueeze(-1)
        ground = (pose[:, None, (0, 2), 3].float() + reach[..., ::2]) / self.config.map_reach
        height = EYE_HEIGHT + reach[..., 1]
        there = _read_spots(self.maps, scene, ground)
        where = torch.stack([height.clamp(-1, 8) / 4, inverse_depth.clamp_max(2)], -1)
        seen = torch.cat([there, where], -1).to(self.dtype)
        up = F.normalize(rays, dim=-1)[..., 1]
        around = torch.atan2(rays[..., 0], rays[..., 2]) / math.pi
        above = torch.stack([around, (up - SKY_LOW) / (SKY_HIGH - SKY_LOW) * 2 - 1], -1)
        sky = _read_spots(self.skies, scene, above)
        inside = (ground.abs() < 1).all(-1, keepdim=True)
        kept = _read_spots(self.colors, scene, torch.cat([ground, level_of(height).unsqueeze(-1)], -1))
        kept = torch.where(inside, kept, _read_spots(self.sky_colors, scene, above))
        rows = torch.cat([sky, torch.stack([up, thing], -1), kept], -1).to(self.dtype)
        features, residual = self.spot(torch.cat([seen, rows], -1)).split([self.config.spot_features, 3], -1)
        return torch.cat([seen, features, kept.to(self.dtype) + residual], -1)


def _read_spots(grids: Tensor, scene: Tensor, points: Tensor) -> Tensor:
    """`[N, R, C]` of `grids` at `points [N, R, 2 or 3]`, see `occupancy.read`."""
    return read(grids, scene, points[:, :, None])[..., 0].transpose(1, 2)


def _by_token(rays: Tensor, per_side: int) -> Tensor:
    """`[N, R, C]` of `per_side` squared rays a token, rows of the picture first, as `[N, 144, per_side^2 * C]`."""
    h, w = LATENT_SIZE
    rays = rays.unflatten(1, (h, per_side, w, per_side))
    return rays.permute(0, 1, 3, 2, 4, 5).flatten(3).flatten(1, 2)


def _token_rays(per_side: int) -> Tensor:
    """Rays `[R, 3]` of depth 1 through the tokens, `per_side` squared each, in camera axes, rows first."""
    return pixel_rays(LATENT_SIZE[0] * per_side, LATENT_SIZE[1] * per_side).T


def _in_world(pose: Tensor, rays: Tensor) -> Tensor:
    """`rays [R, 3]` of cameras `pose [N, 4, 4]` as `[N, R, 3]`: east, up, north."""
    turned = product(pose[:, :3, :3], rays.T).transpose(1, 2)
    return turned * torch.tensor([1.0, -1.0, 1.0], device=pose.device)


def _waves(x: Tensor, speeds: Sequence[float]) -> Tensor:
    turned = x.unsqueeze(-1) * torch.tensor(speeds, device=x.device)
    return torch.cat([turned.sin(), turned.cos()], -1).flatten(-2)


def _direction_waves(direction: Tensor) -> Tensor:
    """Features of directions `[..., 3]`: azimuth at five frequencies, and the upward component."""
    azimuth = torch.atan2(direction[..., :1], direction[..., 2:])
    up = direction[..., 1:2]
    return torch.cat([_waves(azimuth, (1.0, 2.0, 4.0, 8.0, 16.0)), up, (up * 8).tanh()], -1)


def _position_waves(position: Tensor) -> Tensor:
    """Features of positions `[..., 3]` on the ground."""
    return _waves(position[..., ::2] * (math.pi / 16), (0.5, 1.0, 2.0, 4.0))


def _motion(before: Tensor, pose: Tensor) -> Tensor:
    """Features of how the camera moved: in its own axes, and the change of its forward axis."""
    turn = before[:, :3, :3].transpose(1, 2)
    shift = product(turn, pose[:, :3, 3:] - before[:, :3, 3:]).squeeze(-1)
    forward = product(turn, pose[:, :3, 2:3]).squeeze(-1)
    still = (pose == before).flatten(1).all(-1, keepdim=True).to(shift.dtype)
    return torch.cat([shift * 3, forward * 4, still], -1)
