"""The evaluation of endless worlds: goals, its report, and what its command line refuses."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from flashdreams.integrations.pocket.assets import TILE_WEIGHTS, asset_folder
from flashdreams.integrations.pocket.evaluation import endless
from flashdreams.integrations.pocket.evaluation.endless import GOALS, QUICK, EndlessEvaluation, Goal, evaluate_endless
from flashdreams.integrations.pocket.evaluation.evaluate import main


@pytest.fixture
def evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EndlessEvaluation:
    found = EndlessEvaluation(asset_folder() / TILE_WEIGHTS, QUICK, tmp_path)
    measures = {
        "one": lambda: {"recall": 0.7, "seam_ratio": 1.25},
        "two": lambda: {"precision": math.nan, "other": 1.0},
    }
    monkeypatch.setattr(found, "measures", lambda: measures)
    return found


def test_goals_are_met_from_one_side() -> None:
    assert Goal(2.0).met(2.0) and not Goal(2.0).met(1.9)
    assert Goal(2.0, most=True).met(2.0) and not Goal(2.0, most=True).met(2.1)


def test_the_report_holds_every_figure_and_the_goals_of_those_that_have_one(evaluation: EndlessEvaluation) -> None:
    found = json.loads(evaluate_endless(evaluation, []))
    assert found["figures"] == {"recall": 0.7, "seam_ratio": 1.25, "other": 1.0}
    assert found["goals"] == {
        "seam_ratio": {"value": 1.25, "at most": 1.1, "met": False},
        "recall": {"value": 0.7, "at least": 0.6, "met": True},
    }
    assert list(found["seconds"]) == ["one", "two"]
    assert json.loads((evaluation.folder / "endless.json").read_text()) == found


def test_measures_can_be_taken_alone(evaluation: EndlessEvaluation) -> None:
    assert json.loads(evaluate_endless(evaluation, ["two"]))["figures"] == {"other": 1.0}


def test_every_measure_is_known_by_its_name(tmp_path: Path) -> None:
    measures = EndlessEvaluation(asset_folder() / TILE_WEIGHTS, QUICK, tmp_path).measures()
    assert list(measures) == [each.__name__ for each in measures.values()]
    assert len(GOALS) > len(measures)


@pytest.mark.parametrize(
    "arguments",
    [["--only", "words"], ["--world", "endless", "--only", "colours"], ["--world", "endless", "--checkpoint", "none"]],
)
def test_the_command_line_names_what_it_refuses(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert arguments[-2] in capsys.readouterr().err


def test_a_quick_evaluation_is_smaller_than_a_full_one() -> None:
    for name in (
        "worlds",
        "views",
        "walks",
        "regions",
        "metres",
        "seconds",
        "returns",
        "followed_chunks",
        "trained_regions",
    ):
        assert getattr(QUICK, name) < getattr(endless.FULL, name)
