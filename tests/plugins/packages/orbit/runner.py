"""The runner: a picture, a prompt and a turn of the camera; frames and times go to files."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch

from flashdreams.infra.decoder import StreamingVideoDecoder
from flashdreams.infra.runner import Runner, RunnerConfig
from orbit.pipeline import OrbitPipeline


@dataclass(kw_only=True)
class OrbitRunnerConfig(RunnerConfig):
    """Config of `OrbitRunner`."""

    _target: type = field(default_factory=lambda: OrbitRunner)

    device: str = "cpu"
    prompt: str | Path = "a lighthouse by night"
    total_blocks: int = 4
    pixel_height: int = 32
    pixel_width: int = 48


class OrbitRunner(Runner[OrbitRunnerConfig, OrbitPipeline]):
    """Batches have the shape of the transformer's config, here `[1, 1]`."""

    config: OrbitRunnerConfig

    def run(self) -> None:
        config, decoder = self.config, self.pipeline.decoder
        assert isinstance(decoder, StreamingVideoDecoder)
        assert config.pixel_height % decoder.spatial_compression_ratio == 0
        prompt = config.prompt.read_text().split("\n")[0] if isinstance(config.prompt, Path) else config.prompt
        image = torch.linspace(-1, 1, config.pixel_width).expand(1, 1, 1, 3, config.pixel_height, -1)
        cache = self.pipeline.initialize_cache(text=[prompt], image=image.to(self.pipeline.device, torch.bfloat16))
        chunks, history, start = [], [], 0
        for index in range(config.total_blocks):
            end = start + self.pipeline.get_num_output_frames(index)
            angles = torch.stack([torch.arange(start, end) / 10, torch.zeros(end - start)], -1)[None, None]
            chunks.append(self.pipeline.generate(autoregressive_index=index, cache=cache, input=angles).cpu())
            stats = self.pipeline.finalize(autoregressive_index=index, cache=cache)
            if stats is not None:
                history.append({"autoregressive_index": index, **stats})
            start = end
        video = torch.cat(chunks, dim=2)
        if not self.is_rank_zero:
            return
        config.output_dir.mkdir(parents=True, exist_ok=True)
        torch.save(video, config.output_dir / f"{config.runner_name}.pt")
        (config.output_dir / "stats.json").write_text(json.dumps(history))
