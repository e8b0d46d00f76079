"""Writes the measured figures from benchmarks/results into README.md, docs/steer.md and docs/kiosk.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.__main__ import RESULTS
from benchmarks.common import ROOT
from benchmarks.soak_table import soak_table, summary_of

BEGIN = "<!-- figures: written by `python -m benchmarks.readme` -->"
END = "<!-- end of figures -->"


def table(results: dict[str, dict[str, Any]]) -> str:
    """Markdown of the results by benchmark name, machine by machine; a benchmark without a result is left out."""
    by_machine: dict[str, list[tuple[str, str, str]]] = {}
    for name, write in ROWS.items():
        if name in results:
            by_machine.setdefault(_machine(results[name]["machine"]), []).extend(write(results[name]))
    head = "| measured | figure | by |\n|---|---|---|"
    tables = []
    for machine, rows in by_machine.items():
        body = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        tables.append(f"On {machine}:\n\n{head}\n{body}")
    return "\n\n".join(tables)


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


def _visits(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    growth, last = result["growth_mib_per_100_visits"], result["memory_mib"][-1]
    text = f"{growth:+.1f} MiB per 100 visits once warm, {last:.0f} MiB at the end"
    return [(f"memory over {result['visits']} visits", text, "`python -m benchmarks.visits`")]


def _start(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    figures = result["seconds"]["first_picture"]
    text = f"median {figures['median']:.1f} s, slowest {figures['max']:.1f} s of {figures['n']}"
    return [("start to first dreamed picture", text, "`python -m benchmarks.start`")]


def _soak(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [("the [kiosk](docs/kiosk.md) with a fault a minute", summary_of(result), "`make soak`")]


ROWS = {"chunk": _chunk, "latency": _latency, "steady": _steady, "visits": _visits, "start": _start, "soak": _soak}

FOUND_BY = {
    "placed": "registering each picture with the true one at its commanded pose",
    "placed_truth": "the same of true pictures whose camera is off by a known motion: the method's own error",
    "chained": "registering each picture with the one before, added up, aligned at the beginning and in scale",
    "chained_truth": "the same of true pictures: the method's own error",
}


def path_error_table(result: dict[str, Any]) -> str:
    """Markdown of how well the dreamed camera follows, and of what others publish of theirs."""
    names = ", ".join(sorted({row["scene"] for row in result["rows"]}))
    walks = f"The first {result['seconds']:g} s of {result['paths']} walks along shipped paths, in {names}"
    lines = [f"{walks}; mean and spread over the walks:", ""]
    lines += ["| the camera found by | rotation error | position error |", "|---|---|---|"]
    for way, told in FOUND_BY.items():
        turn, place = (result["summary"][way][name] for name in ("rotation_deg", "translation_m"))
        lines.append(f"| {told} | {_spread(turn, '°')} | {_spread(place, ' m')} |")
    lines += ["", "Where the first row is no more than the second, the camera is on its path as nearly as can be told."]
    late = [
        f"{1000 * value:.0f} ms {way}"
        for part, way in (("forward", "walking"), ("yaw", "turning"))
        if (value := result["behind_s"][part]) is not None
    ]
    if late:
        lines.append(f"By least squares it comes {', '.join(late)} after the command (negative: before it).")
    others = "What others publish of their models, beside it and not against it: other worlds, longer paths, cameras"
    lines += ["", f"{others} estimated from the video alone.", ""]
    lines += ["| model | rotation | translation | as measured by |", "|---|---|---|---|"]
    for table in result["published"]:
        told = f"[{table['source']}]({table['address']}): {table['measured']}"
        lines += [f"| {model} | {turn:g} | {place:g} | {told} |" for model, (turn, place) in table["figures"].items()]
    return "\n".join(lines)


def _spread(figure: dict[str, float], unit: str) -> str:
    return f"{figure['mean']:.2f} ± {figure['std']:.2f}{unit} (largest {figure['largest']:.2f}{unit})"


def main() -> None:
    """Rewrites the pages. Raises ValueError where a marker is missing, FileNotFoundError where nothing was measured."""
    results = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))}
    shown = {name: result for name, result in results.items() if name in ROWS}
    if not shown:
        raise FileNotFoundError(f"nothing in {RESULTS}: run `make bench` first")
    put(ROOT / "README.md", table(shown))
    if "steering" in results:
        put(ROOT / "docs" / "steer.md", path_error_table(results["steering"]))
    if "soak" in results:
        put(ROOT / "docs" / "kiosk.md", soak_table(results["soak"]))


def put(page: Path, text: str) -> None:
    """Write `text` between the markers of a page. Raises ValueError where one of them is missing."""
    old = page.read_text(encoding="utf-8")
    if BEGIN not in old or END not in old:
        raise ValueError(f"{page.name} needs the lines {BEGIN!r} and {END!r}")
    before, rest = old.split(BEGIN, 1)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END, 1)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
