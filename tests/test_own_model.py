"""The guide to adding a model, followed: a package is copied, installed, found and run; a broken one is skipped."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integrations.clips import read_clip
from tests.processes import run

ROOT = Path(__file__).resolve().parent.parent
GUIDE, TEMPLATE = ROOT / "docs" / "add-your-own-model.md", ROOT / "docs" / "template"
COPY, INSTALL, RUN, PLAY, DRY_RUN, CHECK = (
    line
    for block in re.findall(r"```sh\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.S)
    for line in block.splitlines()
)
"""The guide's commands. The one that plays is followed in a real browser, by tests/e2e/test_own_model.py."""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the template installed in it, so that this environment stays as it is."""
    folder = tmp_path_factory.mktemp("own")
    return install(folder)


def install(folder: Path) -> Path:
    """Follow the guide's first two commands, with everything in `folder`; answers where the package went."""
    copy = COPY.replace("../swirl", str(folder / "swirl")).split()
    subprocess.run(copy, cwd=ROOT, check=True)
    options = INSTALL.removeprefix("pip ").replace("-e ../swirl", str(folder / "swirl")).split()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, *options, "--target", folder / "packages"], cwd=folder, check=True, timeout=240)
    return folder / "packages"


def command(line: str, packages: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run one of the guide's commands where that package is installed."""
    options = line.removeprefix("flashdreams-run ").split()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(packages)))}
    return run(["-m", "flashdreams.scripts.cli", *options], folder, environment)


def test_the_template_is_as_short_as_the_guide_says() -> None:
    files = [path for path in TEMPLATE.rglob("*") if path.suffix in (".py", ".toml")]
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files) < 200


@pytest.mark.slow
def test_an_installed_package_is_found_and_run(packages: Path, tmp_path: Path) -> None:
    listed = command("--help", packages, tmp_path)
    assert re.search(r"^  swirl +a small network", listed.stdout, re.M), listed.stderr
    made = command(RUN, packages, tmp_path)
    assert made.returncode == 0, made.stderr
    clip = read_clip(tmp_path / "outputs" / "swirl.mp4")
    assert clip.frames.shape == (12 * 4, 144, 256, 3) and clip.fps == 24
    assert clip.frames.std() > 10


@pytest.mark.slow
def test_the_last_commands_of_the_guide_do_what_it_says(packages: Path, tmp_path: Path) -> None:
    dry, check = (command(line, packages, tmp_path) for line in (DRY_RUN, CHECK))
    assert dry.returncode == check.returncode == 0
    assert "SwirlTransformerConfig" in dry.stdout
    assert check.stdout.strip() == "swirl names no file of weights"


@pytest.mark.slow
def test_a_broken_package_is_reported_and_skipped(packages: Path, tmp_path: Path) -> None:
    info = packages / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    groups = ("flashdreams.runner_configs", "flashdreams.worlds")
    (info / "entry_points.txt").write_text("\n".join(f"[{group}]\nbroken = json:RUNNERS\n" for group in groups))
    listed = command("--help", packages, tmp_path)
    assert listed.returncode == 0
    assert "  swirl " in listed.stdout and "  pocket " in listed.stdout
    assert "skipping flashdreams.runner_configs entry 'broken' (json:RUNNERS)" in listed.stderr
