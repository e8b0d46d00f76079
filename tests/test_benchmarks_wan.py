"""The Wan benchmarks at a tiny size: they run, compare like with like, and count what there is to count."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from benchmarks import wan_cpu, wan_gpu
from benchmarks.peak import operations

pytestmark = pytest.mark.usefixtures("one_thread")


def printed(module: Any, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Any) -> dict[str, Any]:
    """Return the output of `python -m benchmarks.<module> <arguments>`."""
    monkeypatch.setattr(sys, "argv", ["benchmark", *arguments])
    module.main()
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_attention_is_counted_on_a_cpu(dtype: torch.dtype) -> None:
    q, kv = torch.randn(1, 2, 6, 16, dtype=dtype), torch.randn(1, 2, 10, 16, dtype=dtype)
    with torch.no_grad():
        assert operations(lambda: F.scaled_dot_product_attention(q, kv, kv)) == 4 * 2 * 6 * 10 * 16 / 1e9


def test_the_networks_compared_on_a_cpu_are_the_same(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    pytest.importorskip("diffusers")
    monkeypatch.setattr(wan_cpu, "matmul_peak", lambda dtype: 1.0)
    sizes = ["--dim", "128", "--layers", "1", "--height", "4", "--width", "4", "--text-len", "3", "--rounds", "1"]
    told = printed(wan_cpu, sizes, monkeypatch, capsys)
    assert told["relative_error"] < 1e-4
    assert told["gflop"]["streamed_chunk"] < told["gflop"]["chunk_without_a_cache"]
    assert min(told["diffusers_by_ours"].values()) > 0 and min(told["speedup_of_a_streamed_chunk"].values()) > 0
    memory = told["session_bytes"]
    assert memory["kv_cache_computed"] == 2 * 128 * 4 * 21 * 4 and memory["prompt_computed"] == 2 * 128 * 4 * 3
    computed = memory["kv_cache_computed"] + memory["prompt_computed"]
    assert computed <= memory["measured"] < 1.2 * computed
    assert {series["n"] for series in told["ms"].values()} == {1}


@pytest.mark.slow
def test_the_gpu_benchmark_runs_at_a_tiny_size_without_one(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    told = printed(wan_gpu, ["--try-on-cpu", "--modes", "eager", "graphs"], monkeypatch, capsys)
    assert set(told["ms"]) == {"eager", "graphs"}
    for mode in told["ms"].values():
        for decoder in ("wan_vae", "taehv"):
            assert set(mode[decoder]) == {"diffuse", "finalize", "decode", "step"}
            assert mode[decoder]["diffuse"]["median"] > 0
    stages = told["floor"]["stages"]
    assert set(stages) == {"diffuse", "finalize", "decode_wan_vae", "decode_taehv"}
    assert all(stage["gflop"] > 0 and stage["ms_by_bytes"] > 0 for stage in stages.values())


def test_the_floor_of_the_published_size_is_that_of_its_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    case = wan_gpu.Case(torch.device("cpu"), wan_gpu.WanDiTNetworkConfig(num_layers=1))
    gflop, moved = wan_gpu._pass(case)
    tokens, keys, dim, ffn = 4680, 32760, 1536, 8960
    linear = 2 * tokens * (6 * dim * dim + 2 * dim * ffn)  # the prompt's keys and values are made once
    attention = 4 * tokens * (keys + 512) * dim
    patches = 2 * tokens * 2 * 64 * dim
    assert gflop * 1e9 == pytest.approx(linear + attention + patches, rel=1e-6)
    weights = 8 * dim * dim + 2 * dim * ffn
    assert moved == pytest.approx(2 * (weights + 2 * (keys + 512) * dim), rel=1e-3)


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["wan_gpu"])
    with pytest.raises(SystemExit, match="wan_gpu needs a CUDA device and there is none; --try-on-cpu runs it"):
        wan_gpu.main()
