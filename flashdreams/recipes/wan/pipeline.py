"""Prompt, and picture where the model takes one, to video: the streaming pipeline of the Wan models."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Annotated, Any, TypedDict

import torch
import tyro
from torch import Tensor

from flashdreams.infra.encoder import Encoder, EncoderConfig
from flashdreams.infra.encoder.text.umt5 import UMT5TextEncoderConfig
from flashdreams.infra.memory.plan import MemoryPlan, PartMemory
from flashdreams.infra.memory.tracker import MetaRollout
from flashdreams.infra.pipeline.base import (
    StreamInferencePipeline,
    StreamInferencePipelineCache,
    StreamInferencePipelineConfig,
)
from flashdreams.infra.temporal import causal_pixel_frames
from flashdreams.recipes.wan.autoencoder.i2v import WanI2VCtrlEncoderConfig, blank_frames
from flashdreams.recipes.wan.transformer.constants import NEGATIVE_PROMPT
from flashdreams.recipes.wan.transformer.impl.network import CLIP_DIM
from flashdreams.recipes.wan.transformer.wan21 import Wan21TransformerConfig
from flashdreams.recipes.wan.transformer.wan22 import Wan22TransformerConfig

CLIP_TOKENS = 257
"""Tokens of a picture: its patches, and one for the whole."""
_SPATIAL_RATIO, _TEMPORAL_RATIO = 8, 4
"""Pixels to a latent position and frames to a latent, where neither a decoder nor an encoder says."""


@dataclass(kw_only=True)
class WanInferencePipelineConfig(StreamInferencePipelineConfig):
    """Config of `WanInferencePipeline`."""

    _target: type = field(default_factory=lambda: WanInferencePipeline)

    text_encoder: EncoderConfig | None = field(default_factory=UMT5TextEncoderConfig)
    """Makes embeddings of prompts; loaded when the first prompt comes. None takes embeddings only."""
    image_encoder: EncoderConfig | None = None
    """Makes embeddings of the picture, for networks with a branch for them; loaded like `text_encoder`."""
    negative_prompt: str | None = NEGATIVE_PROMPT
    """Negative prompt of guidance in rollouts without one of their own; may be empty. None has none."""
    prompts_on_cpu: Annotated[bool, tyro.conf.arg(prefix_name=False)] = False
    """Read prompts and pictures on the CPU: slower, and the GPU needs no room for their encoders."""

    def memory_plan(self, height: int, width: int, *, rollouts: int = 1, processes: int | None = None) -> MemoryPlan:
        """See `StreamInferencePipelineConfig.memory_plan`; raises ValueError for sizes the model cannot dream."""
        plan = super().memory_plan(height, width, rollouts=rollouts, processes=processes)
        assert plan is not None
        readers = {"text encoder": self.text_encoder, "image encoder": self.image_encoder}
        parts = [
            PartMemory(name=name, weights=reader.weight_bytes(), reads=True, when="between")
            for name, reader in readers.items()
            if reader is not None
        ]
        return replace(plan, parts=(*parts, *plan.parts), prompts_on_cpu=self.prompts_on_cpu)

    def __post_init__(self) -> None:
        transformer, network = self.rollout, self.rollout.network
        if network.reads_clip != (self.image_encoder is not None):
            needs = "needs an" if network.reads_clip else "takes no"
            raise ValueError(f"this network {needs} image_encoder (cross_attn_enable_img)")
        if transformer.image_modes is not None and self.encoder is None:
            raise ValueError("a transformer with an image mode needs an encoder, such as WanI2VCtrlEncoderConfig")
        if transformer.image_modes is None and isinstance(self.encoder, WanI2VCtrlEncoderConfig):
            raise ValueError("an encoder of image controls has no use: the transformer has no image mode")
        if self.image_encoder is not None and self.encoder is None:
            raise ValueError("an image_encoder needs an encoder too: without one a rollout takes no picture")
        text, reads = self.text_encoder, (network.text_len, network.text_dim)
        if isinstance(text, UMT5TextEncoderConfig) and (text.text_len, text.dim) != reads:
            makes = f"{text.text_len} x {text.dim}"
            raise ValueError(f"the network reads prompts of {reads[0]} x {reads[1]}, text_encoder makes {makes}")

    @property
    def begins_with_image(self) -> bool:
        """True where a rollout needs a picture to begin with."""
        return self.encoder is not None

    @property
    def rollout(self) -> Wan21TransformerConfig:
        """The transformer's config, or that of one of its two networks."""
        transformer = self.diffusion_model.transformer
        if isinstance(transformer, Wan22TransformerConfig):
            return transformer.transformer_low_noise
        if not isinstance(transformer, Wan21TransformerConfig):
            given = type(transformer).__name__
            raise TypeError(f"transformer must be a Wan21TransformerConfig or a Wan22TransformerConfig, got {given}")
        return transformer


class LatentSize(TypedDict):
    """Size of a latent before patchify."""

    height: int
    width: int


@dataclass(kw_only=True)
class WanInferencePipelineCache(StreamInferencePipelineCache[Any, Any, Any]):
    """All state of one rollout."""

    image: Tensor | None = None
    """The picture `[*batch, 1, 3, H, W]` in [-1, 1] that the rollout begins with."""


class WanInferencePipeline(StreamInferencePipeline[Any, Any, Any]):
    """See `WanInferencePipelineConfig`. A batch has the transformer's `batch_shape`."""

    config: WanInferencePipelineConfig
    text_encoder: Encoder | None
    """Loaded when the first prompt comes."""
    image_encoder: Encoder | None
    """Loaded when the first picture comes."""

    def __init__(self, config: WanInferencePipelineConfig) -> None:
        super().__init__(config)
        self.text_encoder, self.image_encoder = None, None

    @torch.no_grad()
    def initialize_cache(  # type: ignore[override]
        self,
        text: list[str] | Tensor,
        image: Tensor | None = None,
        *,
        height: int | None = None,
        width: int | None = None,
        negative_text: list[str] | Tensor | None = None,
        release_oneshot_encoders: bool = True,
        seed: int | None = None,
        reuse: StreamInferencePipelineCache[Any, Any, Any] | None = None,
    ) -> WanInferencePipelineCache:
        """Return the cache of a rollout of latents of `height` x `width`, which a picture decides where left out.

        These are sizes of the latent before patchify: 60 x 104 for 480 x 832 pixels, see `latent_size`. `text` is one
        prompt per video, or embeddings `[*batch, text_len, text_dim]` of them; so is `negative_text`, which guidance
        needs and which defaults to the config's `negative_prompt`. `image` is `[*batch, 1, 3, H, W]` in [-1, 1], or
        bytes in [0, 255]; an encoder needs one, and without an encoder none is taken. Encoders of prompts and pictures
        are freed afterwards unless told otherwise. `reuse` is as in `StreamInferencePipeline`. Raises ValueError or
        TypeError, before anything is loaded, for an argument that does not fit.
        """
        image = self._checked_image(image)
        height, width = self._checked_size(height, width, image)
        self._check_prompts("text", text)
        negative_text = self._checked_negative(negative_text)
        context: dict[str, Any] = {"text_embeddings": self._embedded(text)}
        if negative_text is not None:
            context["negative_text_embeddings"] = self._embedded(negative_text)
        context |= self._image_context(image)
        if release_oneshot_encoders:
            self.release_oneshot_encoders()
        context |= {"height": height, "width": width}
        base = super().initialize_cache(context, seed=seed, reuse=reuse)
        state = {each.name: getattr(base, each.name) for each in fields(base)}
        return WanInferencePipelineCache(**state, image=image)

    def latent_size(self, height: int, width: int) -> LatentSize:
        """Return the `height` and `width` of `initialize_cache` for a video of so many pixels.

        Raises ValueError for sides that the compression and the patches do not divide.
        """
        rows, columns = self._divided(height, width, "got")
        return LatentSize(height=rows, width=columns)

    def get_num_input_frames(self, autoregressive_index: int) -> int:
        """Return the number of frames that the encoder takes for chunk `autoregressive_index`."""
        return self._pixel_frames(self.encoder, "get_input_temporal_size", autoregressive_index)

    def get_num_output_frames(self, autoregressive_index: int) -> int:
        """Return the number of frames of chunk `autoregressive_index`."""
        return self._pixel_frames(self.decoder, "get_output_temporal_size", autoregressive_index)

    def _pixel_frames(self, codec: Any, method: str, index: int) -> int:
        latents = self.config.rollout.len_t
        if hasattr(codec, method):
            return int(getattr(codec, method)(index, latents))
        return causal_pixel_frames(index, latents, _TEMPORAL_RATIO)

    def _preprocess_i2v_input(self, autoregressive_index: int, image: Tensor) -> Tensor:
        """Return the encoder's frames `[*batch, T, 3, H, W]` of a chunk: the image in the first, grey ones after it."""
        frames = self.get_num_input_frames(autoregressive_index)
        if autoregressive_index > 0:
            return blank_frames(image, frames)
        return torch.cat([image, blank_frames(image, frames - 1)], -4) if frames > 1 else image

    @torch.no_grad()
    def generate(  # type: ignore[override]
        self, autoregressive_index: int, cache: WanInferencePipelineCache
    ) -> Tensor:
        """Generate chunk `autoregressive_index`: video `[*batch, T, 3, H, W]` in [-1, 1], latents without a decoder.

        Errors as in `StreamInferencePipeline.generate`.
        """
        image = None if cache.image is None else self._preprocess_i2v_input(autoregressive_index, cache.image)
        return self.generate_with(autoregressive_index, cache, image)

    def generate_with(self, autoregressive_index: int, cache: WanInferencePipelineCache, input: Any) -> Tensor:
        """Generate a chunk from an `input` of the encoder, as in `StreamInferencePipeline.generate`."""
        return super().generate(autoregressive_index, cache, input)

    @torch.no_grad()
    def replace_text(
        self,
        cache: WanInferencePipelineCache,
        text: list[str] | Tensor,
        *,
        negative_text: list[str] | Tensor | None = None,
        release_oneshot_encoders: bool = False,
    ) -> None:
        """Give a live rollout another prompt, from the next chunk on; its past stays as it was dreamed."""
        self._check_prompts("text", text)
        prompts = [self._embedded(text)]
        if negative_text is not None:
            if self.config.rollout.guidance_scale <= 1:
                raise ValueError(_useless_negative(self.config.rollout.guidance_scale))
            self._check_prompts("negative_text", negative_text)
            prompts.append(self._embedded(negative_text))
        if release_oneshot_encoders:
            self.release_oneshot_encoders()
        transformer: Any = self.diffusion_model.transformer
        transformer.onload()
        transformer.replace_text(cache.transformer_cache, *prompts)

    def release_oneshot_encoders(self) -> None:
        """Free the encoders of prompts and pictures; the next prompt that is not embedded yet loads them again."""
        held = [encoder for encoder in (self.text_encoder, self.image_encoder) if encoder is not None]
        if self.offload_hooks is not None:
            for encoder in held:
                self.offload_hooks.offload(encoder)
        self.text_encoder, self.image_encoder = None, None
        if held and self.device.type == "cuda":
            torch.cuda.empty_cache()

    def blank_rollout(self, height: int, width: int) -> MetaRollout:
        """See `StreamInferencePipeline.blank_rollout`; raises ValueError for sizes the model cannot dream."""
        rollout, size = self.config.rollout, self.latent_size(height, width)
        network, batch = rollout.network, rollout.batch_shape
        prompt = torch.zeros(*batch, network.text_len, network.text_dim, device=self.device, dtype=rollout.dtype)
        context: dict[str, Any] = {**size, "text_embeddings": prompt}
        if rollout.guidance_scale > 1:
            context["negative_text_embeddings"] = prompt
        if network.cross_attn_enable_img:
            context["image_embeddings"] = prompt.new_zeros(*batch, CLIP_TOKENS, CLIP_DIM)
        image = torch.zeros(*batch, 1, 3, height, width, device=self.device)
        return MetaRollout(
            transformer_context=context,
            chunks=rollout.window_chunks,
            joint_chunks=rollout.joint_chunks,
            input=None if self.encoder is None else partial(self._preprocess_i2v_input, image=image),
        )

    def _image_context(self, image: Tensor | None) -> dict[str, Tensor]:
        """Return the transformer's inputs that come from a rollout's picture."""
        if image is None or self.config.image_encoder is None:
            return {}
        return {"image_embeddings": self._embedded_image(image)}

    @property
    def _ratio(self) -> int:
        inner = getattr(self.encoder, "encoder", None)
        for part in (self.decoder, self.encoder, inner):
            if hasattr(part, "spatial_compression_ratio"):
                return int(part.spatial_compression_ratio)  # type: ignore[union-attr, arg-type]
        return _SPATIAL_RATIO

    def _embedded(self, text: list[str] | Tensor) -> Tensor:
        if isinstance(text, Tensor):
            return text.to(self.device)
        assert self.config.text_encoder is not None
        self.text_encoder = self._ready(self.text_encoder, self.config.text_encoder)
        embeddings: Tensor = self.text_encoder(text).to(self.device)
        return embeddings.reshape(*self.config.rollout.batch_shape, *embeddings.shape[1:])

    def _embedded_image(self, image: Tensor) -> Tensor:
        assert self.config.image_encoder is not None
        self.image_encoder = self._ready(self.image_encoder, self.config.image_encoder)
        pictures = image.reshape(-1, *image.shape[-3:])
        embeddings: Tensor = self.image_encoder(pictures.cpu() if self.config.prompts_on_cpu else pictures)
        embeddings = embeddings.to(self.device)
        return embeddings.reshape(*image.shape[:-4], *embeddings.shape[1:])

    def _ready(self, encoder: Encoder | None, config: EncoderConfig) -> Encoder:
        """Return the encoder of prompts or pictures, loaded if it is not, on the device where it reads."""
        waits = self.config.prompts_on_cpu or self.offload_hooks is not None
        if encoder is None:
            where = torch.device("cpu") if waits else self.device
            with where:
                encoder = config.setup().to(where)
        if not self.config.prompts_on_cpu:
            self.onload(encoder)
        return encoder

    def _check_prompts(self, name: str, text: Any, may_be_empty: bool = False) -> None:
        if isinstance(text, Tensor):
            return  # the transformer knows the shape it wants
        if self.config.text_encoder is None:
            raise ValueError(f"{name} must be embeddings: the config's text_encoder is None, got {text!r}")
        if not isinstance(text, list) or not all(isinstance(prompt, str) for prompt in text):
            raise TypeError(f"{name} must be a list of prompts or a tensor of embeddings, got {text!r}")
        count = math.prod(self.config.rollout.batch_shape)
        if len(text) != count:
            raise ValueError(f"{name} must have {count} prompts, one per video, got {len(text)}")
        for i, prompt in enumerate(text):
            if not prompt.strip() and not may_be_empty:
                raise ValueError(f"{name}[{i}] is empty: say what to dream")
        self.config.text_encoder.check_prompts(text, name)

    def _checked_negative(self, negative: list[str] | Tensor | None) -> list[str] | Tensor | None:
        rollout = self.config.rollout
        if rollout.guidance_scale <= 1:
            if negative is not None:
                raise ValueError(_useless_negative(rollout.guidance_scale))
            return None
        if negative is None:
            if self.config.negative_prompt is None:
                scale = rollout.guidance_scale
                raise ValueError(f"guidance_scale {scale} needs negative_text or the config's negative_prompt")
            negative = [self.config.negative_prompt] * math.prod(rollout.batch_shape)
        self._check_prompts("negative_text", negative, may_be_empty=True)
        return negative

    def _checked_image(self, image: Tensor | None) -> Tensor | None:
        """Return the picture in [-1, 1] on the model's device."""
        if not self.config.begins_with_image:
            if image is not None:
                raise ValueError("image must be None: this model dreams from text alone")
            return None
        batch = self.config.rollout.batch_shape
        wanted = f"[{', '.join([*map(str, batch), '1', '3', 'H', 'W'])}]"
        if image is None:
            raise ValueError(f"image {wanted} is needed: this model begins with a picture")
        if not isinstance(image, Tensor):
            raise TypeError(f"image must be a tensor {wanted}, got {type(image).__name__}")
        if tuple(image.shape[:-2]) == (*batch, 3):
            image = image.unsqueeze(-4)
        if tuple(image.shape[:-2]) != (*batch, 1, 3):
            raise ValueError(f"image must be {wanted}, got {list(image.shape)}")
        if image.dtype == torch.uint8:
            image = image.float() / 127.5 - 1
        if not image.is_floating_point():
            raise TypeError(f"image must hold floats in [-1, 1] or bytes, got {image.dtype}")
        low, high = (float(bound) for bound in torch.aminmax(image))
        if not (low >= -1.001 and high <= 1.001):
            raise ValueError(f"image must be in [-1, 1], got values from {low:g} to {high:g}")
        return image.to(self.device)

    def _checked_size(self, height: int | None, width: int | None, image: Tensor | None) -> tuple[int, int]:
        """Return the size of the latents."""
        if image is not None:
            rows, columns = image.shape[-2:]
            size = self._divided(rows, columns, "the image is")
            for name, given, actual in (("height", height, size[0]), ("width", width, size[1])):
                if given not in (None, actual):
                    raise ValueError(f"{name} must be that of the image's latent, {actual}, or left out, got {given}")
            return size
        if height is None or width is None:
            raise ValueError(f"height and width of the latent are needed without an image, got {height} and {width}")
        _, rows, columns = self.config.rollout.network.patch_size
        if height < rows or width < columns or height % rows or width % columns:
            rule = f"height and width of the latent must be multiples of {rows} and {columns}"
            raise ValueError(f"{rule}, got {height} x {width}")
        return height, width

    def _divided(self, height: int, width: int, given: str) -> tuple[int, int]:
        """Return the size of the latents of so many pixels."""
        _, rows, columns = self.config.rollout.network.patch_size
        unit_h, unit_w = rows * self._ratio, columns * self._ratio
        if height < unit_h or width < unit_w or height % unit_h or width % unit_w:
            rule = f"height and width must be multiples of {unit_h} and {unit_w}"
            near = f"{max(1, round(height / unit_h)) * unit_h} x {max(1, round(width / unit_w)) * unit_w}"
            raise ValueError(f"{rule}, {given} {height} x {width} pixels; near it is {near}")
        return height // self._ratio, width // self._ratio


def _useless_negative(scale: float) -> str:
    return f"negative_text has no use with guidance_scale {scale}: leave it out, or set the scale above 1"
