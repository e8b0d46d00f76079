"""A small Wan network on the CPU against diffusers' on the same weights, and against itself without a KV cache."""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.profiler import profile

from benchmarks.common import log_progress, machine, report, summary
from benchmarks.peak import matmul_peak, operations
from flashdreams.core.attention import RotaryPositionEmbedding3D, rope_table
from flashdreams.core.checkpoint import load_into
from flashdreams.infra.diffusion.model.base import DiffusionModel, DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler import FlowMatchSchedulerConfig
from flashdreams.recipes.wan import (
    Wan21TransformerConfig,
    WanDiTNetwork,
    WanDiTNetworkConfig,
    wan_dit_state_dict_transform,
)

HEAD_DIM, CHUNK, WINDOW, STEPS = 128, 3, 21, 4
"""As in the published streaming models, sizes in latent frames."""


class Pair:
    """The same random weights in diffusers' model and in ours, and a clip and a prompt for both."""

    def __init__(self, dim: int, layers: int, height: int, width: int, text_len: int) -> None:
        """`height` and `width` of a latent frame; both are even."""
        from diffusers import WanTransformer3DModel

        torch.manual_seed(0)
        heads, ffn_dim = dim // HEAD_DIM, dim * 35 // 6
        theirs: Any = WanTransformer3DModel(
            num_attention_heads=heads, attention_head_dim=HEAD_DIM, ffn_dim=ffn_dim, num_layers=layers
        )
        self.theirs = theirs.eval().requires_grad_(False)
        self.config = WanDiTNetworkConfig(
            dim=dim, ffn_dim=ffn_dim, num_heads=heads, num_layers=layers, text_len=text_len
        )
        self.model: DiffusionModel = DiffusionModelConfig(
            transformer=Wan21TransformerConfig(
                network=self.config, dtype=torch.float32, len_t=CHUNK, window_size_t=WINDOW
            ),
            scheduler=FlowMatchSchedulerConfig(num_inference_steps=STEPS, shift=5.0),
            seed=0,
        ).setup()
        self.ours: WanDiTNetwork = self.model.transformer.network
        load_into(self.ours, wan_dit_state_dict_transform(self.theirs.state_dict()))
        self.ours.update_parameters_after_loading_checkpoint()
        self.height, self.width = height, width
        self.clip = torch.randn(1, WINDOW, 16, height, width)
        self.text, self.timestep = torch.randn(1, text_len, self.config.text_dim), torch.tensor(500.0)

    def passes(self, frames: int) -> dict[str, Callable[[], Tensor]]:
        """One pass over the first `frames` of the clip, by diffusers and by us, prompt included; ours without it."""
        clip = self.clip[:, :frames]
        volume, told = clip.transpose(1, 2).contiguous(), self.timestep.expand(1)
        tokens = self.ours.patchify_and_maybe_split_cp(clip)
        cache = self.ours.initialize_cache(tokens.shape[1], tokens.shape[1], 0, self.text)
        sizes = (HEAD_DIM, self.height // 2, self.width // 2, frames)
        rope = rope_table(RotaryPositionEmbedding3D(*sizes, interleaved=True, device="cpu").shift_t(0))

        step = partial(self.ours, timesteps=self.timestep, cache=cache, rope_freqs=rope)

        def prompted() -> Tensor:
            cache.cross_attn = self.ours.cross_keys_values(self.text)
            flow = step(self.ours.patchify_and_maybe_split_cp(clip))
            return self.ours.unpatchify_and_maybe_gather_cp(self.height // 2, self.width // 2, flow)

        return {
            "diffusers": lambda: self.theirs(volume, told, self.text).sample.transpose(1, 2),
            "ours": prompted,
            "ours_without_prompt": partial(step, tokens),
        }

    def rollout(self) -> tuple[Any, dict[str, int]]:
        """A new rollout's cache, and the bytes it takes: counted as they were allocated, and by arithmetic."""
        sizes = {"height": self.height, "width": self.width, "text_embeddings": self.text}
        with profile(profile_memory=True) as measured:
            cache = self.model.transformer.initialize_autoregressive_cache(**sizes)
        allocated = sum(event.self_cpu_memory_usage for event in measured.key_averages())
        tokens = WINDOW * (self.height // 2) * (self.width // 2)
        keys_and_values = 2 * self.config.num_layers * self.config.dim * torch.float32.itemsize
        return cache, {
            "measured": allocated,
            "kv_cache_computed": keys_and_values * tokens,
            "prompt_computed": keys_and_values * self.config.text_len,
        }


def timed(work: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each piece of work in `rounds` rounds, each after one of the others: a busy moment hits all."""
    series: dict[str, list[float]] = defaultdict(list)
    for turn in range(rounds + 1):
        for name, piece in work.items():
            start = time.perf_counter()
            piece()
            if turn > 0:  # the first one chooses kernels and grows the heap
                series[name].append(1000 * (time.perf_counter() - start))
    return dict(series)


class Stream:
    """A rollout whose window is full: each call dreams and finalizes its next chunk."""

    def __init__(self, pair: Pair, cache: Any) -> None:
        self.model, self.cache, self.index = pair.model, cache, 0
        for _ in range(WINDOW // CHUNK):
            self.chunk()

    def chunk(self) -> Tensor:
        """The next clean latent: `STEPS` passes and the one that writes it into the KV cache."""
        latent, state = self.model.generate(self.index, self.cache)
        self.model.finalize(state)
        self.index += 1
        return latent


def ratio(numerator: list[float], denominator: list[float], factor: float = 1.0) -> float:
    """Median of the quotients, round by round."""
    return round(float(np.median(factor * np.asarray(numerator) / np.asarray(denominator))), 3)


@torch.no_grad()
def measure(pair: Pair, rounds: int) -> dict[str, Any]:
    """All figures but those of the machine."""
    short, long = pair.passes(CHUNK), pair.passes(WINDOW)
    expected = short["diffusers"]()
    error = float((short["ours"]() - expected).norm() / expected.norm())
    cache, memory = pair.rollout()
    log_progress("filling the window")
    stream = Stream(pair, cache)
    work = {f"pass_of_a_chunk_{name}": piece for name, piece in short.items()}
    work |= {f"pass_of_a_window_{name}": piece for name, piece in long.items()}
    work["streamed_chunk"] = stream.chunk
    log_progress(f"measuring {rounds} rounds")
    series = timed(work, rounds)
    against = partial(ratio, denominator=series["streamed_chunk"], factor=STEPS)
    return {
        "relative_error": error,
        "ms": {name: summary(values) for name, values in series.items()},
        "gflop": {
            **{f"pass_of_a_chunk_{name}": round(operations(piece), 2) for name, piece in short.items()},
            "streamed_chunk": round(operations(stream.chunk), 2),
            "chunk_without_a_cache": round(STEPS * operations(long["ours_without_prompt"]), 2),
        },
        "diffusers_by_ours": {
            "pass_of_a_chunk": ratio(series["pass_of_a_chunk_diffusers"], series["pass_of_a_chunk_ours"]),
            "pass_of_a_window": ratio(series["pass_of_a_window_diffusers"], series["pass_of_a_window_ours"]),
        },
        "speedup_of_a_streamed_chunk": {
            "over_ours_without_a_cache": against(series["pass_of_a_window_ours_without_prompt"]),
            "over_diffusers": against(series["pass_of_a_window_diffusers"]),
        },
        "session_bytes": memory,
    }


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dim", type=int, default=384, help=f"width of the network, a multiple of {HEAD_DIM}")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--height", type=int, default=24, help="of a latent frame, even")
    parser.add_argument("--width", type=int, default=44, help="of a latent frame, even")
    parser.add_argument("--text-len", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    before = machine()
    sizes = {name: getattr(arguments, name) for name in ("dim", "layers", "height", "width", "text_len")}
    result = {
        "sizes": {**sizes, "chunk": CHUNK, "window": WINDOW, "steps": STEPS},
        "torch_threads": torch.get_num_threads(),
        "matmul_peak_gflops": round(matmul_peak(torch.float32), 1),
        **measure(Pair(**sizes), arguments.rounds),
    }
    report("wan_cpu", before, result)


if __name__ == "__main__":
    main()
