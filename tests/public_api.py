"""Comparison of the package with recorded facts about its documented API: each fact that does not hold is named."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import json
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

FACTS: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent / "data" / "public-api.json").read_text(encoding="utf-8")
)
OPTIONAL = ("flashdreams.core.distributed.rank_orchestration",)
_KINDS = {
    inspect.Parameter.POSITIONAL_ONLY: "positional only",
    inspect.Parameter.POSITIONAL_OR_KEYWORD: "positional",
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.KEYWORD_ONLY: "keyword only",
    inspect.Parameter.VAR_KEYWORD: "**",
}
_UNKNOWN = object()
"""A default whose value the facts do not give: an expression over private names."""


@dataclasses.dataclass(frozen=True)
class Fact:
    """One statement about the API, and why it does not hold; None where it does."""

    name: str
    problem: str | None


def check() -> list[Fact]:
    """Return all facts of the modules that are not optional."""
    return [fact for name in FACTS if not name.startswith(OPTIONAL) for fact in _of_module(name, FACTS[name])]


def _of_module(name: str, facts: dict[str, Any]) -> Iterator[Fact]:
    try:
        module: Any = importlib.import_module(name)
        problem = None
    except ImportError as error:
        module, problem = None, f"does not import: {error}"
    yield Fact(name, problem)
    exported = getattr(module, "__all__", ())
    for each in facts.get("__all__", ()):
        yield Fact(f"{name}.__all__.{each}", None if each in exported else "is not in __all__")
    for each in [*facts.get("names", ()), *facts.get("reexports", ())]:
        yield Fact(f"{name}.{each}", None if hasattr(module, each) else "is missing")
    for function, signature in facts.get("functions", {}).items():
        yield Fact(f"{name}.{function}", _signature_problem(getattr(module, function, None), signature))
    for kind, its in facts.get("classes", {}).items():
        yield from _of_class(f"{name}.{kind}", getattr(module, kind, None), its)


def _of_class(name: str, cls: Any, facts: dict[str, Any]) -> Iterator[Fact]:
    found = isinstance(cls, type)
    yield Fact(name, None if found else "is missing")
    bases = {base.__name__ for base in getattr(cls, "__mro__", ())}
    for base in facts["bases"]:
        short = base.partition("[")[0].rpartition(".")[2]
        yield Fact(f"{name}({base})", None if short in bases else "is no base")
    if facts.get("dataclass"):
        is_one = found and dataclasses.is_dataclass(cls)
        yield Fact(f"{name}@dataclass", None if is_one else "is no dataclass")
    for field, text in facts.get("fields", {}).items():
        yield Fact(f"{name}.{field}", _field_problem(cls, field, text, bool(facts.get("dataclass")), facts))
    for each in facts.get("properties", {}):
        yield Fact(f"{name}.{each}", None if _has(cls, each) else "is missing")
    for method, signature in facts.get("methods", {}).items():
        yield Fact(f"{name}.{method}", _signature_problem(getattr(cls, method, None), signature, method=cls))


def _has(cls: Any, name: str) -> bool:
    return hasattr(cls, name) or any(name in inspect.get_annotations(base) for base in getattr(cls, "__mro__", ()))


def _field_problem(cls: Any, name: str, text: str, of_dataclass: bool, facts: dict[str, Any]) -> str | None:
    if not of_dataclass:
        return None if _has(cls, name) else "is missing"
    if not dataclasses.is_dataclass(cls):
        return "is missing"
    field = {each.name: each for each in dataclasses.fields(cls)}.get(name)
    if field is None:
        return "is missing"
    keyword_only = "kw_only=True" in facts["dataclass"]
    if field.init and field.kw_only and not keyword_only:
        return "is keyword only"
    _, _, default = text.partition(" = ")
    if "init=False" in default:
        return None
    if not default:
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        return None if required or name == "_target" else "has a default"
    made = field.default
    if made is dataclasses.MISSING:
        if field.default_factory is dataclasses.MISSING:
            return "has no default"
        made = field.default_factory()
    return _default_problem(made, default, importlib.import_module(cls.__module__))


def _signature_problem(target: Any, text: str, method: Any = None) -> str | None:
    if not callable(target):
        return "is missing"
    wanted = _parameters(text.removeprefix("abstract "))
    ours = list(inspect.signature(target).parameters.values())
    if method is not None and ours and ours[0].name == "self":
        ours = ours[1:]
    module = inspect.getmodule(inspect.unwrap(target))
    known = {each.name: each for each in ours}
    positional = [name for name, kind, _ in wanted if kind == "positional"]
    places = [each.name for each in ours if _KINDS[each.kind] == "positional"]
    if places[: len(positional)] != positional:
        return f"takes {places} by position, not {positional}"
    names = {name for name, _, _ in wanted}
    for name, kind, default in wanted:
        if kind in ("*", "**"):
            if kind not in {_KINDS[each.kind] for each in ours}:
                return f"takes no {kind}{name}"
        elif name not in known:
            return f"has no parameter {name}"
        elif _KINDS[known[name].kind] != kind:
            return f"takes {name} as {_KINDS[known[name].kind]}, not {kind}"
        elif default is None and known[name].default is not inspect.Parameter.empty:
            return f"has a default for {name}"
        elif default is not None and (problem := _default_problem(known[name].default, default, module)):
            return f"{name} {problem}"
    added = [each.name for each in ours if each.name not in names and each.default is inspect.Parameter.empty]
    added = [each for each in added if _KINDS[known[each].kind] not in ("*", "**")]
    return f"needs {added} too" if added else None


def _parameters(text: str) -> list[tuple[str, str, str | None]]:
    """Return name, kind and default of each parameter of a signature in source form."""
    tree = ast.parse(f"def f{text}: ...").body[0]
    assert isinstance(tree, ast.FunctionDef)
    given = tree.args
    defaults = [None] * (len(given.args) - len(given.defaults)) + [*map(ast.unparse, given.defaults)]
    found: list[tuple[str, str, str | None]] = [
        (arg.arg, "positional", default) for arg, default in zip(given.args, defaults, strict=True) if arg.arg != "self"
    ]
    if given.vararg:
        found.append((given.vararg.arg, "*", None))
    for arg, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        found.append((arg.arg, "keyword only", default and ast.unparse(default)))
    if given.kwarg:
        found.append((given.kwarg.arg, "**", None))
    return found


def _default_problem(ours: Any, text: str, module: Any) -> str | None:
    if ours is inspect.Parameter.empty:
        return "has no default"
    wanted = _evaluated(text, module)
    if wanted is _UNKNOWN or _alike(ours, wanted):
        return None
    return f"defaults to {ours!r}, not {text}"


def _evaluated(text: str, module: Any) -> Any:
    def field(*, default: Any = None, default_factory: Callable[[], Any] | None = None, **_: Any) -> Any:
        return default if default_factory is None else default_factory()

    names = {"torch": torch, "Path": Path, "OrderedDict": OrderedDict, "field": field}
    try:
        return eval(text, {**(vars(module) if module else {}), **names})
    except (NameError, AttributeError):
        return _UNKNOWN
    except Exception as error:  # the module has the names, but other values
        return error


def _alike(ours: Any, wanted: Any) -> bool:
    if isinstance(wanted, torch.device | str) and str(ours) == str(wanted):
        return True
    return bool(ours is wanted or (type(ours) is type(wanted) and ours == wanted) or ours == wanted)
