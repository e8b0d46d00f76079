"""Cores within a container's quota, and how threads wait."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flashdreams.threads import available_cores, cpu_quota, set_wait_policy


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)


def test_a_quota_of_version_2_counts_at_every_level(tmp_path: Path) -> None:
    root, membership = tmp_path / "cgroup", tmp_path / "self"
    membership.write_text("0::/machine/box\n")
    write(root / "machine" / "box", cpu__max="max 100000\n")
    assert cpu_quota(root, membership) is None
    write(root / "machine", cpu__max="150000 100000\n")
    assert cpu_quota(root, membership) == 1.5
    write(root / "machine" / "box", cpu__max="50000 100000\n")
    assert cpu_quota(root, membership) == 0.5 and available_cores(root, membership) == 1


def test_inside_a_container_the_root_is_its_own_group(tmp_path: Path) -> None:
    (tmp_path / "self").write_text("0::/\n")
    write(tmp_path / "cgroup", cpu__max="100000 100000\n")
    assert available_cores(tmp_path / "cgroup", tmp_path / "self") == 1


@pytest.mark.parametrize(("quota", "cores"), [("-1", None), ("25000", 0.25), ("200000", 2.0)])
def test_a_quota_of_version_1(tmp_path: Path, quota: str, cores: float | None) -> None:
    (tmp_path / "self").write_text("4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n")
    folder = tmp_path / "cgroup" / "cpu,cpuacct" / "docker" / "abc"
    write(folder, cpu__cfs_quota_us=quota + "\n", cpu__cfs_period_us="100000\n")
    assert cpu_quota(tmp_path / "cgroup", tmp_path / "self") == cores


def test_without_control_groups_all_allowed_cores_count(tmp_path: Path) -> None:
    cores = available_cores(tmp_path / "none", tmp_path / "none")
    assert cores == (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    (tmp_path / "self").write_text("broken")
    assert cpu_quota(tmp_path, tmp_path / "self") is None


def test_threads_sleep_while_they_wait_unless_the_user_decides() -> None:
    environment: dict[str, str] = {}
    set_wait_policy(environment)
    assert environment == {"OMP_WAIT_POLICY": "PASSIVE"}
    for own in ({"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "1000"}, {"KMP_BLOCKTIME": "1"}):
        given = dict(own)
        set_wait_policy(given)
        assert given == own


@pytest.mark.parametrize("module", ["backend.server.main", "flashdreams.scripts.cli"])
def test_it_is_set_before_torch_is_imported(module: str) -> None:
    code = (
        "import sys, os, importlib.abc\n"
        "class Look(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'torch': print(os.environ.get('OMP_WAIT_POLICY'), flush=True); os._exit(0)\n"
        f"sys.meta_path.insert(0, Look())\nimport {module}\n"
        "import torch"  # the server imports it after its settings are read
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP", "GOMP", "KMP"))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout.split() == ["PASSIVE"], done.stderr
