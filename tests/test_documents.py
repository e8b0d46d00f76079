"""The documents: links lead somewhere, commands can be typed as they stand, and messages are those that are said."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import tyro

from backend.cluster import main as cluster
from backend.kiosk import watchdog
from backend.settings import settings_from
from flashdreams.configs.runner_configs import all_runners
from flashdreams.scripts import cli
from flashdreams.scripts.batch import BatchConfig

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "flashdreams" / "integrations").glob("*/README.md")),
]
OF_OTHERS = frozenset({"git", "cp", "cd", "ssh", "apt-get", "pip", "docker", "systemctl", "hf", "cage", "ray"})
"""Commands that are not ours to check."""
INSTALLED = {
    "backend": "flashdreams-play",
    "flashdreams.scripts.cli": "flashdreams-run",
    "flashdreams.scripts.batch": "flashdreams-batch",
    "backend.kiosk.watchdog": "flashdreams-kiosk",
    "backend.cluster.main": "flashdreams-cluster",
}
GUIDE = "swirl"
"""The model of the guide, which is not installed here; `test_own_model.py` runs its commands."""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings."""
    lines = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S).splitlines()
    titles = [line.lstrip("#").strip().lower() for line in lines if line.startswith("#")]
    return {re.sub(r"[^\w -]", "", title).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", DOCUMENTS, ids=name_of)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        linked = page.parent / file if file else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def test_the_index_names_every_page() -> None:
    linked = set(re.findall(r"\]\((\w[\w-]*\.md)\)", (ROOT / "docs" / "README.md").read_text(encoding="utf-8")))
    assert linked == {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}


def commands(page: Path) -> Iterator[str]:
    """The command lines of a page: indented, in a block of sh, or in the text."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.S)
    rest = re.sub(r"```.*?```", "", text, flags=re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += [re.split(r" {3,}", line.strip())[0] for line in rest.splitlines() if line.startswith("    ")]
    ours = r"`((?:make|torchrun|flashdreams-[a-z]+|python -m) [^`]+)`"
    lines += re.findall(ours, rest)
    for line in lines:
        whole = "<" not in line and not line.endswith("=")
        if whole and not line.startswith((".venv", "python -m venv", "python -c")):
            yield from line.split(" && ")


@pytest.mark.parametrize("page", DOCUMENTS, ids=name_of)
def test_commands_can_be_typed_as_they_stand(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for command in commands(page):
        words = shlex.split(command.split(" > ")[0].split(" 2> ")[0])
        if words[0] not in OF_OTHERS and GUIDE not in words:
            check(tuple(words))


@cache
def check(line: tuple[str, ...]) -> None:
    """Fails where a command of ours would be refused; runs none of them. Many stand in several documents."""
    words, command = list(line), shlex.join(line)
    while "=" in words[0]:
        words = words[1:]
    if words[0] == "torchrun":
        words = ["python", *words[words.index("-m") :]]
    if words[:2] == ["python", "-m"]:
        words = [INSTALLED.get(words[2], words[2]), *words[3:]]
    program, *arguments = words
    try:
        match program:
            case "make":
                check_make(arguments, command)
            case "flashdreams-play":
                settings_from([word for word in arguments if word != "--help"])
            case "flashdreams-run":
                check_run(arguments)
            case "flashdreams-batch":
                tyro.cli(BatchConfig, args=arguments)
            case "flashdreams-cluster":
                settings_from(cluster.parser().parse_known_args(arguments)[1])
            case "flashdreams-kiosk":
                check_kiosk(arguments)
            case _:
                check_module(program, arguments)
    except SystemExit as left:
        assert left.code == 0, command


def check_make(arguments: list[str], command: str) -> None:
    """The target and the variables are there, and what the target would run can be typed as well."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in arguments:
        name, equals, _ = word.partition("=")
        known = f"^{name} \\?=" if equals else f"^{name}:.*##"
        assert re.search(known, makefile, re.M), command
    # The tests themselves may have been started by make, whose settings are not those of the command.
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "SYSTEMROOT")}
    asked = ["make", "-n", "--no-print-directory", *arguments]
    told = subprocess.run(asked, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    last = told.strip().splitlines()[-1].replace(".venv/bin/", "")
    if last.startswith(("python -m backend", "python -m flashdreams", "python -m benchmarks", "flashdreams-")):
        check(tuple(shlex.split(last)))


def check_run(arguments: list[str]) -> None:
    if arguments[:1] in ([], ["--help"]) or arguments[0] in cli._ACTIONS:
        return
    slug, *rest = arguments
    cli._parse(slug, all_runners()[slug], [word for word in rest if word not in cli._ACTIONS])


def check_kiosk(arguments: list[str]) -> None:
    settings = [word for word in arguments if word.endswith(".toml")]
    for file in settings:
        watchdog.read_kiosk_settings(Path(file))
    settings_from([word for word in arguments if word not in settings])


def check_module(module: str, arguments: list[str]) -> None:
    """The module is there, and its help names every flag that is given."""
    if module in ("pytest", "ruff", "mypy"):
        return
    if module == "benchmarks":
        module = "benchmarks.__main__"
    assert importlib.util.find_spec(module), f"no module {module}"
    flags = {word.split("=")[0] for word in arguments if word.startswith("--")}
    if flags:
        assert flags <= flags_of(module) | {"--help"}, f"{module} has no {flags - flags_of(module)}"


def flags_of(module: str) -> set[str]:
    """The flags that a program of ours adds to its parser."""
    spec = importlib.util.find_spec(module)
    assert spec and spec.origin
    calls = [
        node
        for node in ast.walk(ast.parse(Path(spec.origin).read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument"
    ]
    return {str(call.args[0].value) for call in calls if isinstance(call.args[0], ast.Constant)}


WRONG = (
    "make paly",
    "make play SPEED=3",
    'make play ARGS="--prot 9"',
    "flashdreams-run pocket --sceen dusk",
    "flashdreams-batch --seed 1",
    "python -m benchmarks.chunk --chunk 3",
    "python -m benchmarks.chonk",
    "torchrun --nproc-per-node=2 -m backend --wurld pocket",
    "flashdreams-kiosk none.toml",
)


def test_a_wrong_command_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for command in WRONG:
        with pytest.raises((AssertionError, SystemExit, subprocess.CalledProcessError, ValueError)):
            check(tuple(shlex.split(command)))


def said() -> set[str]:
    """Every piece of text in the program: of Python its strings, of the page and the Makefile all."""
    found = {path.read_text(encoding="utf-8") for path in (ROOT / "frontend").rglob("*.js")}
    found.add((ROOT / "Makefile").read_text(encoding="utf-8"))
    for path in [*(ROOT / "backend").rglob("*.py"), *(ROOT / "flashdreams").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


def test_the_messages_in_troubleshooting_are_said_by_the_program() -> None:
    texts = said()
    rows = re.findall(r"^\| (.*?) \| .* \| .* \|$", (ROOT / "docs" / "troubleshooting.md").read_text("utf-8"), re.M)
    quoted = [message for row in rows for message in re.findall(r"`([^`]+ [^`]+)`|^\*([^*]+)\*", row)]
    assert len(quoted) > 25
    for message in quoted:
        for piece in "".join(message).split("..."):
            assert any(piece.strip() in text for text in texts), message


def test_the_benchmarks_page_names_programs_and_figures_that_exist() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    programs = re.findall(r"^\| `(\w+)` \| .* \| .* \|$", page, re.M)
    told = {"start", "chunk", "latency", "steady", "visits", "sessions", "wan_cpu", "wan_gpu", "models", "soak"}
    assert told == set(programs)
    for name, figures in re.findall(r"^\| `(\w+)` \| (.*?) \| .* \|$", page.partition("## Reading")[2], re.M):
        source = (ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8")
        kept = ROOT / "benchmarks" / "results" / f"{name}.json"
        text = source + (kept.read_text(encoding="utf-8") if kept.is_file() else "")
        for figure in re.findall(r"`([a-z_.]+)`", figures):
            assert all(part in text for part in figure.split(".")), f"{name}: {figure}"
