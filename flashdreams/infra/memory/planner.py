"""Planner of a pipeline's memory: runs a rollout of the given size on the meta device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from flashdreams.core import distributed
from flashdreams.core.distributed.context_parallel import group_size
from flashdreams.infra.config.base import replace_everywhere, values_everywhere
from flashdreams.infra.memory.plan import MemoryPlan, PartMemory
from flashdreams.infra.memory.tracker import MemoryTracker, MetaRollout, on_meta, weight_bytes
from flashdreams.infra.runtime.accelerated import AcceleratedStep
from flashdreams.infra.runtime.state import copy_state


class PlannedPipeline(Protocol):
    """Parts of a pipeline that the planner uses."""

    encoder: Any
    decoder: Any
    diffusion_model: Any

    def blank_rollout(self, height: int, width: int) -> MetaRollout | None:
        """Return the rollout to track, or None where no plan can be made."""


class PlannedConfig(Protocol):
    """Fields of a pipeline's config that the planner uses."""

    diffusion_model: Any
    offload: bool

    def setup(self, **kwargs: Any) -> Any:
        """Return the pipeline."""


_CODED_CHUNKS = 2
"""Chunks after which the caches of encoders and decoders have their full size."""


def plan_memory(
    config: PlannedConfig, height: int, width: int, *, rollouts: int = 1, processes: int | None = None
) -> MemoryPlan | None:
    """See `StreamInferencePipelineConfig.memory_plan`. The same plan is made once in a process: it takes seconds."""
    processes = group_size(distributed.all_processes()) if processes is None else processes
    if rollouts < 1 or processes < 1:
        raise ValueError(f"rollouts and processes must be at least 1, got {rollouts} and {processes}")
    bare = replace_everywhere(config, checkpoint_path=None)
    # Where a tokenizer lies changes no size.
    named = repr(replace_everywhere(bare, tokenizer_path=""))
    known = (named, height, width, processes, torch.cuda.is_available())
    if known not in _plans:
        while len(_plans) >= _KEPT_PLANS:
            _plans.pop(next(iter(_plans)))
        _plans[known] = _plan(bare, height, width, processes)
    plan = _plans[known]
    return None if plan is None else replace(plan, rollouts=rollouts)


_KEPT_PLANS = 32
_plans: dict[tuple[str, int, int, int, bool], MemoryPlan | None] = {}


def _plan(config: PlannedConfig, height: int, width: int, processes: int) -> MemoryPlan | None:
    """Return the plan of one rollout, by running it."""
    pipeline = _alone(config)
    blank = pipeline.blank_rollout(height, width)
    if blank is None:
        return None
    # A step holds one block's tensors at a time: a network of one block gives their size in a fraction of the time.
    shallow = on_meta(replace_everywhere(config.diffusion_model.transformer, num_layers=1, num_blocks=1))
    shallow.set_context_parallel_group(None)
    with torch.no_grad():
        caches = _caches(pipeline, height, width, processes)
        control, encoding, encoder_cache = _coding(pipeline.encoder, blank.encoder_context, blank.input)
        latent, denoising = _denoising(shallow, blank, control)
        _, decoding, decoder_cache = _coding(pipeline.decoder, None, latent)
    branches = 2 if any(scale > 1 for scale in values_everywhere(config, "guidance_scale")) else 1
    parts: list[tuple[str, nn.Module | None, int, int]] = [("encoder", pipeline.encoder, encoding, 0)]
    networks = pipeline.diffusion_model.transformer.networks()
    parts += [(name, network, denoising // processes, branches) for name, network in networks.items()]
    parts.append(("decoder", pipeline.decoder, decoding, 0))
    return MemoryPlan(
        size=f"{height} x {width}",
        parts=tuple(
            PartMemory(name=name, weights=weight_bytes(part), working=work, graphs=graphs)
            for name, part, work, graphs in parts
            if part is not None
        ),
        rollout=caches + encoder_cache + decoder_cache,
        offload=config.offload,
        captured=torch.cuda.is_available() and any(values_everywhere(config, "use_cuda_graph")),
    )


def _alone(config: PlannedConfig) -> PlannedPipeline:
    """Return the pipeline on no device, in one process: the others are not needed for a plan."""
    pipeline: PlannedPipeline = on_meta(config)
    pipeline.diffusion_model.transformer.set_context_parallel_group(None)
    return pipeline


def _caches(pipeline: PlannedPipeline, height: int, width: int, processes: int) -> int:
    """Return the bytes of a rollout's transformer caches in each process that shares its keys and values."""
    with MemoryTracker() as tracker:
        blank = pipeline.blank_rollout(height, width)
        assert blank is not None
        cache: Any = pipeline.diffusion_model.transformer.initialize_autoregressive_cache(**blank.transformer_context)
        for chunk in range(blank.chunks):
            cache.start(chunk)
    del blank  # the cache keeps some of it
    shared = int(cache.nbytes)
    return tracker.live - shared + shared // processes


def _denoising(transformer: Any, blank: MetaRollout, control: Any) -> tuple[Tensor, int]:
    """Return a chunk's latent, and the bytes that a step with a full window holds at most beyond the caches."""
    given, joint = None if control is None else transformer.patchify_and_maybe_split_cp(control), blank.joint_chunks
    with MemoryTracker() as tracker:
        cache = transformer.initialize_autoregressive_cache(**blank.transformer_context)
        tokens = torch.zeros(transformer.latent_shape_of(cache), device="meta", dtype=transformer.dtype)
        for chunk in range(blank.chunks):
            cache.start(chunk)
            own = given if blank.control_of_chunk is None else blank.control_of_chunk(given, chunk)
            if joint == 1:
                transformer.predict_flow(tokens, torch.zeros(()), cache, own)
                continue
            transformer.predict_flow(torch.cat([tokens] * joint, -2), torch.zeros(joint, device="meta"), cache, own)
            transformer.finalize_kv_cache(tokens, torch.zeros(()), cache, own)
    return transformer.unpatchify_of(tokens, cache), tracker.peak - tracker.live


def _coding(part: Any, context: dict[str, Any] | None, input: Any) -> tuple[Any, int, int]:
    """Return a coder's output for a chunk, its peak bytes beyond its cache, and its cache's bytes."""
    if part is None:
        return None, 0, 0
    with MemoryTracker() as tracker:
        for module in part.modules():
            if isinstance(module, AcceleratedStep):
                module._step = tracker.counted_once(module._step)  # type: ignore[method-assign]
        cache = part.initialize_autoregressive_cache(**(context or {}))
        for chunk in range(_CODED_CHUNKS):
            given = input(chunk) if callable(input) else input
            made = part(input=given, autoregressive_index=chunk, cache=cache)
    result = copy_state(made)
    del made, given  # not part of the cache
    return result, tracker.peak - tracker.live, tracker.live
