"""Programs as the documents teach them: own parts by the documented names alone, a loop, a derived config."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from flashdreams.configs import all_runners, register_runner
from flashdreams.infra.config import derive_config
from flashdreams.infra.decoder import DecoderConfig, StreamingDecoder, StreamingDecoderCache
from flashdreams.infra.diffusion.model import DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler import (
    FlowMatchEulerDiscreteSchedulerConfig,
    FlowMatchSchedulerConfig,
    FlowMatchUniPCSchedulerConfig,
    Scheduler,
    SchedulerConfig,
)
from flashdreams.infra.diffusion.transformer import Transformer, TransformerAutoregressiveCache, TransformerConfig
from flashdreams.infra.encoder import EncoderConfig, StreamingEncoder, StreamingEncoderCache
from flashdreams.infra.pipeline import (
    StreamInferencePipeline,
    StreamInferencePipelineCache,
    StreamInferencePipelineConfig,
)
from flashdreams.infra.runner import Runner, RunnerConfig


@dataclass(kw_only=True)
class PulseCache(TransformerAutoregressiveCache):
    height: int
    seen: list[int] = field(default_factory=list)

    def start(self, autoregressive_index: int) -> None:
        self.seen.append(autoregressive_index)


@dataclass(kw_only=True)
class PulseTransformerConfig(TransformerConfig):
    _target: type[Transformer] = field(default_factory=lambda: PulseTransformer)
    dim: int = 4


class PulseTransformer(Transformer[PulseCache]):
    def __init__(self, config: PulseTransformerConfig) -> None:
        super().__init__(config)
        self.mix = nn.Linear(config.dim, config.dim)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (1, 6, self.config.dim)

    def initialize_autoregressive_cache(self, *, height: int, **_unused: Any) -> PulseCache:
        return PulseCache(height=height)

    def predict_flow(self, noisy_latent: Tensor, timestep: Tensor, cache: PulseCache, input: Any = None) -> Tensor:
        return self.mix(noisy_latent) + (0 if input is None else input)

    def patchify_and_maybe_split_cp(self, x: Any) -> Any:
        return x.flatten(1, 2)

    def unpatchify_and_maybe_gather_cp(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (2, 3))


@dataclass(kw_only=True)
class ControlConfig(EncoderConfig):
    _target: type[StreamingEncoder] = field(default_factory=lambda: Control)
    gain: float = 2.0


class Control(StreamingEncoder[StreamingEncoderCache]):
    def __init__(self, config: ControlConfig) -> None:
        super().__init__(config)

    def forward(self, input: Tensor, autoregressive_index: int = 0, cache: Any = None) -> Tensor:
        return input * self.config.gain

    def initialize_autoregressive_cache(self, **_context: Any) -> StreamingEncoderCache:
        return StreamingEncoderCache()


@dataclass(kw_only=True)
class FramesConfig(DecoderConfig):
    _target: type[StreamingDecoder] = field(default_factory=lambda: Frames)


class Frames(StreamingDecoder[StreamingDecoderCache]):
    def __init__(self, config: FramesConfig) -> None:
        super().__init__(config)

    def forward(self, input: Tensor, autoregressive_index: int = 0, cache: Any = None) -> Tensor:
        return input.tanh()

    def initialize_autoregressive_cache(self, **_context: Any) -> StreamingDecoderCache:
        return StreamingDecoderCache()


Cache = StreamInferencePipelineCache[StreamingEncoderCache, PulseCache, StreamingDecoderCache]


@dataclass(kw_only=True)
class PulsePipelineConfig(StreamInferencePipelineConfig):
    _target: type[StreamInferencePipeline] = field(default_factory=lambda: PulsePipeline)
    tint: float = 0.5


class PulsePipeline(StreamInferencePipeline[StreamingEncoderCache, PulseCache, StreamingDecoderCache]):
    config: PulsePipelineConfig

    def generate(self, autoregressive_index: int, cache: Cache, input: Any = None) -> Tensor:
        return super().generate(autoregressive_index, cache, input) * self.config.tint


PIPELINE = PulsePipelineConfig(
    name="pulse",
    encoder=ControlConfig(),
    diffusion_model=DiffusionModelConfig(
        transformer=PulseTransformerConfig(), scheduler=FlowMatchSchedulerConfig(), seed=1
    ),
    decoder=FramesConfig(),
)


@dataclass(kw_only=True)
class PulseRunnerConfig(RunnerConfig):
    _target: type[Runner] = field(default_factory=lambda: PulseRunner)
    chunks: int = 2


class PulseRunner(Runner[PulseRunnerConfig, PulsePipeline]):
    def run(self) -> None:
        cache = self.pipeline.initialize_cache(transformer_context={"height": 2, "width": 9})
        for i in range(self.config.chunks):
            video = self.pipeline.generate(i, cache, input=torch.ones(1, 2, 3, 4, device=self.pipeline.device))
            self.pipeline.finalize(i, cache)
        if self.is_rank_zero:
            (self.config.output_dir / f"{self.world_size}-{self.local_rank}.txt").write_text(str([*video.shape]))


def test_the_loop_runs_and_reports_the_documented_times() -> None:
    pipeline = derive_config(base_config=PIPELINE, enable_sync_and_profile=True).setup()
    cache = pipeline.initialize_cache(transformer_context={"height": 2}, encoder_context={}, decoder_context={})
    for i in range(3):
        video = pipeline.generate(autoregressive_index=i, cache=cache, input=torch.zeros(1, 2, 3, 4))
        times = pipeline.finalize(autoregressive_index=i, cache=cache)
        assert video.shape == (1, 2, 3, 4) and video.abs().max() <= 0.5
        stages = ("encode", "diffuse", "decode", "finalize", "total")
        assert set(times) == {*(f"{stage}_ms" for stage in stages), "total_ms_wo_finalize"}
    assert cache.transformer_cache.seen == [0, 1, 2]


@pytest.mark.parametrize(
    "scheduler",
    [
        FlowMatchUniPCSchedulerConfig(num_inference_steps=3),
        FlowMatchEulerDiscreteSchedulerConfig(num_inference_steps=2),
    ],
)
def test_a_derived_config_takes_another_scheduler_and_leaves_its_base(scheduler: SchedulerConfig) -> None:
    derived = derive_config(PIPELINE, name="other", diffusion_model={"scheduler": scheduler, "seed": 4}, decoder=None)
    assert PIPELINE.decoder is not None and PIPELINE.diffusion_model.seed == 1
    pipeline = derived.setup()
    cache = pipeline.initialize_cache({"height": 2}, decoder_context={"ignored": True})
    latent = pipeline.generate(0, cache, torch.zeros(1, 2, 3, 4))
    assert latent.shape == (1, 2, 3, 4) and latent.isfinite().all()


def test_an_own_scheduler_needs_no_more_than_its_two_methods() -> None:
    class Once(Scheduler):
        def __init__(self, config: SchedulerConfig) -> None:
            super().__init__(config)

        def sample(self, initial_noise: Tensor, predict_flow: Any, rng: torch.Generator | None = None) -> Tensor:
            return initial_noise - predict_flow(initial_noise, torch.tensor(1000.0))

        def add_noise(self, clean_input: Tensor, timestep: Tensor, rng: torch.Generator | None = None) -> Tensor:
            return clean_input

    pipeline = derive_config(PIPELINE, diffusion_model={"scheduler": SchedulerConfig(_target=Once)}).setup()
    cache = pipeline.initialize_cache({"height": 2})
    assert pipeline.generate(0, cache, torch.zeros(1, 2, 3, 4)).isfinite().all()
    with pytest.raises(TypeError, match="abstract"):
        SchedulerConfig().setup()


def test_a_runner_is_registered_and_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flashdreams.configs.registry._registered", {})
    runner = PulseRunnerConfig(runner_name="pulse", pipeline=PIPELINE, output_dir=tmp_path, device="cpu")
    register_runner("pulse", runner, source="a test")
    all_runners()["pulse"].setup().run()
    assert (tmp_path / "1-0.txt").read_text() == "[1, 2, 3, 4]"
