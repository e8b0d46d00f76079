"""The runner: random controls in, frames out, chunk after chunk."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from safetensors.torch import save_file

from flashdreams.infra.pipeline.base import StreamInferencePipeline
from flashdreams.infra.runner import Runner, RunnerConfig
from flashdreams.recipes.template.transformer import TemplateTransformerConfig

__all__ = ["TemplateRunner", "TemplateRunnerConfig"]


@dataclass(kw_only=True)
class TemplateRunnerConfig(RunnerConfig):
    """Config of `TemplateRunner`."""

    _target: type[TemplateRunner] = field(default_factory=lambda: TemplateRunner)

    device: str = "auto"
    """Device to run on: auto takes cuda, then mps, then cpu."""
    num_ar_steps: int = 1
    """Chunks to make."""
    height: int = 6
    """Rows of a latent."""
    width: int = 4
    """Columns of a latent."""
    batch_size: int = 1
    """Videos at once."""
    n_context_tokens: int = 4
    """Context tokens, such as those of a prompt."""
    seed: int = 42
    """Seed of the context and the controls."""


class TemplateRunner(Runner[TemplateRunnerConfig, StreamInferencePipeline]):
    """See `TemplateRunnerConfig`."""

    def run(self) -> None:
        """Make the chunks, and write their frames `[B, T, C, H, W]` to a file in the output folder."""
        c, transformer = self.config, self.config.pipeline.diffusion_model.transformer
        assert isinstance(transformer, TemplateTransformerConfig)
        rng = torch.Generator().manual_seed(c.seed)
        context = torch.randn(c.batch_size, c.n_context_tokens, transformer.network.context_channels, generator=rng)
        cache = self.pipeline.initialize_cache(
            transformer_context={"height": c.height, "width": c.width, "context": context.to(self.pipeline.device)}
        )
        channels, chunks = getattr(c.pipeline.encoder, "control_channels", 0), []
        for index in range(c.num_ar_steps):
            control = torch.randn(c.batch_size, transformer.len_t, channels, c.height, c.width, generator=rng)
            chunks.append(self.pipeline.generate(index, cache, control.to(self.pipeline.device)))
            timings = self.pipeline.finalize(index, cache)
            if self.is_rank_zero:
                print(f"chunk {index}: {list(chunks[-1].shape)}", timings or "")
        folder = self.prepare_output_dir()
        if folder is not None:
            save_file({"frames": torch.cat(chunks, 1).cpu()}, folder / f"{c.runner_name}.safetensors")
