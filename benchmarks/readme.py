"""Writes the measured figures from benchmarks/results into the README, between its two markers."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.__main__ import RESULTS
from benchmarks.common import ROOT

BEGIN = "<!-- figures: written by `python -m benchmarks.readme` -->"
END = "<!-- end of figures -->"


def table(results: dict[str, dict[str, Any]]) -> str:
    """Markdown of the results by benchmark name; a benchmark without a result is left out."""
    rows = [row for name, write in ROWS.items() if name in results for row in write(results[name])]
    machines = {_machine(result["machine"]) for result in results.values()}
    head = ["| measured | figure | by |", "|---|---|---|"]
    return "\n".join([f"On {'; '.join(sorted(machines))}:", "", *head, *(f"| {' | '.join(row)} |" for row in rows)])


def _machine(machine: dict[str, Any]) -> str:
    return f"{machine['cores']} cores of {machine['processor']}, PyTorch {machine['torch']}"


def _chunk(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    command = "`python -m benchmarks.chunk`"
    stages = ("encode_control", "denoise", "decode", "finalize", "h264", "mux")
    milliseconds = result["ms_per_chunk"]
    medians = {stage.replace("_", " "): milliseconds[stage]["median"] for stage in stages if stage in milliseconds}
    parts = ", ".join(f"{stage} {median:.1f}" for stage, median in medians.items())
    length = f"a chunk of {result['frames_per_chunk']} frames, which plays for {result['chunk_lasts_ms']:.0f} ms"
    speed = result["speed"]
    share = f"{100 * speed['share_of_peak']['step']:.0f} % of {speed['matmul_peak_gflops'][speed['share_is_of']]:.0f}"
    rows = [
        (length, f"{milliseconds['chunk']['median']:.0f} ms: {parts}", command),
        ("arithmetic of a step, of the peak matrix product", f"{share} GFLOP/s ({speed['share_is_of']})", command),
    ]
    if played := result.get("in_browser"):
        frames = f"{played['frames_per_second_shown']:.1f} frames/s shown, {played['frames_dropped']} dropped"
        rows.append(("server, encoder and real Chromium together", frames, command))
    return rows


def _latency(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    rows = []
    for key, label in (("from_rest", "from rest"), ("on_the_move", "while walking")):
        figures = result[key]["key_to_changed_picture_ms"]
        text = f"median {figures['median']:.0f} ms, 95th percentile {figures['p95']:.0f} ms ({figures['n']} presses)"
        rows.append((f"key press to changed picture, {label}", text, "`python -m benchmarks.latency`"))
    return rows


def _steady(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    growth = result["growth_percent_over_the_walk"]
    memory = f"{growth['memory']:+.2f} % memory, {result['memory_mib']['last']:.0f} MiB at the end"
    text = f"{growth['generate']:+.2f} % time, {memory}"
    return [(f"growth over {result['chunks']} chunks", text, "`python -m benchmarks.steady`")]


def _start(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    figures = result["seconds"]["first_picture"]
    text = f"median {figures['median']:.1f} s, slowest {figures['max']:.1f} s of {figures['n']}"
    return [("start to first dreamed picture", text, "`python -m benchmarks.start`")]


ROWS = {"chunk": _chunk, "latency": _latency, "steady": _steady, "start": _start}


def main() -> None:
    """Rewrites README.md. Raises ValueError where a marker is missing, FileNotFoundError where nothing was measured."""
    results = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))}
    results = {name: result for name, result in results.items() if name in ROWS}
    if not results:
        raise FileNotFoundError(f"nothing in {RESULTS}: run `make bench` first")
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise ValueError(f"README.md needs the lines {BEGIN!r} and {END!r}")
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    readme.write_text(f"{before}{BEGIN}\n{table(results)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
