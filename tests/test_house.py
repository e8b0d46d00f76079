"""The rules of the house: which package may import which, what a file may hold, and that a wheel plays by itself."""

from __future__ import annotations

import ast
import json
import os
import re
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

ROOT = Path(__file__).resolve().parent.parent
CODE = ("flashdreams", "backend", "benchmarks")

# Every layer and the layers below it that its modules may import; a module always may import its own layer.
CORE = {"flashdreams", "flashdreams.core", "flashdreams.camera"}
INFRA = CORE | {"flashdreams.infra"}
RECIPES = INFRA | {"flashdreams.recipes"}
INTEGRATIONS = RECIPES | {"flashdreams.integrations"}
REGISTRY = INTEGRATIONS | {"flashdreams.configs", "flashdreams.plugins"}
MAY_IMPORT = {
    "flashdreams": {"flashdreams"},
    "flashdreams.core": {"flashdreams", "flashdreams.core"},
    "flashdreams.camera": {"flashdreams", "flashdreams.camera"},
    "flashdreams.infra": INFRA,
    "flashdreams.recipes": RECIPES,
    "flashdreams.integrations": INTEGRATIONS,
    "flashdreams.client": CORE | {"flashdreams.client"},
    "flashdreams.configs": REGISTRY,
    "flashdreams.plugins": REGISTRY,
    "flashdreams.scripts": REGISTRY | {"flashdreams.scripts"},
    "backend": INFRA | {"flashdreams.configs", "backend"},
    "benchmarks": RECIPES | {"flashdreams.configs", "backend", "benchmarks"},
}
OURS = ("flashdreams", "backend", "benchmarks", "tests")
FORMATS = {"camera_path.json"}
"""Files that documents name although they are not ours."""
WEB = {"fastapi", "starlette", "uvicorn", "websockets", "prometheus_client"}


def tracked_files() -> list[Path]:
    """The files of the source tree that git tracks, or all but caches where there is no git."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
        paths = [ROOT / name for name in listed.decode().split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        skipped = {".git", ".venv", "__pycache__", "build", "dist", "runs", "outputs"}
        paths = [path for path in ROOT.rglob("*") if not skipped & set(path.relative_to(ROOT).parts)]
    return [path for path in paths if path.is_file()]


def modules(*packages: str) -> Iterator[tuple[str, Path]]:
    """Dotted name and path of every module under `packages`."""
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def layer(module: str) -> str:
    """The layer that a module of ours belongs to: `flashdreams.core.attention.rope` is in `flashdreams.core`."""
    parts = module.split(".")
    package = ".".join(parts[:2])
    return package if package in MAY_IMPORT else parts[0]


def imports_of(module: str, path: Path) -> set[str]:
    """Every module named by an import statement anywhere in the file, relative ones resolved."""
    found: set[str] = set()
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            # `from flashdreams import infra` names a layer only together with the imported name.
            found.update(f"{base}.{alias.name}" for alias in node.names)
    return found


def test_imports_go_one_way() -> None:
    wrong = []
    for module, path in modules(*CODE):
        allowed = MAY_IMPORT[layer(module)]
        for name in sorted(imports_of(module, path)):
            if name.split(".")[0] not in OURS:
                continue
            if layer(name) not in allowed:
                wrong.append(f"{module} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_every_package_has_its_place_in_the_order() -> None:
    packages = {f"flashdreams.{path.parent.name}" for path in (ROOT / "flashdreams").glob("*/__init__.py")}
    assert packages <= set(MAY_IMPORT), f"without a place: {packages - set(MAY_IMPORT)}"


def test_the_import_check_sees_every_form_of_import(tmp_path: Path) -> None:
    path = tmp_path / "sample.py"
    path.write_text(
        "import flashdreams.recipes.wan as wan\nfrom flashdreams import integrations\n"
        "def late():\n    from ..infra import world\n    from . import poses\n"
    )
    assert imports_of("flashdreams.camera.sample", path) == {
        "flashdreams.recipes.wan",
        "flashdreams.integrations",
        "flashdreams.infra.world",
        "flashdreams.camera.poses",
    }


def test_the_library_knows_nothing_of_http() -> None:
    wrong = [
        f"{module} imports {name}"
        for module, path in modules("flashdreams")
        for name in imports_of(module, path)
        # A client is on the other end of the wire: it may open a socket, and knows nothing of the server's insides.
        if name.split(".")[0] in (WEB - {"websockets"} if layer(module) == "flashdreams.client" else WEB)
    ]
    assert not wrong, "\n".join(wrong)


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for _, path in modules(*CODE, "tests")
        if path.read_text(encoding="utf-8").strip()
        and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not silent, f"no docstring in {silent}"


def test_files_stay_readable() -> None:
    long = []
    for path in tracked_files():
        inside = path.relative_to(ROOT)
        if path.suffix in {".py", ".js", ".css", ".html"} and inside.parts[0] != "tests":
            lines = len(path.read_text(encoding="utf-8").splitlines())
            if lines > 400:
                long.append(f"{inside}: {lines} lines")
    assert not long, "\n".join(long)


def test_nothing_left_over_and_no_path_of_one_machine() -> None:
    folders = "|".join(("work", "root", "tmp", "home"))
    # Joined from pieces so that this file does not find itself.
    leftovers = "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X"))
    pattern = re.compile(rf"(?<![\w.~$}}/])/(?:{folders})/\w|\b(?:{leftovers})\b")
    found = []
    for path in tracked_files():
        if (
            path.suffix in {".py", ".js", ".css", ".html", ".md", ".toml", ".txt", ".json", ""}
            and path.name != "LICENSE"
        ):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                if match := pattern.search(line):
                    found.append(f"{path.relative_to(ROOT)}:{number}: {match.group()}")
    assert not found, "\n".join(found)


def test_the_documents_name_files_that_exist() -> None:
    known = [f"/{path.relative_to(ROOT).as_posix()}" for path in tracked_files()]
    missing = []
    for document in sorted(ROOT.glob("*.md")):
        text = document.read_text(encoding="utf-8")
        for name in re.findall(r"`([\w./-]+\.(?:py|js|json|md|txt))`", text):
            if not any(path.endswith(f"/{name}") for path in known) and name not in FORMATS:
                missing.append(f"{document.name} names {name}")
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
            if not (ROOT / target).is_file():
                missing.append(f"{document.name} links to {target}")
    assert not missing, "\n".join(missing)


def test_the_tree_stays_small() -> None:
    size = sum(path.stat().st_size for path in tracked_files()) / 2**20
    assert size < 48, f"{size:.1f} MiB tracked"


def test_every_dependency_is_pinned_by_the_constraints() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[\[<>=!~ ]", requirement)[0].lower() for requirement in wanted}
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.split("==")[0] for line in lines if line and not line.startswith("#")}
    assert names <= pinned, f"not pinned: {sorted(names - pinned)}"
    assert "torch==2.13.0" in lines


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bin` folder of a new environment with the built wheel in it; the dependencies are those of this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, ROOT], check=True, timeout=300)
    (wheel,) = folder.glob("flashdreams_play-*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True, timeout=240)
    bin_folder = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    python = bin_folder / "python"
    subprocess.run([*pip, "--python", python, "install", "--no-deps", "--no-index", wheel], check=True, timeout=300)
    asked = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    # A folder named in a .pth file is added without reading the .pth files in it: an editable install stays out.
    (Path(packages) / "dependencies.pth").write_text(f"{Path(pytest.__file__).parents[1]}\n", encoding="utf-8")
    return bin_folder


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


@pytest.mark.slow
def test_the_wheel_carries_the_page_and_the_assets(installed: Path, tmp_path: Path) -> None:
    asked = "import flashdreams, backend; print(flashdreams.__path__[0]); print(backend.__path__[0])"
    run = subprocess.run(
        [installed / "python", "-c", asked],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    library, app = map(Path, run.stdout.split("\n")[:2])
    assert installed.parent in library.parents, f"{library} is not the installed wheel"
    for packed, source in ((app / "_frontend", ROOT / "frontend"), (library / "_assets", ROOT / "assets")):
        wanted = {path.relative_to(source) for path in tracked_files() if source in path.parents}
        assert wanted, f"{source} is empty"
        assert wanted <= {path.relative_to(packed) for path in packed.rglob("*")}


@pytest.mark.slow
def test_the_wheel_lists_its_runners_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    run = subprocess.run(
        [installed / "flashdreams-run", "--help"],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert run.returncode == 0, run.stderr
    assert "pocket" in run.stdout


@pytest.mark.slow
def test_the_wheel_plays_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path / "log.txt"
    with log.open("w") as output:
        server = subprocess.Popen(
            [installed / "flashdreams-play", "--port", str(port), "--no-browser"],
            cwd=tmp_path,
            env=clean_environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        assert json.loads(fetch(f"http://127.0.0.1:{port}/healthz", server, log))["status"] in {"ok", "loading"}
        assert "<html" in fetch(f"http://127.0.0.1:{port}/", server, log).lower()
        worlds = json.loads(fetch(f"http://127.0.0.1:{port}/api/worlds", server, log))
        assert "pocket" in [world["slug"] for world in worlds["worlds"]]
        assert first_fragment(f"ws://127.0.0.1:{port}/ws/play")[4:8] == b"moof"
    finally:
        server.terminate()
        server.wait(timeout=30)


def first_fragment(url: str) -> bytes:
    """The media of the first chunk that a new visitor gets; the model is loaded by then."""
    with connect(url, max_size=2**24) as visitor:
        visitor.send('{"type": "start", "seq": 1}')
        while True:
            told = visitor.recv(timeout=240)
            if isinstance(told, str) and json.loads(told)["type"] == "chunk":
                fragment = visitor.recv(timeout=30)
                assert isinstance(fragment, bytes)
                return fragment


def fetch(url: str, server: subprocess.Popen[bytes], log: Path) -> str:
    """The body at `url` once the server answers; fails with the server's log after two minutes or when it has ended."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    raise AssertionError(f"no answer from {url}; the server said:\n{log.read_text()}")
