"""JSON form of config trees: what JSON lacks is written as a one-key object whose key starts with `$`."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from types import FunctionType
from typing import Any

import torch

from flashdreams.infra.config.types import check_field


def to_jsonable(value: Any, path: str = "") -> Any:
    """Return `value` as JSON types; raises TypeError naming the dotted `path` of what has no JSON form."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return {"$path": value.as_posix()}
    if isinstance(value, torch.dtype):
        return {"$dtype": str(value).removeprefix("torch.")}
    if isinstance(value, torch.device):
        return {"$device": str(value)}
    if isinstance(value, type) or (isinstance(value, FunctionType) and value.__name__ != "<lambda>"):
        return {"$ref": _name_of(value)}
    if isinstance(value, tuple):
        return {"$tuple": [to_jsonable(item, _join(path, i)) for i, item in enumerate(value)]}
    if isinstance(value, list):
        return [to_jsonable(item, _join(path, i)) for i, item in enumerate(value)]
    if isinstance(value, dict):
        return {_plain_key(key, path): to_jsonable(item, _join(path, key)) for key, item in value.items()}
    if dataclasses.is_dataclass(value):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
        tree = {name: to_jsonable(item, _join(path, name)) for name, item in fields.items()}
        return {"$config": _name_of(type(value)), **tree}
    raise TypeError(f"config field {path!r} holds {value!r}, which has no JSON form")


def from_jsonable(tree: Any, path: str = "") -> Any:
    """Return the inverse of `to_jsonable`; errors name the dotted `path`.

    Raises KeyError for unknown names, fields and marks, TypeError for a value of another type than its field declares,
    and ValueError where a config's own check refuses a value.
    """
    if isinstance(tree, list):
        return [from_jsonable(item, _join(path, i)) for i, item in enumerate(tree)]
    if not isinstance(tree, dict):
        return tree
    if "$config" in tree:
        return _read_config(tree, path)
    mark = next((key for key in tree if key.startswith("$")), None)
    if mark is None:
        return {key: from_jsonable(item, _join(path, key)) for key, item in tree.items()}
    content = tree[mark]
    if mark == "$path":
        if not isinstance(content, str):
            raise TypeError(f"$path at {path!r} must hold a text, got {type(content).__name__}")
        return Path(content)
    if mark == "$dtype":
        return _read_dtype(content, path)
    if mark == "$device":
        return _read_device(content, path)
    if mark == "$tuple":
        if not isinstance(content, list):
            raise TypeError(f"$tuple at {path!r} must hold a list, got {type(content).__name__}")
        return tuple(from_jsonable(item, _join(path, i)) for i, item in enumerate(content))
    if mark == "$ref":
        found = _find(content, path)
        if not isinstance(found, type | FunctionType):
            raise TypeError(f"{content!r} at {path!r} is neither a class nor a function")
        return found
    raise KeyError(f"unknown mark {mark!r} at {path!r}: accepted are $config, $device, $dtype, $path, $ref, $tuple")


def _read_config(tree: dict[str, Any], path: str) -> Any:
    cls = _find(tree["$config"], path)
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise TypeError(f"{tree['$config']!r} at {path!r} is not a config dataclass")
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    values = {}
    for name, item in tree.items():
        if name == "$config":
            continue
        if name not in fields:
            raise KeyError(f"no config field {_join(path, name)!r}: {cls.__name__} has {', '.join(fields)}")
        values[name] = from_jsonable(item, _join(path, name))
        check_field(cls, name, values[name], _join(path, name))
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise KeyError(f"config field {_join(path, name)!r} is missing and has no default")
    try:
        return cls(**values)
    except (KeyError, TypeError, ValueError):
        raise
    except Exception as error:  # a check of its own met a value that it does not expect
        raise TypeError(f"{cls.__name__} at {path!r} does not take these values: {error}") from error


def _read_device(name: Any, path: str) -> torch.device:
    if not isinstance(name, str):
        raise TypeError(f"$device at {path!r} must hold a name, got {type(name).__name__}")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise KeyError(f"unknown torch device {name!r} at {path!r}") from error


def _read_dtype(name: Any, path: str) -> torch.dtype:
    if not isinstance(name, str):
        raise TypeError(f"$dtype at {path!r} must hold a name, got {type(name).__name__}")
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise KeyError(f"unknown torch dtype {name!r} at {path!r}")
    return dtype


def _name_of(value: Any) -> str:
    return f"{value.__module__}:{value.__qualname__}"


def _find(name: Any, path: str) -> Any:
    if not isinstance(name, str):
        raise TypeError(f"the class or function at {path!r} must be named by a string, got {type(name).__name__}")
    module, _, qualname = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part)
    except Exception as error:  # a module may fail in any way
        raise KeyError(f"cannot find {name!r}, which the config names at {path!r}: {error}") from error
    return found


def _plain_key(key: Any, path: str) -> str:
    if not isinstance(key, str) or key.startswith("$"):
        raise TypeError(f"config field {path!r} has the key {key!r}: keys must be strings that do not start with '$'")
    return key


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)
