"""`flashdreams-run` lists, explains, dry-runs and runs the runners, and says what is wrong with its arguments."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from flashdreams.infra.encoder.optional import import_transformers
from flashdreams.scripts import cli
from flashdreams.scripts.cli import entrypoint as main
from tests.configs.toys import ToyRunner, toy_runner


@pytest.fixture(autouse=True)
def two_runners(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cli, "all_runners", lambda: {slug: toy_runner(slug, tmp_path) for slug in ("toy", "other")})


def test_help_lists_slugs_with_descriptions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  toy    The toy model" in lines
    assert "  other  The other model" in lines


def test_no_arguments_list_the_runners_too_but_fail(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "The toy model" in capsys.readouterr().err


def test_an_unknown_slug_exits_with_2_and_suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["toi"]) == 2
    assert "unknown runner 'toi', did you mean 'toy'?" in capsys.readouterr().err


def test_a_runner_explains_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["toy", "--help"])
    assert exit_info.value.code == 0
    text = capsys.readouterr().out
    assert "--scene" in text
    assert "Scene to start in." in text
    assert "--pipeline.diffusion-model.scheduler.shift" in text
    assert "_target" not in text


def test_an_unknown_field_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["toy", "--nonsense", "1"])
    assert exit_info.value.code == 2


def test_a_dry_run_prints_the_config_and_runs_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["toy", "--scene", "dusk", "--pipeline.diffusion-model.seed", "9", "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "    scene: 'dusk'" in text
    assert " seed: 9" in text
    assert not list(tmp_path.iterdir())


def test_a_run_uses_the_fields_given(tmp_path: Path) -> None:
    assert main(["toy", "--scene", "dusk", "--output-dir", str(tmp_path / "clips")]) == 0
    assert (tmp_path / "clips" / "scene.txt").read_text() == "dusk"


def test_a_mistake_found_while_running_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["toy", "--scene", "nowhere"]) == 1
    assert capsys.readouterr().err.strip() == "flashdreams-run: unknown scene 'nowhere'"
    assert main(["toy", "--device", "cuda:64"]) == 1
    assert "'cuda:64' is not there" in capsys.readouterr().err


def test_a_package_that_is_not_installed_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.setattr(ToyRunner, "run", lambda self: import_transformers())
    assert main(["toy"]) == 1
    told = capsys.readouterr().err.strip()
    assert told == (
        "flashdreams-run: text and picture prompts need the packages of the extra wan: pip install transformers ftfy"
    )
