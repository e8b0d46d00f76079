"""The runner of the Wan models: a prompt, and a picture where the model takes one, becomes a clip."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tyro.conf import Suppress

from flashdreams.infra.clip_runner import ClipRunner, ClipRunnerConfig
from flashdreams.infra.media.images import read_picture
from flashdreams.infra.memory.plan import MemoryPlan
from flashdreams.infra.pipeline.base import StreamInferencePipeline
from flashdreams.recipes.wan.pipeline import WanInferencePipeline, WanInferencePipelineConfig

_SPACE_RATIO = 8
"""Pixels along a side of a position that a decoder's network gives, before its `patch_size`."""


@dataclass(kw_only=True)
class WanRunnerConfig(ClipRunnerConfig):
    """Config of `WanRunner`."""

    _target: type = field(default_factory=lambda: WanRunner)

    pipeline: WanInferencePipelineConfig
    """The model."""
    prompt: str
    """The prompt."""
    image: Path | None = None
    """The picture that the clip begins with, for models that take one: a JPEG, PNG or WebP file of any size."""
    events: tuple[tuple[int, str], ...] = ()
    """Text events, for models that dream in chunks: `--events 3 "rain sets in"` is the prompt from chunk 3 on."""
    one_pass: Suppress[bool] = False
    """True for a model that makes its whole video in one autoregressive step."""

    def memory_plan(self) -> MemoryPlan | None:
        plan = super().memory_plan()
        return plan and plan.reading("text encoder", "before")


class WanRunner(ClipRunner):
    """See `WanRunnerConfig`. Prompts are encoded before the network is loaded, so that never both are in memory."""

    config: WanRunnerConfig
    pipeline: WanInferencePipeline

    def check(self, config: WanRunnerConfig) -> None:
        super().check(config)
        check_rollout(config.pipeline, config.height, config.width)
        if config.one_pass and config.chunks != 1:
            raise ValueError(f"chunks must be 1: {config.runner_name} dreams in one pass, got {config.chunks}")
        if config.pipeline.text_encoder is None:
            raise ValueError("pipeline.text_encoder must be there: without one no prompt can be read")
        prompts = [("prompt", config.prompt), *(("events", text) for _, text in config.events)]
        for name, prompt in prompts:
            if not prompt.strip():
                raise ValueError(f"{name} must say what to dream, got an empty text")
        for chunk, count in Counter(chunk for chunk, _ in config.events).items():
            if not 1 <= chunk < config.chunks or count > 1:
                last = config.chunks - 1
                raise ValueError(f"events must name different chunks from 1 to {last}, got chunk {chunk}")
        if not config.pipeline.begins_with_image and config.image is not None:
            raise ValueError(f"image must be left out: {config.runner_name} dreams from text alone")
        if config.pipeline.begins_with_image and config.image is None:
            raise ValueError(f"image is needed: {config.runner_name} begins with a picture")
        self.image = None if config.image is None else read_picture(config.image, config.height, config.width)[None]
        for name, prompt in prompts:  # last, since it takes a tokenizer
            assert config.pipeline.text_encoder is not None
            config.pipeline.text_encoder.check_prompts([prompt], name)

    def build_pipeline(self) -> StreamInferencePipeline[Any, Any, Any]:
        self._embed_prompts()
        return super().build_pipeline()

    def begin(self) -> Any:
        c = self.config
        return self.pipeline.initialize_cache(
            self.embeddings[0],
            self.image,
            **self.pipeline.latent_size(c.height, c.width),
            negative_text=self.negative,
        )

    def generate(self, index: int, cache: Any) -> Tensor:
        if index in self.events:
            self.pipeline.replace_text(cache, self.events[index])
        return self.pipeline.generate(index, cache, *self.controls(index))

    def controls(self, index: int) -> tuple[Any, ...]:
        """Return the pipeline's inputs for chunk `index` beside the cache; here none."""
        return ()

    def _embed_prompts(self) -> None:
        """Embeddings `[1, text_len, text_dim]` of the prompt, the events and the negative prompt."""
        c = self.config
        prompts = [c.prompt, *(text for _, text in c.events)]
        guided = c.pipeline.rollout.guidance_scale > 1
        if guided:
            if c.pipeline.negative_prompt is None:
                raise ValueError(
                    f"guidance_scale {c.pipeline.rollout.guidance_scale} needs pipeline.negative_prompt, may be empty"
                )
            prompts.append(c.pipeline.negative_prompt)
        with torch.no_grad():
            where = torch.device("cpu") if c.pipeline.prompts_on_cpu else self.device
            assert c.pipeline.text_encoder is not None
            with where:
                encoder = c.pipeline.text_encoder.setup().to(where)
            self.embeddings: list[Tensor] = [encoder([prompt]).to(self.device) for prompt in prompts]
        del encoder
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.negative = self.embeddings.pop() if guided else None
        self.events = dict(zip([chunk for chunk, _ in c.events], self.embeddings[1:], strict=True))


def check_rollout(pipeline: WanInferencePipelineConfig, height: int, width: int) -> None:
    """Raise ValueError unless `pipeline` makes one video of `height` x `width` pixels."""
    rollout = pipeline.rollout
    if math.prod(rollout.batch_shape) != 1:
        raise ValueError(f"batch_shape must be (1,), one video at a time, got {rollout.batch_shape}")
    rows, columns = (space_ratio(pipeline) * patch for patch in rollout.network.patch_size[1:])
    if height < rows or width < columns or height % rows or width % columns:
        raise ValueError(f"height and width must be multiples of {rows} and {columns}, got {height} x {width}")


def space_ratio(pipeline: WanInferencePipelineConfig) -> int:
    """Pixels along a side of a latent position."""
    return _SPACE_RATIO * int(getattr(pipeline.decoder, "patch_size", 1))
