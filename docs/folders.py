"""Draw the folders and who imports whom: `python docs/folders.py` rewrites the figure of ARCHITECTURE.md.

The arrows come from the import statements; one that follows from two others is left out.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("backend", "flashdreams")
DOCUMENT = ROOT / "ARCHITECTURE.md"
FIGURE = re.compile(r"```mermaid\n.*?```\n", re.S)


def folder_of(module: str) -> str:
    """Return the folder of a module: `backend.session.state` is in `backend/session`; "" if in none."""
    parts = module.split(".")[:2]
    return "/".join(parts) if (ROOT / "/".join(parts) / "__init__.py").is_file() and len(parts) == 2 else ""


def arrows() -> dict[str, set[str]]:
    """Return for every folder the folders that its modules import."""
    found: dict[str, set[str]] = {}
    for path in (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))):
        folder = folder_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
        if not folder:
            continue
        reached = found.setdefault(folder, set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                reached.update(folder_of(f"{node.module}.{alias.name}") for alias in node.names)
            elif isinstance(node, ast.Import):
                reached.update(folder_of(alias.name) for alias in node.names)
        reached -= {"", folder}
    return found


def reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    """Return all folders that can be reached from one, without itself."""
    seen: set[str] = set()
    waiting = list(graph.get(start, ()))
    while waiting:
        if (folder := waiting.pop()) not in seen:
            seen.add(folder)
            waiting += graph.get(folder, ())
    return seen


def figure() -> str:
    """Return the figure as a Mermaid block."""
    graph = arrows()
    lines = ["```mermaid", "graph TD"]
    for folder, others in sorted(graph.items()):
        shortest = {other for other in others if not any(other in reachable(graph, via) for via in others - {other})}
        # Folders that import each other would hide one another: their arrows stay.
        kept = shortest | {other for other in others if folder in reachable(graph, other)}
        lines += [f"    {folder} --> {other}" for other in sorted(kept)]
    return "\n".join([*lines, "```\n"])


def main() -> None:
    """Rewrite the figure in the document."""
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(FIGURE.sub(lambda _match: figure(), text, count=1), encoding="utf-8")


if __name__ == "__main__":
    main()
