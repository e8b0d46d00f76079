"""The benchmarks' arithmetic: a wrong median would make every figure of the README wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import readme
from benchmarks.common import growth_percent, machine, report, summary
from benchmarks.steady import Visitor


def test_summary_of_a_hundred_values() -> None:
    figures = summary([float(value) for value in range(101)])
    assert figures == {"median": 50, "p95": 95, "mean": 50, "min": 0, "max": 100, "n": 101}


def test_summary_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        summary([])


@pytest.mark.parametrize(
    ("values", "growth"), [([5.0] * 10, 0), ([100.0, 101.0, 102.0], 200 / 101), ([2, 1.5, 1], -200 / 3)]
)
def test_growth_is_the_rise_from_first_to_last(values: list[float], growth: float) -> None:
    assert growth_percent(values) == pytest.approx(growth, abs=1e-6)


def test_a_slow_chunk_at_the_end_is_no_growth() -> None:
    assert growth_percent([10.0] * 999 + [100.0]) == 0


def test_a_report_is_json_that_names_its_command_and_machine(capsys: pytest.CaptureFixture[str]) -> None:
    report("chunk", machine(), {"figure": 3})
    told = json.loads(capsys.readouterr().out)
    assert told["benchmark"] == "chunk" and told["figure"] == 3
    assert told["command"].startswith("python -m benchmarks.chunk")
    assert told["machine"]["cores"] >= 1 and told["machine"]["torch"]


class ScriptedSocket:
    """A socket that gives prepared messages and keeps what is sent."""

    def __init__(self, messages: list[str | bytes]) -> None:
        self.messages = messages
        self.sent: list[dict[str, Any]] = []

    def send(self, text: str) -> None:
        self.sent.append(json.loads(text))

    def recv(self, timeout: float) -> str | bytes:
        return self.messages.pop(0)


def test_a_visitor_pairs_a_chunk_with_its_fragment_and_not_with_the_init_segment() -> None:
    chunk = {"type": "chunk", "index": 4}
    socket = ScriptedSocket(['{"type": "ready"}', b"init", '{"type": "state"}', json.dumps(chunk), b"fragment"])
    visitor = Visitor(socket, "pocket")  # type: ignore[arg-type]
    assert visitor.next_chunk() == chunk
    assert socket.messages == []
    assert [(message["type"], message["seq"]) for message in socket.sent] == [("start", 1)]


def test_a_visitor_does_not_measure_on_after_an_error() -> None:
    socket = ScriptedSocket(['{"type": "error", "code": "session_failed", "message": "out of memory"}'])
    with pytest.raises(RuntimeError, match="out of memory"):
        Visitor(socket, "pocket")  # type: ignore[arg-type]


RESULT = {
    "machine": {"cores": 2, "processor": "some processor", "torch": "2.13.0"},
    "seconds": {"first_picture": {"median": 4.25, "max": 5.0, "n": 5}},
}


def test_the_readme_gets_the_figures_between_its_markers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "start.json").write_text(json.dumps(RESULT))
    page = tmp_path / "README.md"
    page.write_text(f"before\n{readme.BEGIN}\nold figures\n{readme.END}\nafter\n")
    monkeypatch.setattr(readme, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    readme.main()
    text = page.read_text()
    assert "median 4.2 s, slowest 5.0 s of 5" in text and "2 cores of some processor" in text
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old figures" not in text


def test_figures_of_two_machines_are_not_mixed() -> None:
    other = {**RESULT, "machine": {**RESULT["machine"], "processor": "another processor"}}
    visits = {**other, "visits": 9, "growth_mib_per_100_visits": 0.1, "memory_mib": [400.0]}
    first, second = readme.table({"start": RESULT, "visits": visits}).split("On ")[1:]
    rows = {"some processor": "median 4.2 s", "another processor": "memory over 9 visits"}
    for part in (first, second):
        (processor,) = (name for name in rows if f"cores of {name}," in part)
        (absent,) = (row for name, row in rows.items() if name != processor)
        assert rows[processor] in part and absent not in part and part.count("| measured |") == 1


def test_the_readme_command_says_when_nothing_was_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(readme, "RESULTS", tmp_path)
    with pytest.raises(FileNotFoundError, match="make bench"):
        readme.main()


STEERING = {
    "seconds": 6.0,
    "paths": 30,
    "rows": [{"scene": "meadow"}, {"scene": "dusk"}, {"scene": "meadow"}],
    "summary": {
        way: {name: {"mean": 0.5, "std": 0.25, "largest": 1.0} for name in ("rotation_deg", "translation_m")}
        for way in readme.FOUND_BY
    },
    "behind_s": {"forward": 0.12, "right": None, "yaw": None, "pitch": None},
    "published": [
        {
            "source": "A paper",
            "address": "https://example.org/a",
            "measured": "degrees",
            "figures": {"Model": [3.5, 2.0]},
        }
    ],
}


def test_the_steering_page_gets_its_tables_with_the_readme(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for folder in ("results", "docs"):
        (tmp_path / folder).mkdir()
    for name, result in (("start", RESULT), ("steering", STEERING)):
        (tmp_path / "results" / f"{name}.json").write_text(json.dumps(result))
    for page in ("README.md", "docs/steer.md"):
        (tmp_path / page).write_text(f"{readme.BEGIN}\n{readme.END}\n")
    monkeypatch.setattr(readme, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    readme.main()
    text = (tmp_path / "docs" / "steer.md").read_text()
    assert text.count("| 0.50 ± 0.25° (largest 1.00°) | 0.50 ± 0.25 m (largest 1.00 m) |") == 4
    assert "The first 6 s of 30 walks along shipped paths, in dusk, meadow;" in text
    assert "120 ms walking" in text and "turning" not in text
    assert "| Model | 3.5 | 2 | [A paper](https://example.org/a): degrees |" in text
    assert "| the camera found by" not in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("page", ["README.md", "docs/steer.md"])
def test_the_pages_have_the_markers(page: str) -> None:
    text = (Path(__file__).resolve().parent.parent / page).read_text(encoding="utf-8")
    assert text.index(readme.BEGIN) < text.index(readme.END)
