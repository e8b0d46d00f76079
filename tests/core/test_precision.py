"""The start probe: the same answer on a quiet machine and on a busy one, remembered for the machine."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from flashdreams.core import precision
from flashdreams.threads import available_cores

BF16, FP32 = torch.bfloat16, torch.float32
PROCESSORS = {
    "AVX2": (FP32, {BF16: 7e-3, FP32: 7e-4}),
    "AMX": (BF16, {BF16: 2e-4, FP32: 9e-4}),
    "AVX-512 bf16, slower than told": (BF16, {BF16: 6e-4, FP32: 5e-4}),
    "flags in name only": (BF16, {BF16: 7e-3, FP32: 7e-4}),
}
WANTED = {"AVX2": FP32, "AMX": BF16, "AVX-512 bf16, slower than told": BF16, "flags in name only": FP32}


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize("load", [0.0, 0.5, 0.9])
def test_a_busy_machine_decides_as_a_quiet_one(processor: str, load: float) -> None:
    favoured, seconds = PROCESSORS[processor]
    for seed in range(50):
        chance = random.Random(seed)

        def timed(dtype: torch.dtype, chance: random.Random = chance) -> float:
            # With other programs on the cores, a turn takes many times as long, now and then.
            return seconds[dtype] * (chance.uniform(2, 40) if chance.random() < load else chance.uniform(1, 1.1))

        assert precision.decide(timed, favoured) is WANTED[processor]


def test_where_nothing_but_noise_is_measured_the_flags_decide() -> None:
    for favoured in (BF16, FP32):
        assert precision.decide(lambda _dtype: 0.02, favoured) is favoured


@pytest.mark.slow
def test_the_real_probe_decides_alike_beside_programs_that_use_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(precision, "cpu_flags", lambda: FLAGGED)
    monkeypatch.setattr(precision, "_ROWS", 36)
    quiet = precision.fastest_dtype(torch.device("cpu"))
    busy = [subprocess.Popen([sys.executable, "-c", "while True: sum(range(10**6))"]) for _ in range(available_cores())]
    try:
        for _ in range(3):
            precision.memory_file().unlink()
            assert precision.fastest_dtype(torch.device("cpu")) is quiet
    finally:
        for one in busy:
            one.kill()
            one.wait()


FLAGGED = frozenset({"avx512_bf16"})


def test_the_answer_is_remembered_for_this_machine_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(precision, "cpu_flags", lambda: FLAGGED)
    monkeypatch.setattr(precision, "ROUNDS", 8)
    first = precision.fastest_dtype(torch.device("cpu"))
    other = next(dtype for dtype in (BF16, FP32) if dtype is not first)
    file = precision.memory_file()
    (machine,) = json.loads(file.read_text())
    file.write_text(json.dumps({machine: str(other).removeprefix("torch.")}))
    assert precision.fastest_dtype(torch.device("cpu")) is other, "it is not measured again"
    for content in (json.dumps({"another": "bfloat16"}), "[]", "{", json.dumps({machine: "int8"})):
        file.write_text(content)
        assert precision.fastest_dtype(torch.device("cpu")) is first


def test_a_home_that_cannot_be_written_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(precision, "cpu_flags", lambda: FLAGGED)
    monkeypatch.setattr(precision, "ROUNDS", 1)
    assert precision.fastest_dtype(torch.device("cpu")) in (BF16, FP32)


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("processor : 0\nflags\t\t: fpu amx_bf16 sse\n", {"fpu", "amx_bf16", "sse"}),
        ("Features\t: fp asimd bf16\n", {"fp", "asimd", "bf16"}),
        ("", set()),
    ],
)
def test_flags_are_read_where_the_system_lists_them(tmp_path: Path, text: str, flags: set[str]) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert precision.cpu_flags(tmp_path / "cpuinfo") == flags
    assert precision.cpu_flags(tmp_path / "none") == frozenset()


def test_a_processor_without_bf16_computes_in_float32_without_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "cpu_flags", lambda: frozenset({"avx2", "fma"}))
    monkeypatch.setattr(precision, "decide", lambda *_, **__: pytest.fail("measured"))
    assert precision.fastest_dtype(torch.device("cpu")) is FP32
