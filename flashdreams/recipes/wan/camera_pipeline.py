"""The Wan pipeline of models that are steered by a camera: every chunk comes with the pose of each of its frames."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from flashdreams.camera.intrinsics import Intrinsics
from flashdreams.infra.memory.tracker import MetaRollout
from flashdreams.infra.temporal import causal_pixel_frames
from flashdreams.recipes.wan.pipeline import (
    WanInferencePipeline,
    WanInferencePipelineCache,
    WanInferencePipelineConfig,
)

TIME_RATIO = 4
"""Frames to a latent, the first of a rollout aside."""


@dataclass(kw_only=True)
class CameraInput:
    """Input of a camera model's encoder for each chunk."""

    frames: Tensor
    """The frames `[*batch, F, 3, H, W]` of a video that begins with the rollout's picture and is grey from then on."""
    poses: Tensor
    """Camera-to-world fp64 `[*batch, F, 4, 4]` on the CPU, one per frame."""
    intrinsics: Tensor
    """`[*batch, F, 4]`: fx, fy, cx, cy in pixels of the picture."""


def latent_frames(chunk: int) -> slice:
    """Return the frames that stand for the latents of a chunk: 0, 4, 8, ... in the first, 3, 7, 11, ... in others."""
    return slice(0 if chunk == 0 else TIME_RATIO - 1, None, TIME_RATIO)


@dataclass(kw_only=True)
class CameraPipelineConfig(WanInferencePipelineConfig):
    """Config of `CameraPipeline`; its encoder takes a `CameraInput`."""

    _target: type = field(default_factory=lambda: CameraPipeline)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.encoder is None:
            raise ValueError("a camera pipeline needs an encoder that takes the camera")


class CameraPipeline(WanInferencePipeline):
    """See `CameraPipelineConfig`."""

    def blank_rollout(self, height: int, width: int) -> MetaRollout:
        """Return a blank rollout whose camera stands still."""
        blank = super().blank_rollout(height, width)
        leading = (*self.config.rollout.batch_shape, TIME_RATIO * self.config.rollout.len_t)
        still = torch.eye(4, dtype=torch.float64, device="cpu").expand(*leading, 4, 4)
        lens = torch.ones(*leading, 4, dtype=torch.float64, device="cpu")

        def input(chunk: int) -> CameraInput:
            return CameraInput(frames=blank.input(chunk), poses=still, intrinsics=lens)

        return replace(blank, input=input)

    @torch.no_grad()
    def generate(  # type: ignore[override]
        self,
        autoregressive_index: int,
        cache: WanInferencePipelineCache,
        poses: Tensor,
        intrinsics: Intrinsics | Tensor,
    ) -> Tensor:
        """Generate chunk `autoregressive_index`: video `[*batch, T, 3, H, W]` in [-1, 1].

        `poses [F, 4, 4]` (or `[*batch, F, 4, 4]`) are camera-to-world (x right, y down, z forward), one for each frame
        of the chunk: `1 + 4 (len_t - 1)` in the first, `4 len_t` in all others. `intrinsics` are fx, fy, cx, cy in
        pixels of the video, `[4]` or `[F, 4]`. Raises ValueError for other shapes and for what is not finite.
        """
        batch = self.config.rollout.batch_shape
        frames = causal_pixel_frames(autoregressive_index, self.config.rollout.len_t, TIME_RATIO)
        if isinstance(intrinsics, Intrinsics):
            intrinsics = intrinsics.as_tensor(torch.float64)
        image = cache.image
        assert image is not None
        control = CameraInput(
            frames=self._preprocess_i2v_input(autoregressive_index, image),
            poses=_fitted("poses", poses, (*batch, frames), (4, 4)),
            intrinsics=_fitted("intrinsics", intrinsics, (*batch, frames), (4,)),
        )
        return self.generate_with(autoregressive_index, cache, control)


def _fitted(name: str, given: Tensor, leading: tuple[int, ...], each: tuple[int, ...]) -> Tensor:
    """Return `given` as fp64 `[*leading, *each]` on the CPU, repeated over leading dims that it leaves out."""
    frames = leading[-1]
    per_frame = given.dim() > len(each) and given.shape[-len(each) - 1] == frames
    if tuple(given.shape[-len(each) :]) != each or not (per_frame or (name == "intrinsics" and given.dim() == 1)):
        wanted = ", ".join(map(str, (frames, *each)))
        raise ValueError(f"{name} must be [{wanted}], one per frame of this chunk, got {list(given.shape)}")
    if not given.isfinite().all():
        raise ValueError(f"{name} must be finite numbers")
    try:
        return given.to("cpu", torch.float64).expand(*leading, *each)
    except RuntimeError:
        batch = list(leading[:-1])
        raise ValueError(f"{name} of shape {list(given.shape)} do not fit a batch of {batch} videos") from None
