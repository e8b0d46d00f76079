"""The rules of the house: which package may import which, what a file may hold, and that a wheel plays by itself."""

from __future__ import annotations

import ast
import gc
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
from functools import cache
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
BACKEND = {
    "backend.wire": set(),
    "backend.media": {"backend.wire"},
    "backend.store": {"backend.media", "backend.wire"},
    "backend.engine": {"backend.wire"},
    "backend.session": {"backend.engine", "backend.media", "backend.store", "backend.wire"},
    "backend.kiosk": set(),
    "backend.server": {f"backend.{folder}" for folder in "engine kiosk media session store wire".split()},
    "backend.cluster": {"backend.server", "backend.session", "backend.wire"},
}
"""Every folder of the app and the folders that its modules may import; `backend/settings.py` is open to all."""
OURS = ("flashdreams", "backend", "benchmarks", "tests")
FORMATS = {"camera_path.json"}
"""Files that documents name although they are not ours."""
WEB = {"fastapi", "starlette", "uvicorn", "websockets", "prometheus_client"}

PRIVATE_WORDS = frozenset(
    "lobby pilot steering keepsake keepsakes parcel upkeep urgency owed dreamer dream dreamed dreams dreaming showing"
    " unseat rehearsal footage solidity obedience dissolve seams boils news told replaying turns shaping"
    " audience".split()
)
"""Words that no name may hold: our own, where the field has a word."""
PRIVATE_NAMES = frozenset(
    "keep_house let_go hand_back take_turn say aside along eager made ChunkRotation patched own place_encoder"
    " walk rides ride tour ship listens following lasting ahead shares services shot shots catch_news Timeline".split()
)
"""Whole names that no module, class, function, field or metric has; as parts of other names they are plain English."""
PRIVATE_FILES = frozenset(
    "news flow words presence hands keeping say tree crisp take choose film chips steering shaping".split()
)
"""Names that no file of the page has."""
PRIVATE_NAMES_MEANT: dict[str, set[str]] = {
    # The wire's names stay: other clients use them.
    "backend/wire/server_messages.py": {"eager", "AudienceMessage"},
    # A part of the names in checkpoints of the tile model.
    "flashdreams/integrations/pocket/tiles/network.py": {"told"},
    # A metric's name that the check below makes up.
    "tests/test_house.py": {"flashdreams_dreams"},
}
"""By file, names that stay, and why."""


TESTED_IN = {
    "backend/clock.py": "session/test_admission.py",
    "backend/cluster/front_door.py": "cluster/test_relay.py",
    "backend/cluster/main.py": "cluster/test_ray.py",
    "backend/cluster/local.py": "cluster/test_ray.py",
    "backend/cluster/ray_group.py": "cluster/test_ray.py",
    "backend/cluster/world_server.py": "cluster/test_ray.py",
    "backend/engine/controls.py": "session/test_session.py",
    "backend/engine/rollout.py": "session/test_commands.py",
    "backend/kiosk/browser.py": "kiosk/test_kiosk.py",
    "backend/kiosk/nightly.py": "kiosk/test_watchdog.py",
    "backend/kiosk/settings.py": "kiosk/test_kiosk.py",
    "backend/media/encoder_thread.py": "session/test_broadcast.py",
    "backend/media/h264.py": "media/test_fmp4.py",
    "backend/media/images.py": "session/test_exports.py",
    "backend/media/mp4_boxes.py": "media/test_fmp4.py",
    "backend/media/recording.py": "session/test_exports.py",
    "backend/origins.py": "server/test_app.py",
    "backend/server/access.py": "server/test_app.py",
    "backend/server/connections.py": "server/test_safety.py",
    "backend/server/dependencies.py": "server/test_app.py",
    "backend/server/http_server.py": "server/test_safety.py",
    "backend/server/kiosk.py": "kiosk/test_kiosk.py",
    "backend/server/log_limits.py": "server/test_safety.py",
    "backend/server/paths.py": "store/test_keyframes.py",
    "backend/server/sessions.py": "session/test_exports.py",
    "backend/server/uploads.py": "server/test_app.py",
    "backend/session/chunk_messages.py": "session/test_viewers.py",
    "backend/session/context.py": "session/test_session.py",
    "backend/session/inputs.py": "session/test_session.py",
    "backend/session/metrics.py": "server/test_app.py",
    "backend/session/replay.py": "session/test_exports.py",
    "backend/session/workers.py": "server/test_safety.py",
    "backend/session/world_info.py": "server/test_app.py",
    "backend/settings.py": "server/test_main.py",
    "backend/store/camera_paths.py": "server/test_app.py",
    "backend/wire/server_messages.py": "server/test_protocol_docs.py",
}
"""Modules of the app without a test file of their name, and the file in tests/backend that tests them."""


LIBRARY_TESTED_IN = {
    "client/test_world.py": "client/connection",
    "configs/test_registry.py": "configs/integrations plugins/registry",
    "configs/test_run.py": "scripts/cli",
    "core/attention/test_attention.py": "core/attention/cp",
    "core/checkpoint/test_load.py": "core/checkpoint/safetensors_files",
    "infra/pipeline/test_base.py": "infra/encoder/base",
    "infra/test_runner.py": "infra/clip_runner",
    "infra/world/test_distributed_world.py": "infra/world/base",
    "integrations/pocket/evaluation/test_measures.py": (
        "integrations/pocket/evaluation: drift jobs key_following motion stage"
    ),
    "integrations/pocket/evaluation/test_path_error.py": "integrations/pocket/camera_paths",
    "integrations/pocket/land/test_region.py": "integrations/pocket/land/things",
    "integrations/pocket/renderer/test_render.py": (
        "integrations/pocket: model/codec model/optics renderer/backdrop scenes/catalog scenes/objects training/views"
    ),
    "integrations/pocket/test_edits.py": "integrations/pocket/tiles/building",
    "integrations/pocket/test_endless_pictures.py": "integrations/pocket/evaluation/picture_worlds",
    "integrations/pocket/test_endless_world.py": (
        "integrations/pocket: endless_runner tiles/lands tiles/schedule tiles/surroundings tiles/veil tiles/workers"
    ),
    "integrations/pocket/test_movers.py": "integrations/pocket/training: mover_simulator train_movers",
    "integrations/pocket/test_text_encoder.py": (
        "integrations/pocket: evaluation/words_obeyed tiles/word_network training/train_words training/word_draft"
        " training/word_times evaluation/words_page evaluation/word_lookup"
    ),
    "integrations/pocket/test_world.py": (
        "integrations/pocket: model/decoder model/denoiser model/scene_encoder training/training_clips"
    ),
    "integrations/pocket/tiles/test_ray_march.py": "integrations/pocket/tiles/rays",
    "integrations/pocket/tiles/test_store.py": "integrations/pocket/tiles/network",
    "integrations/pocket/training/test_train.py": (
        "integrations/pocket/training: data export latents release train_decoder train_denoiser"
    ),
    "integrations/pocket/training/test_train_views.py": "integrations/pocket/tiles/view_network",
    "integrations/test_camera_worlds.py": "recipes/wan: camera_pipeline camera_runner camera_world",
    "integrations/test_commands.py": "recipes/wan/runner",
    "integrations/test_longlive.py": "recipes/wan/transformer/reading",
    "integrations/test_omnidreams.py": "recipes/cosmos: pipeline transformer/transformer",
    "integrations/test_worlds.py": "recipes/wan/world",
    "parity/test_attention.py": "core/attention/native",
    "parity/test_cosmos_network.py": "recipes/cosmos/transformer/impl: modules network",
    "parity/test_taehv.py": "recipes/taehv/impl",
    "parity/test_taehv_encoder.py": "recipes/taehv/encoder",
    "plugins/test_ripple.py": "infra/world/pipeline_world",
    "recipes/test_template.py": "recipes/template/transformer/network",
    "recipes/test_wan_memory.py": "infra/memory/planner",
    "recipes/test_wan_network.py": "recipes/wan/transformer/impl: caches modules network",
    "recipes/test_wan_rows.py": "recipes/wan/transformer/rows",
    "recipes/wan/autoencoder/test_vae.py": "recipes/wan/autoencoder: checkpoints half layers network",
    "recipes/wan/transformer/test_wan21.py": (
        "recipes: patchified_transformer wan/transformer/image_control wan/transformer/rollout_cache"
    ),
}
"""Files in tests that test modules of other names: a pair of halves, a model end to end, a network against another.

Modules of one folder are named after it and a colon.
"""
FIGURES_ONLY = {f"integrations/pocket/evaluation/{name}" for name in ("batching", "endless_sheet", "tiles")}
"""Commands that print figures or draw a sheet of pictures with the shipped weights: they are run, and have no test."""
FUNCTIONS_OF_LOGIC = 3
"""A module of the library has logic if so many of its functions do more than return one expression."""


def tracked_files() -> list[Path]:
    """The files of the source tree that git tracks, or all but caches where there is no git."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
        paths = [ROOT / name for name in listed.decode().split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        skipped = {".git", ".venv", "__pycache__", "build", "dist", "runs", "outputs"}
        paths = [path for path in ROOT.rglob("*") if not skipped & set(path.relative_to(ROOT).parts)]
    return [path for path in paths if path.is_file()]


@cache
def parsed(path: Path) -> ast.Module:
    """Return the syntax tree of a Python file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def walked(tree: ast.Module) -> list[ast.AST]:
    """Return all nodes of a tree in the order of `ast.walk`, in two thirds of its time."""
    nodes: list[ast.AST] = [tree]
    for node in nodes:
        for value in vars(node).values():
            if isinstance(value, list):
                nodes += [part for part in value if isinstance(part, ast.AST)]
            elif isinstance(value, ast.AST):
                nodes.append(value)
    return nodes


@cache
def nodes_of(path: Path) -> list[ast.AST]:
    """Return all nodes of a Python file's syntax tree."""
    return walked(parsed(path))


@pytest.fixture(scope="module", autouse=True)
def forget() -> Iterator[None]:
    """Keep no syntax trees for the tests of other files: they take much memory. Until then none of them is garbage."""
    gc.disable()
    yield
    parsed.cache_clear()
    nodes_of.cache_clear()
    gc.enable()


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
    for node in nodes_of(path):
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


def test_the_backend_s_folders_import_one_way() -> None:
    wrong = []
    for module, path in modules("backend"):
        folder = ".".join(module.split(".")[:2])
        allowed = BACKEND.get(folder)
        for name in sorted(imports_of(module, path)) if allowed is not None else ():
            other = ".".join(name.split(".")[:2])
            if other in BACKEND and other != folder and other not in allowed:
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


def module_graph() -> dict[str, set[str]]:
    """For every module, the modules of ours that it imports at its top level, those under TYPE_CHECKING too."""
    known = dict(modules(*CODE))
    graph: dict[str, set[str]] = {}
    for module, path in known.items():
        package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
        found: set[str] = set()
        for node in top_level(parsed(path).body):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                above = package[: len(package) - node.level + 1] if node.level else []
                base = ".".join([*above, *([node.module] if node.module else [])])
                inside = {f"{base}.{alias.name}" for alias in node.names} & known.keys()
                found.update(inside or {base})
        graph[module] = found & known.keys() - {module}
    return graph


def top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a module outside of its functions and classes, those in `if` and `try` too."""
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            handlers = [node for handler in getattr(node, "handlers", []) for node in handler.body]
            yield from top_level([*node.body, *handlers, *node.orelse])
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected groups of more than one module, by Tarjan's algorithm."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        stack.append(module)
        for other in graph[module]:
            if other not in order:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], order[other])
        if low[module] == order[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1:
                found.append(sorted(group))

    for module in sorted(graph):
        if module not in order:
            visit(module)
    return found


def test_no_modules_import_each_other_in_a_circle() -> None:
    wrong = [" <-> ".join(group) for group in circles(module_graph())]
    assert not wrong, "\n".join(wrong)


def test_the_check_for_circles_finds_one() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    hidden = ast.parse(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a\ndef f():\n    import b\n"
    ).body
    imported = [node.names[0].name for node in top_level(hidden) if isinstance(node, ast.Import)]
    assert imported == ["a"]


def declared_names(nodes: list[ast.AST]) -> Iterator[str]:
    """Yield the names of a module's classes, functions and fields."""
    for node in nodes:
        if isinstance(node, ast.Attribute):
            if isinstance(node.ctx, ast.Store):
                yield node.attr
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
            for field in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    yield field.target.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"^flashdreams_[a-z_]+$", node.value)  # metrics


def words_of(name: str) -> set[str]:
    """Split `keep_house` and `KeepHouse` into their words, lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name.replace("flashdreams", ""))}


def private_names(path: Path) -> set[str]:
    """Return the names in a Python file, its own name included, that are no words of the field."""
    names = {name for name in declared_names(nodes_of(path)) if not name.startswith("test_")} | {
        path.stem.removeprefix("test_")
    }
    return {name for name in names if name.strip("_") in PRIVATE_NAMES or words_of(name) & PRIVATE_WORDS}


def test_names_are_the_field_s() -> None:
    wrong = []
    for _, path in modules(*CODE, "tests"):
        inside = path.relative_to(ROOT).as_posix()
        found = private_names(path)
        if found - PRIVATE_NAMES_MEANT.get(inside, set()):
            wrong.append(f"{inside}: {', '.join(sorted(found))}")
    for path in sorted((ROOT / "frontend").rglob("*.js")):
        if path.stem in PRIVATE_FILES:
            wrong.append(path.relative_to(ROOT).as_posix())
    assert not wrong, "\n".join(wrong)


def test_the_check_of_names_finds_classes_fields_and_metrics(tmp_path: Path) -> None:
    path = tmp_path / "lobby.py"
    path.write_text(
        "class Dreamed:\n    owed: int = 0\n    def say(self): self._pilot = 'flashdreams_dreams'\n"
        "def fine(): return 'a dream in prose, told'\n"
    )
    assert private_names(path) == {"lobby", "Dreamed", "owed", "say", "_pilot", "flashdreams_dreams"}


def test_a_module_of_the_app_has_a_test_file_of_its_name() -> None:
    wrong = []
    for module, path in modules("backend"):
        if path.stem.startswith("__"):
            continue
        inside = path.relative_to(ROOT).as_posix()
        own = ROOT / "tests" / Path(inside).parent / f"test_{path.stem}.py"
        if not own.is_file() and inside not in TESTED_IN:
            wrong.append(f"{module}: {own.relative_to(ROOT)} must exist, or TESTED_IN name another test file")
        if inside in TESTED_IN and not (ROOT / "tests" / "backend" / TESTED_IN[inside]).is_file():
            wrong.append(f"{module}: there is no {TESTED_IN[inside]}")
    assert not wrong, "\n".join(wrong)


def functions_of_logic(tree: ast.Module) -> int:
    """Return the number of functions that hold more than one statement beside their docstring, or a branch or loop."""
    found = 0
    for node in walked(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            found += len(body) > 1 or any(isinstance(one, ast.If | ast.For | ast.While | ast.With) for one in body)
    return found


def is_tested(module: Path) -> bool:
    """Return True if a module of the library, by its path in it, has a test file: see the test below."""
    name = module.with_suffix("").as_posix()
    for folder in module.parents:  # its own, or one above it
        if (ROOT / "tests" / folder / f"test_{module.stem}.py").is_file():
            return True
    if (ROOT / "tests" / module.parent.parent / f"test_{module.parent.name}.py").is_file():
        return True
    if module.parts[0] == "integrations" and module.parts[1] != "pocket":
        return any((ROOT / "tests").glob(f"*/test_{module.parts[1]}*.py"))
    return name in FIGURES_ONLY or any(name in named_by(line) for line in LIBRARY_TESTED_IN.values())


def named_by(line: str) -> set[str]:
    """Return the modules of a line of `LIBRARY_TESTED_IN`."""
    folder, colon, names = line.rpartition(": ")
    return {f"{folder}/{name}" for name in names.split()} if colon else set(names.split())


def test_a_module_of_logic_of_the_library_has_a_test_file_of_its_name() -> None:
    """In the folder that mirrors its own or one above it; a package may be tested as a whole, by its name.

    Configs declare. What else has no file of its name is in `LIBRARY_TESTED_IN`.
    """
    wrong = []
    for module, path in modules("flashdreams"):
        inside = path.relative_to(ROOT / "flashdreams")
        if path.stem in ("__init__", "config") or is_tested(inside):
            continue
        if functions_of_logic(parsed(path)) >= FUNCTIONS_OF_LOGIC:
            wrong.append(
                f"{module}: tests/{inside.parent}/test_{path.stem}.py must exist, or LIBRARY_TESTED_IN name one"
            )
    for file, line in LIBRARY_TESTED_IN.items():
        wrong += [] if (ROOT / "tests" / file).is_file() else [f"there is no tests/{file}"]
        wrong += [f"{name}: there is no such module" for name in named_by(line) if not library_file(name).is_file()]
    wrong += [f"{name}: there is no such module" for name in FIGURES_ONLY if not library_file(name).is_file()]
    assert not wrong, "\n".join(wrong)


def library_file(name: str) -> Path:
    """Return the path of a module of the library, named by its path without the ending."""
    return ROOT / "flashdreams" / f"{name}.py"


def test_the_check_for_logic_counts_functions_that_decide_or_do_something() -> None:
    source = "def one(): return 1\ndef two():\n    'Say.'\n    return 2\ndef three(x):\n    if x: return 1\n"
    assert functions_of_logic(ast.parse(source)) == 1
    assert named_by("a/b: c d/e") == {"a/b/c", "a/b/d/e"} and named_by("a/b c/d") == {"a/b", "c/d"}
    assert not is_tested(Path("core/attention/no_such_module.py"))
    assert is_tested(Path("integrations/waypoint/network.py"))


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for _, path in modules(*CODE, "tests")
        if path.read_text(encoding="utf-8").strip() and not ast.get_docstring(parsed(path))
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
    # Not compiled: the commands below need a part of the modules, and compile that.
    install = ["install", "--no-deps", "--no-index", "--no-compile", wheel]
    subprocess.run([*pip, "--python", python, *install], check=True, timeout=300)
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
        assert "endless" in [world["slug"] for world in worlds["worlds"]]
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
