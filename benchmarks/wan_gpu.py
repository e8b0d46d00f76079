"""A step of the 1.3B Wan network at 480x832 on a GPU, stage by stage, with the floor that the hardware sets."""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from benchmarks.common import log_progress, machine, report, summary
from benchmarks.peak import device_rates, operations
from flashdreams.core.attention import RotaryPositionEmbedding3D, rope_table
from flashdreams.infra.decoder import DecoderConfig
from flashdreams.infra.diffusion.model.base import DiffusionModelConfig
from flashdreams.infra.diffusion.scheduler import FlowMatchSchedulerConfig
from flashdreams.infra.encoder.text.umt5 import UMT5TextEncoderConfig
from flashdreams.recipes.taehv import TeahvVAEDecoderConfig
from flashdreams.recipes.wan import (
    Wan21TransformerConfig,
    WanDiTNetwork,
    WanDiTNetworkConfig,
    WanInferencePipeline,
    WanInferencePipelineConfig,
    WanVAEDecoderConfig,
)

CHUNK = 3
SPACE_RATIO = 8
MODES = {"eager": (False, False), "compiled": (True, False), "graphs": (True, True)}
"""Launch modes of kernels: (compiled, captured)."""
STAGES = ("diffuse", "finalize", "decode")


@dataclass(frozen=True)
class Case:
    """Settings of the benchmark; the defaults are Self-Forcing's."""

    device: torch.device
    network: WanDiTNetworkConfig
    height: int = 480
    width: int = 832
    dtype: torch.dtype = torch.bfloat16
    vae_width: int = 96
    taehv_widths: tuple[int, int, int, int] = (256, 128, 64, 64)
    window: int = 21
    """Latents that a pass attends to."""
    chunks: int = 20
    matrix: int = 8192
    """Side of the matrices that the peak is measured with."""

    @property
    def tokens(self) -> int:
        """Of a chunk."""
        return CHUNK * (self.height // SPACE_RATIO // 2) * (self.width // SPACE_RATIO // 2)

    @property
    def latents(self) -> tuple[int, ...]:
        """Shape of a chunk's latents."""
        return (1, CHUNK, self.network.in_dim, self.height // SPACE_RATIO, self.width // SPACE_RATIO)

    def pipeline(self, mode: str) -> WanInferencePipeline:
        """With random weights and without a decoder: speed does not depend on the one, and both decoders are tried."""
        compiled, captured = MODES[mode]
        transformer = Wan21TransformerConfig(
            network=self.network,
            dtype=self.dtype,
            len_t=CHUNK,
            window_size_t=self.window,
            compile_network=compiled,
            use_cuda_graph=captured,
        )
        scheduler = FlowMatchSchedulerConfig(num_inference_steps=4, shift=5.0)
        model = DiffusionModelConfig(transformer=transformer, scheduler=scheduler, seed=0)
        prompts = UMT5TextEncoderConfig(text_len=self.network.text_len, dim=self.network.text_dim)  # never loaded
        config = WanInferencePipelineConfig(
            name="wan_gpu", diffusion_model=model, text_encoder=prompts, enable_sync_and_profile=True
        )
        with self.device:
            pipeline: WanInferencePipeline = config.setup()
        return pipeline.to(self.device).requires_grad_(False)

    def decoders(self, mode: str) -> dict[str, DecoderConfig]:
        """Wan's own and the tiny one."""
        compiled, captured = MODES[mode]
        settings: Any = {"checkpoint_path": None, "dtype": self.dtype}
        settings |= {"use_compile": compiled, "use_cuda_graph": captured}
        return {
            "wan_vae": WanVAEDecoderConfig(**settings, base_dim=self.vae_width),
            "taehv": TeahvVAEDecoderConfig(**settings, widths=self.taehv_widths),
        }


def measure(case: Case, mode: str) -> dict[str, Any]:
    """Milliseconds of each stage with each decoder, once the window is full; the second rollout reuses the first's."""
    log_progress(f"{mode}: building the network")
    pipeline, cache = case.pipeline(mode), None
    found: dict[str, Any] = {}
    for name, config in case.decoders(mode).items():
        with case.device:
            pipeline.decoder = config.setup().to(case.device).requires_grad_(False)
        text = torch.randn(1, case.network.text_len, case.network.text_dim, device=case.device)
        cache = pipeline.initialize_cache(text, **pipeline.latent_size(case.height, case.width), reuse=cache)
        log_progress(f"{mode}, {name}: filling the window, compiling and capturing where that is wanted")
        series: dict[str, list[float]] = defaultdict(list)
        warm = case.window // CHUNK + 4
        for chunk in range(warm + case.chunks):
            pipeline.generate(chunk, cache)
            timings = pipeline.finalize(chunk, cache)
            assert timings is not None
            if chunk >= warm:
                for stage in STAGES:
                    series[stage].append(timings[f"{stage}_ms"])
                series["step"].append(timings["total_ms"])
        found[name] = {stage: summary(values) for stage, values in series.items()}
    if case.device.type == "cuda":
        found["memory_peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
        torch.cuda.reset_peak_memory_stats()
    return found


@torch.no_grad()
def floor(case: Case) -> dict[str, Any]:
    """The least time of each stage: its operations over the measured peak, its bytes over the measured bandwidth.

    Bytes are those that must move however fused the kernels are: weights, what the caches hold, the result.
    """
    log_progress("measuring the peak of the device")
    peak, bandwidth = device_rates(case.device, case.dtype, case.matrix)
    gflop, moved = _pass(case)
    work = {"diffuse": (4 * gflop, 4 * moved), "finalize": (gflop, moved)}
    work |= {f"decode_{name}": _decode(case, config) for name, config in case.decoders("eager").items()}
    return {
        "peak_tflops": round(peak / 1e12, 2),
        "bandwidth_gb_per_s": round(bandwidth / 1e9, 1),
        "stages": {
            name: {
                "gflop": round(gflop, 3),
                "gb": round(moved / 1e9, 3),
                "ms_by_operations": round(1e12 * gflop / peak, 3),
                "ms_by_bytes": round(1e3 * moved / bandwidth, 3),
            }
            for name, (gflop, moved) in work.items()
        },
    }


def _pass(case: Case) -> tuple[float, int]:
    """GFLOP and bytes of a pass against a full window, counted on tensors without data."""
    config, length = case.network, case.tokens
    with torch.device("meta"):
        network: WanDiTNetwork = config.setup().to(case.dtype)
        text = torch.empty(1, config.text_len, config.text_dim)
    cache = network.initialize_cache(length, length * case.window // CHUNK, 0, text)
    sizes = (config.dim // config.num_heads, case.latents[-2] // 2, case.latents[-1] // 2, CHUNK)
    rope = rope_table(RotaryPositionEmbedding3D(*sizes, interleaved=True, device="meta").shift_t(0))
    tokens = torch.empty(1, length, config.in_dim * 4, device="meta", dtype=case.dtype)
    modulation = network.modulation(torch.zeros((), device="meta"))
    for chunk in range(case.window // CHUNK):
        gflop = operations(partial(network, tokens, modulation, cache, rope, chunk))
    prompt = sum(each.text.cached_k().nbytes + each.text.cached_v().nbytes for each in cache.cross_attn)
    weights = sum(weight.nbytes for block in network.blocks for weight in block.parameters())
    return gflop, weights + cache.nbytes + prompt


def _decode(case: Case, config: DecoderConfig) -> tuple[float, int]:
    """GFLOP and bytes of decoding a chunk that is not the first."""
    with torch.device("meta"):
        decoder: Any = config.setup()
        latents = torch.empty(case.latents, dtype=case.dtype)
    cache = decoder.initialize_autoregressive_cache()
    decoder(latents, 0, cache)
    gflop = operations(partial(decoder, latents, 1, cache))
    frames = decoder.get_output_temporal_size(1, CHUNK)
    weights = sum(weight.nbytes for weight in decoder.parameters())
    memory = sum(seen.nbytes for seen in cache.memory)
    video = frames * 3 * case.height * case.width * case.dtype.itemsize
    return gflop, weights + 2 * memory + latents.nbytes + video


def small_case() -> Case:
    """A few thousand weights on the CPU: the same code, figures without a meaning."""
    network = WanDiTNetworkConfig(dim=24, ffn_dim=40, freq_dim=16, text_len=3, text_dim=8, num_heads=2, num_layers=2)
    device = torch.device("cpu")
    narrow: Any = {"vae_width": 2, "taehv_widths": (8, 8, 8, 8)}
    return Case(device, network, 32, 48, dtype=torch.float32, **narrow, window=6, chunks=1, matrix=64)


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=20, help="chunks measured in each mode with each decoder")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--try-on-cpu", action="store_true", help="a tiny size on the CPU, to see that it runs")
    arguments = parser.parse_args()
    if not arguments.try_on_cpu and not torch.cuda.is_available():
        sys.exit("wan_gpu needs a CUDA device and there is none; --try-on-cpu runs it at a tiny size without one")
    device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
    case = small_case() if arguments.try_on_cpu else Case(device, WanDiTNetworkConfig(), chunks=arguments.chunks)
    before = machine()
    result = {
        "device": torch.cuda.get_device_name(case.device) if case.device.type == "cuda" else "CPU, only a trial",
        "network": {"dim": case.network.dim, "layers": case.network.num_layers, "dtype": str(case.dtype)},
        "picture": [case.width, case.height],
        "chunk": CHUNK,
        "window": case.window,
        "ms": {mode: measure(case, mode) for mode in arguments.modes},
        "floor": floor(case),
    }
    report("wan_gpu", before, result)


if __name__ == "__main__":
    main()
