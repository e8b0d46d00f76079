"""The page's modules: typed, one purpose each, no circles, and every file that is named is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from backend.wire.client_messages import schema

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "frontend"
MODULES = sorted(PAGE.rglob("*.js"))
IMPORT = re.compile(r"^(?:import|export) .*?from '(\.[^']+)'|^import '(\.[^']+)'", re.M)


def imports(module: Path) -> set[Path]:
    """Modules that a module imports when it runs; types in comments are not meant."""
    found = IMPORT.findall(module.read_text(encoding="utf-8"))
    return {(module.parent / (one or other)).resolve() for one, other in found}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PAGE)))
def test_each_module_is_type_checked_and_says_what_it_is_for(module: Path) -> None:
    first, second, *_ = module.read_text(encoding="utf-8").split("\n")
    assert first == "// @ts-check"
    assert second.startswith("/**")
    assert all(target.is_file() for target in imports(module))


def test_modules_import_in_no_circle() -> None:
    graph = {module: imports(module) for module in MODULES}
    while leaves := {module for module, targets in graph.items() if not targets & graph.keys()}:
        graph = {module: targets for module, targets in graph.items() if module not in leaves}
    assert not graph, sorted(str(module.relative_to(PAGE)) for module in graph)


def test_every_module_is_reached_from_a_page_and_every_file_that_a_page_names_is_there() -> None:
    reached: set[Path] = set()
    for page in ("index.html", "kiosk.html"):
        text = (PAGE / page).read_text(encoding="utf-8")
        named = {PAGE / name for name in re.findall(r'(?:href|src)="static/([^"]+)"', text)}
        assert all(path.is_file() for path in named)
        assert "unsafe" not in text
        todo = [path for path in named if path.suffix == ".js"]
        while todo:
            module = todo.pop().resolve()
            if module not in reached:
                reached.add(module)
                todo.extend(imports(module))
    assert reached == {module.resolve() for module in MODULES}


def test_every_message_of_the_server_has_a_handler_by_its_name() -> None:
    session = (PAGE / "net" / "session.js").read_text(encoding="utf-8")
    for kind in schema()["server"]["discriminator"]["mapping"].keys() - {"chunk"}:
        assert re.search(rf"^\s+{kind}: \(", session, re.M), f"no handler of {kind!r} in net/session.js"
