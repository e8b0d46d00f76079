"""The documented API is there by the letter: names, parameters, defaults, bases, fields and exports."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.public_api import Fact, check

LIBRARY: dict[str, str] = {
    "flashdreams.infra.runner.RunnerConfig.device": "auto takes CUDA where there is one, then MPS, then the CPU",
}
"""Facts outside `recipes` that do not hold, by a pattern of their names, and why. `docs/upstream.md` has them too."""

RECIPES: dict[str, str] = {}
"""The same for `recipes`."""

EXCEPTIONS = LIBRARY | RECIPES
PAGE = Path(__file__).parents[1] / "docs" / "upstream.md"


@pytest.fixture(scope="module")
def facts() -> list[Fact]:
    return check()


def excused(fact: Fact) -> bool:
    return any(fnmatchcase(fact.name, pattern) for pattern in EXCEPTIONS)


def test_every_fact_holds_outside_the_table_of_exceptions(facts: list[Fact]) -> None:
    held = sum(fact.problem is None for fact in facts)
    print(f"{held} of {len(facts)} facts of the documented API hold: {held / len(facts):.1%}")
    broken = [f"{fact.name} {fact.problem}" for fact in facts if fact.problem and not excused(fact)]
    assert not broken, "\n".join(broken)


def test_every_exception_is_needed_and_there_are_few(facts: list[Fact]) -> None:
    broken = [fact.name for fact in facts if fact.problem]
    idle = [pattern for pattern in EXCEPTIONS if not any(fnmatchcase(name, pattern) for name in broken)]
    assert not idle
    assert len(EXCEPTIONS) <= 12


def test_the_page_lists_every_exception() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [pattern for pattern in EXCEPTIONS if f"`{pattern}`" not in page] == []


def test_the_comparison_finds_what_is_missing_and_what_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {
        "flashdreams.infra.config.base": {
            "names": ["absent"],
            "functions": {"derive_config": "(base: T, **changes) -> T"},
            "classes": {
                "InstantiateConfig": {
                    "bases": ["nn.Module"],
                    "dataclass": "dataclass",
                    "fields": {"_target": "type", "other": "int = 1"},
                    "methods": {"setup": "(extra: int = 3, **kwargs) -> Any"},
                }
            },
        }
    }
    monkeypatch.setattr("tests.public_api.FACTS", wrong)
    found = {fact.name.removeprefix("flashdreams.infra.config.base.") for fact in check() if fact.problem}
    expected = {"absent", "derive_config", "InstantiateConfig(nn.Module)", "InstantiateConfig.other"}
    assert found == expected | {"InstantiateConfig.setup"}
