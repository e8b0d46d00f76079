"""Every mutation of a config's JSON is a config again, or a KeyError, TypeError or ValueError that names a field."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from flashdreams.infra.config import InstantiateConfig
from flashdreams.infra.config.base import PrintableConfig
from flashdreams.infra.config.types import accepts
from flashdreams.integrations.lingbot_world.config import RUNNERS as LINGBOT
from flashdreams.integrations.self_forcing.config import RUNNERS as SELF_FORCING
from flashdreams.recipes.template.config import TEMPLATE_RUNNERS

RUNNERS: list[PrintableConfig] = [next(iter(table.values())) for table in (LINGBOT, SELF_FORCING, TEMPLATE_RUNNERS)]
VALUES: list[Any] = [
    *(None, True, 0, -1, 3.5, 10**30, "", "x", "\x00", [], {}, [[[]]], {"a": 1}, {"$what": 1}),
    *({"$ref": 3}, {"$ref": "os:no_such"}, {"$config": []}, {"$config": "nope:X"}, {"$config": "os:path"}),
    *({"$device": "gpu"}, {"$device": 1}, {"$dtype": "float99"}, {"$dtype": None}, {"$tuple": 3}, {"$path": 4}),
]


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the keys that lead to each value in a tree of JSON."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


@pytest.mark.parametrize("config", RUNNERS, ids=lambda config: config.runner_name)
def test_mutated_trees_end_as_documented(config: Any) -> None:
    rng, tree = random.Random(config.runner_name), config.to_dict()
    everywhere, refused = list(places(tree)), 0
    for _ in range(150):
        mutated, place = copy.deepcopy(tree), rng.choice(everywhere)
        parent = mutated
        for key in place[:-1]:
            parent = parent[key]
        what = rng.choice(["remove", "add", "replace", "replace"])
        if what == "replace" or isinstance(parent, list):
            parent[place[-1]] = copy.deepcopy(rng.choice(VALUES))
        elif what == "remove":
            del parent[place[-1]]
        else:
            parent["no_such_field"] = 1
        try:
            type(config).from_dict(mutated)
        except (KeyError, TypeError, ValueError) as error:
            refused += 1
            assert str(error)
    assert refused > 75


@dataclass(kw_only=True)
class Typed(InstantiateConfig):
    """A field of each kind."""

    _target: type = field(default_factory=lambda: Typed)

    count: int = 1
    scale: float = 1.0
    on: bool = False
    name: str | None = None
    method: Literal["ring", "ulysses"] = "ring"
    sizes: tuple[int, int] = (1, 2)
    steps: list[int] = field(default_factory=list)
    folder: Path = Path("a")
    dtype: torch.dtype = torch.float32
    inner: InstantiateConfig | None = None


@pytest.mark.parametrize(
    ("change", "accepted"),
    [
        ({"count": True}, "int"),
        ({"count": 1.0}, "int"),
        ({"scale": "1"}, "float"),
        ({"on": 1}, "bool"),
        ({"name": 3}, "str or None"),
        ({"method": "star"}, "'ring' or 'ulysses'"),
        ({"sizes": {"$tuple": [1]}}, "tuple"),
        ({"steps": ["a"]}, "list"),
        ({"folder": None}, "Path"),
        ({"dtype": "float32"}, "dtype"),
        ({"inner": 3}, "InstantiateConfig or None"),
    ],
    ids=str,
)
def test_a_plain_value_of_another_type_is_named_with_the_types_that_are_taken(
    change: dict[str, Any], accepted: str
) -> None:
    tree = Typed(inner=Typed()).to_dict()
    tree["inner"] |= change
    ((name, _),) = change.items()
    with pytest.raises(TypeError, match=rf"config field 'inner\.{name}' must be .*{accepted}"):
        Typed.from_dict(tree)


def test_what_stands_for_each_other_is_taken() -> None:
    config = Typed(scale=2, folder="b", name=Path("c"), sizes=[3, 4], inner=Typed())  # type: ignore[arg-type]
    assert Typed.from_dict(config.to_dict()) == config
    assert accepts(Any, object()) and not accepts(dict[str, int], {"a": "b"}) and accepts(int | None, None)
