"""Picture and controls to video: Matrix-Game 2.0's streaming pipeline."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from flashdreams.infra.encoder import EncoderConfig
from flashdreams.infra.encoder.image.clip import CLIPImageEncoderConfig
from flashdreams.infra.memory.tracker import MetaRollout
from flashdreams.infra.pipeline.base import StreamInferencePipelineCache
from flashdreams.infra.temporal import causal_pixel_frames
from flashdreams.integrations.matrix_game2.network import FRAMES_PER_LATENT
from flashdreams.integrations.matrix_game2.transformer import MatrixGameCtrl, MatrixGameTransformerConfig
from flashdreams.recipes.wan import I2VCtrlEncoder, I2VCtrlEncoderCache, WanI2VCtrlEncoderConfig
from flashdreams.recipes.wan.pipeline import (
    WanInferencePipeline,
    WanInferencePipelineCache,
    WanInferencePipelineConfig,
)


@dataclass(kw_only=True)
class MatrixGameInput:
    """Input of the encoder for each chunk."""

    frames: Tensor
    """The frames `[*batch, F, 3, H, W]` of a video that begins with the rollout's picture and is grey from then on."""
    keyboard: Tensor
    """`[*batch, F, K]`."""
    mouse: Tensor | None = None
    """Pitch and yaw `[*batch, F, 2]`; None for a model without a mouse."""


@dataclass(kw_only=True)
class MatrixGameCtrlEncoderConfig(WanI2VCtrlEncoderConfig):
    """Config of `MatrixGameCtrlEncoder`."""

    _target: type = field(default_factory=lambda: MatrixGameCtrlEncoder)


class MatrixGameCtrlEncoder(I2VCtrlEncoder):
    """A `MatrixGameInput` per chunk -> `MatrixGameCtrl`."""

    @torch.no_grad()
    def forward(  # type: ignore[override]
        self, input: MatrixGameInput, autoregressive_index: int = 0, cache: I2VCtrlEncoderCache | None = None
    ) -> MatrixGameCtrl:
        """Return the control of chunk `autoregressive_index`; `cache=None` is a one-shot call."""
        image = super().forward(input.frames, autoregressive_index, cache)
        return MatrixGameCtrl(latent=image.latent, mask=image.mask, keyboard=input.keyboard, mouse=input.mouse)


@dataclass(kw_only=True)
class MatrixGamePipelineConfig(WanInferencePipelineConfig):
    """Config of `MatrixGamePipeline`."""

    _target: type = field(default_factory=lambda: MatrixGamePipeline)

    text_encoder: EncoderConfig | None = None
    """None: the model reads no prompt."""
    image_encoder: EncoderConfig | None = field(default_factory=CLIPImageEncoderConfig)
    """Makes embeddings of the picture; loaded when the first picture comes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.text_encoder is not None:
            raise ValueError("text_encoder must be None: the model reads no prompt")
        if not isinstance(self.encoder, MatrixGameCtrlEncoderConfig):
            raise ValueError(f"encoder must be a MatrixGameCtrlEncoderConfig, got {type(self.encoder).__name__}")

    @property
    def rollout(self) -> MatrixGameTransformerConfig:
        """The transformer's config."""
        transformer = self.diffusion_model.transformer
        if not isinstance(transformer, MatrixGameTransformerConfig):
            raise TypeError(f"transformer must be a MatrixGameTransformerConfig, got {type(transformer).__name__}")
        return transformer


class MatrixGamePipeline(WanInferencePipeline):
    """See `MatrixGamePipelineConfig`."""

    config: MatrixGamePipelineConfig

    @torch.no_grad()
    def initialize_cache(  # type: ignore[override]
        self,
        image: Tensor,
        *,
        height: int | None = None,
        width: int | None = None,
        release_oneshot_encoders: bool = True,
        seed: int | None = None,
        reuse: StreamInferencePipelineCache | None = None,
    ) -> WanInferencePipelineCache:
        """Return the cache of a rollout that begins with `image [*batch, 1, 3, H, W]` in [-1, 1].

        All else is as in `WanInferencePipeline`.
        """
        checked = self._checked_image(image)
        assert checked is not None
        return super().initialize_cache(
            self._embedded_image(checked),
            checked,
            height=height,
            width=width,
            release_oneshot_encoders=release_oneshot_encoders,
            seed=seed,
            reuse=reuse,
        )

    @torch.no_grad()
    def generate(  # type: ignore[override]
        self, autoregressive_index: int, cache: WanInferencePipelineCache, keyboard: Tensor, mouse: Tensor | None = None
    ) -> Tensor:
        """Generate chunk `autoregressive_index`: video `[*batch, T, 3, H, W]` in [-1, 1].

        `keyboard [F, K]` and `mouse [F, 2]` (or with leading `*batch`) are the vectors of the chunk's frames: `1 + 4
        (len_t - 1)` in the first, `4 len_t` in all others. Raises ValueError for other shapes and for numbers that are
        not finite.
        """
        assert cache.image is not None
        network = self.config.rollout.network
        control = MatrixGameInput(
            frames=self._preprocess_i2v_input(autoregressive_index, cache.image),
            keyboard=self._fitted("keyboard", keyboard, autoregressive_index, network.keyboard_dim),
            mouse=None if mouse is None else self._fitted("mouse", mouse, autoregressive_index, network.mouse_dim),
        )
        if (mouse is None) != (network.mouse_dim == 0):
            raise ValueError(
                f"mouse must be {'left out' if mouse is not None else 'given'}: see mouse_dim of the network"
            )
        return self.generate_with(autoregressive_index, cache, control)

    def blank_rollout(self, height: int, width: int) -> MetaRollout:
        """Return a blank rollout in which nothing is pressed."""
        blank = super().blank_rollout(height, width)

        def input(chunk: int) -> MatrixGameInput:
            return MatrixGameInput(frames=blank.input(chunk), **self._still(chunk))

        def control(later: MatrixGameCtrl, chunk: int) -> MatrixGameCtrl:
            still = self._still(chunk)
            return replace(later, keyboard=still["keyboard"], mouse=still.get("mouse"))

        return replace(blank, input=input, control_of_chunk=control)

    def _still(self, chunk: int) -> dict[str, Tensor]:
        """Return the vectors of a chunk in which nothing is pressed."""
        c = self.config.rollout
        shape = (*c.batch_shape, causal_pixel_frames(chunk, c.len_t, FRAMES_PER_LATENT))
        sizes = {"keyboard": c.network.keyboard_dim, "mouse": c.network.mouse_dim}
        return {name: torch.zeros(*shape, size, device=self.device) for name, size in sizes.items() if size}

    def _image_context(self, image: Tensor | None) -> dict[str, Tensor]:
        return {}  # the features are in the place of the prompt

    def _fitted(self, name: str, given: Tensor, chunk: int, size: int) -> Tensor:
        """Return `given` with a batch's dims, on the model's device."""
        c = self.config.rollout
        frames = causal_pixel_frames(chunk, c.len_t, FRAMES_PER_LATENT)
        wanted = (*c.batch_shape, frames, size)
        if tuple(given.shape) not in (wanted, wanted[-2:]):
            raise ValueError(f"{name} must be [{frames}, {size}] for chunk {chunk}, got {list(given.shape)}")
        if not given.isfinite().all():
            raise ValueError(f"{name} must be finite numbers")
        return given.to(self.device).expand(wanted)
