"""The streaming pipeline: encode, denoise and decode one chunk per call, all rollout state in a cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Annotated, Any, Generic, NamedTuple, Self

import torch
import tyro
from torch import Tensor, nn

from flashdreams.core import distributed
from flashdreams.infra.config.base import InstantiateConfig, replace_everywhere
from flashdreams.infra.decoder.base import DecoderConfig, StreamingDecoder, StreamingDecoderCacheT
from flashdreams.infra.diffusion.model.base import DiffusionModel, DiffusionModelConfig
from flashdreams.infra.diffusion.transformer.base import Transformer, TransformerCacheT
from flashdreams.infra.encoder.base import EncoderConfig, StreamingEncoder, StreamingEncoderCacheT
from flashdreams.infra.memory.offload import OffloadHooks
from flashdreams.infra.memory.plan import MemoryPlan
from flashdreams.infra.memory.planner import plan_memory
from flashdreams.infra.memory.tracker import MetaRollout
from flashdreams.infra.profiler import EventProfiler, profile_of, record_event
from flashdreams.infra.runtime.restore import restore_state
from flashdreams.infra.runtime.side_stream import SideStream
from flashdreams.infra.runtime.state import copy_state


@dataclass(kw_only=True)
class StreamInferencePipelineConfig(InstantiateConfig):
    """Config of `StreamInferencePipeline`."""

    _target: type = field(default_factory=lambda: StreamInferencePipeline)

    name: str
    """Name of the pipeline."""
    diffusion_model: DiffusionModelConfig
    """Model that generates the latents."""
    decoder: DecoderConfig | None = None
    """Decoder of the latents; None returns the latents."""
    encoder: EncoderConfig | None = None
    """Encoder of the input of each chunk; None if chunks take no input."""
    enable_sync_and_profile: bool = False
    """Let `finalize` wait for the device and report the time of each stage."""
    offload: Annotated[bool, tyro.conf.arg(prefix_name=False)] = False
    """Keep only the network that works on the GPU: slower, in much less memory."""
    finalize_aside: bool = False
    """On a GPU, run `finalize` on a stream of its own, beside the decoder and what comes after it."""

    def memory_plan(
        self, height: int, width: int, *, rollouts: int = 1, processes: int | None = None
    ) -> MemoryPlan | None:
        """Return the memory plan of `rollouts` rollouts of `height` x `width` pixels, each shared by `processes`.

        `processes` defaults to the present number. Nothing is loaded. Returns None for a pipeline without
        `blank_rollout`.
        """
        return plan_memory(self, height, width, rollouts=rollouts, processes=processes)


@dataclass(kw_only=True)
class StreamInferencePipelineCache(Generic[StreamingEncoderCacheT, TransformerCacheT, StreamingDecoderCacheT]):
    """All state of one rollout."""

    transformer_cache: TransformerCacheT
    """KV caches, sizes and the random generator."""
    encoder_cache: StreamingEncoderCacheT | None = None
    """State of the streaming encoder."""
    decoder_cache: StreamingDecoderCacheT | None = None
    """State of the streaming decoder."""
    final_state: DiffusionModel.FinalState[TransformerCacheT] | None = None
    """The newest chunk, which `finalize` writes into the KV cache."""
    autoregressive_index: int | None = None
    """Index of the newest chunk; None before the first."""
    event_profiler: EventProfiler | None = None
    """Times of the newest chunk's stages: `encode`, `diffuse`, `decode`, `finalize`."""
    finalized: bool = False
    """True once the newest chunk is in the KV cache."""
    side_stream: SideStream | None = None
    """Stream on which `finalize` runs; None for the current one."""

    def snapshot(self) -> Self:
        """Return a copy of the rollout as it stands, of the same type and independent of this one.

        It can be continued.
        """
        self.join()
        duplicate: Self = copy_state(self)
        return duplicate

    def restore(self, snapshot: Self) -> None:
        """Go back to what `snapshot` holds, which stays as it is and can be restored again.

        Where sizes are the same, KV buffers and captured graphs stay.
        """
        if type(snapshot) is not type(self):
            raise TypeError(f"snapshot must be a {type(self).__name__}, got {type(snapshot).__name__}")
        snapshot.join()
        self.join()
        duplicate = restore_state(self, snapshot)
        for each in fields(self):
            setattr(self, each.name, getattr(duplicate, each.name))

    def join(self) -> None:
        """Let later work wait for a `finalize` that may still run."""
        if self.side_stream is not None:
            self.side_stream.join()


class PipelineRow(NamedTuple):
    """The next chunk of a rollout: the arguments of `StreamInferencePipeline.generate`."""

    chunk: int
    cache: StreamInferencePipelineCache[Any, Any, Any]
    input: Any = None


class StreamInferencePipeline(nn.Module, Generic[StreamingEncoderCacheT, TransformerCacheT, StreamingDecoderCacheT]):
    """One loaded model that serves many rollouts, of any sizes and interleaved in any order.

    Under torchrun the processes share the tokens of every chunk: all must make the same calls in the same order, and
    all have the whole result.
    """

    encoder: StreamingEncoder[StreamingEncoderCacheT] | None
    """Encoder of each chunk's input."""
    decoder: StreamingDecoder[StreamingDecoderCacheT] | None
    """Decoder of each chunk's latent."""
    diffusion_model: DiffusionModel[TransformerCacheT]
    """Transformer and scheduler."""

    def __init__(self, config: StreamInferencePipelineConfig) -> None:
        super().__init__()
        if config.offload and config.finalize_aside:
            raise ValueError("finalize_aside must be off with offload: offloaded networks cannot run in parallel")
        if config.offload:  # A graph knows the addresses that weights have, and they move.
            config = replace_everywhere(config, use_cuda_graph=False)
        self.config = config
        self.offload_hooks: OffloadHooks | None = None
        self.encoder = config.encoder.setup() if config.encoder else None
        self.diffusion_model = config.diffusion_model.setup()
        if distributed.world_size() > 1:
            self.diffusion_model.transformer.set_context_parallel_group(distributed.all_processes())
        self.decoder = config.decoder.setup() if config.decoder else None
        for role, part in (("encoder", self.encoder), ("decoder", self.decoder)):
            if part is not None and not hasattr(part, "initialize_autoregressive_cache"):
                raise TypeError(f"{role} must be a streaming {role}, got the one-shot {type(part).__name__}")

    @property
    def device(self) -> torch.device:
        """Device of the diffusion model."""
        return self.diffusion_model.device

    def blank_rollout(self, height: int, width: int) -> MetaRollout | None:
        """Return the rollout that a memory plan for `height` x `width` pixels runs; None if no plan can be made."""
        return None

    def offload_to(self, device: torch.device) -> None:
        """Work on `device` from now on, with no more than one network there; the others wait on the CPU.

        Raises ValueError without the config's `offload`, which has consequences when a pipeline is built.
        """
        if not self.config.offload:
            raise ValueError("offload must be set in the config of a pipeline with offloaded networks")
        self.offload_hooks = OffloadHooks(device)
        self.diffusion_model.scheduler.to(device)
        for module in self.modules():
            if isinstance(module, Transformer):
                module.offload_hooks = self.offload_hooks

    def onload(self, part: nn.Module) -> None:
        """Move `part` to the device if networks are offloaded."""
        if self.offload_hooks is not None:
            self.offload_hooks.onload(part)

    @torch.no_grad()
    def initialize_cache(
        self,
        transformer_context: dict[str, Any] | None = None,
        encoder_context: dict[str, Any] | None = None,
        decoder_context: dict[str, Any] | None = None,
        *,
        seed: int | None = None,
        reuse: StreamInferencePipelineCache[Any, Any, Any] | None = None,
    ) -> StreamInferencePipelineCache[StreamingEncoderCacheT, TransformerCacheT, StreamingDecoderCacheT]:
        """Return the cache of a new rollout; each context holds keywords of a part's `initialize_autoregressive_cache`.

        `seed` replaces the config's seed for this rollout. `reuse` is the cache of a rollout that is over: where the
        new one has its size, KV buffers and captured graphs are used again. The context of a missing part is ignored.
        """
        transformer, context = self.diffusion_model.transformer, transformer_context or {}
        transformer.onload()
        if reuse is None or reuse.transformer_cache is None:
            transformer_cache = transformer.initialize_autoregressive_cache(**context)
        else:
            reuse.join()
            transformer_cache = transformer.reuse_autoregressive_cache(reuse.transformer_cache, **context)
            reuse.transformer_cache, reuse.final_state = None, None
        self.diffusion_model.seed_rollout(transformer_cache, seed)
        return StreamInferencePipelineCache(
            transformer_cache=transformer_cache,
            encoder_cache=_initialize(self.encoder, encoder_context),
            decoder_cache=_initialize(self.decoder, decoder_context),
            event_profiler=EventProfiler(self.device),
            side_stream=SideStream(self.device) if self.config.finalize_aside else None,
        )

    @torch.no_grad()
    def generate(
        self,
        autoregressive_index: int,
        cache: StreamInferencePipelineCache[StreamingEncoderCacheT, TransformerCacheT, StreamingDecoderCacheT],
        input: Any = None,
    ) -> Tensor:
        """Generate chunk `autoregressive_index`: the decoder's output, or the clean latent without a decoder.

        The index is 0 first and then goes up by one. Raises ValueError for any other, for an `input` without an encoder
        and for an encoder without `input`. A chunk that is not finalized before the next one stays in the KV cache as
        its last denoising step left it.
        """
        index = autoregressive_index
        self._check_generate(index, cache, input)
        with self._stage("encode", cache, self.encoder):
            if self.encoder is not None:
                input = self.encoder(input=input, autoregressive_index=index, cache=cache.encoder_cache)
        with self._stage("diffuse", cache, self.diffusion_model.transformer):
            output, final_state = self.diffusion_model.generate(index, cache.transformer_cache, input)
        with self._stage("decode", cache, self.decoder):
            if self.decoder is not None:
                output = self.decoder(
                    input=output, autoregressive_index=autoregressive_index, cache=cache.decoder_cache
                )
        cache.final_state, cache.autoregressive_index, cache.finalized = final_state, index, False
        return output

    @property
    def takes_rows(self) -> bool:
        """True where `generate_rows` can be called."""
        return self.diffusion_model.takes_rows and not self.config.offload

    @torch.no_grad()
    def generate_rows(self, rows: Sequence[PipelineRow]) -> list[Callable[[], Tensor]]:
        """Denoise the next chunks of several rollouts of one size as the rows of one batch.

        Returns for each row a function to be called once, which decodes it: what `generate` returns, but for the
        rounding of matrix products, which may depend on the number of rows. Errors as in `generate`.
        """
        for row in rows:
            self._check_generate(*row)
        inputs = []
        for index, cache, input in rows:
            with self._stage("encode", cache, self.encoder):
                if self.encoder is not None:
                    input = self.encoder(input=input, autoregressive_index=index, cache=cache.encoder_cache)
            inputs.append((index, cache.transformer_cache, input))
        with ExitStack() as stages:
            for row in rows:
                stages.enter_context(self._stage("diffuse", row.cache, self.diffusion_model.transformer))
            found = self.diffusion_model.generate_rows(inputs)
        return [partial(self._finish_row, row, *each) for row, each in zip(rows, found, strict=True)]

    def _finish_row(self, row: PipelineRow, latent: Tensor, final_state: DiffusionModel.FinalState[Any]) -> Tensor:
        cache = row.cache
        with torch.no_grad(), self._stage("decode", cache, self.decoder):
            if self.decoder is not None:
                latent = self.decoder(input=latent, autoregressive_index=row.chunk, cache=cache.decoder_cache)
        cache.final_state, cache.autoregressive_index, cache.finalized = final_state, row.chunk, False
        return latent

    @torch.no_grad()
    def finalize(
        self,
        autoregressive_index: int,
        cache: StreamInferencePipelineCache[StreamingEncoderCacheT, TransformerCacheT, StreamingDecoderCacheT],
    ) -> dict[str, float] | None:
        """Write the chunk just generated into the KV cache; show the chunk first.

        Returns the chunk's timings with `enable_sync_and_profile`, else None. Raises RuntimeError when no chunk waits
        for it, ValueError for an index that is not the newest chunk's.
        """
        if cache.final_state is None or cache.finalized:
            raise RuntimeError(f"finalize({autoregressive_index}) needs a generate({autoregressive_index}) before it")
        if autoregressive_index != cache.autoregressive_index:
            raise ValueError(f"only chunk {cache.autoregressive_index} can be finalized, got {autoregressive_index}")
        with self._stage("finalize", cache, self.diffusion_model.transformer):
            self.diffusion_model.finalize(cache.final_state)
        cache.finalized = True
        if not self.config.enable_sync_and_profile or cache.event_profiler is None:
            return None
        return profile_of(cache.event_profiler)

    @contextmanager
    def _stage(
        self, stage: str, cache: StreamInferencePipelineCache[Any, Any, Any], part: nn.Module | None
    ) -> Iterator[None]:
        """Run a stage with its network on the device, in order with the side stream, and timed."""
        profiler, side = cache.event_profiler, cache.side_stream
        if stage == "encode" and profiler is not None:
            profiler.reset()
        if isinstance(part, Transformer):
            part.onload()
        elif part is not None:
            self.onload(part)
        if stage == "diffuse":
            cache.join()
        with side.work() if side is not None and stage == "finalize" else nullcontext():
            if stage == "finalize" and profiler is not None:
                profiler.resume()
            yield
            if stage != "diffuse":
                record_event(profiler, stage)
        if stage == "diffuse":
            if side is not None:
                side.mark()
            record_event(profiler, stage)

    def _check_generate(self, index: int, cache: StreamInferencePipelineCache[Any, Any, Any], input: Any) -> None:
        if cache.transformer_cache is None:
            raise RuntimeError("this rollout is over: another one reuses its memory")
        expected = 0 if cache.autoregressive_index is None else cache.autoregressive_index + 1
        if index != expected:
            raise ValueError(f"autoregressive_index must be {expected} now, got {index}")
        if self.encoder is None and input is not None:
            raise ValueError("input must be None: this pipeline has no encoder")
        if self.encoder is not None and input is None:
            raise ValueError("input must be given at every step: this pipeline has an encoder")


def _initialize(part: Any, context: dict[str, Any] | None) -> Any:
    return None if part is None else part.initialize_autoregressive_cache(**(context or {}))
