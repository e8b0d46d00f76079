"""Configs derive without touching their base, name what is wrong, and survive printing, hashing and JSON."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from flashdreams.infra.config.base import InstantiateConfig, PrintableConfig, derive_config
from tests.infra.toy import toy_pipeline

CPU = torch.device("cpu")


@dataclass(kw_only=True)
class Inner(PrintableConfig):
    size: int = 1
    names: tuple[str, ...] = ("a",)
    table: dict[str, int] = field(default_factory=lambda: {"x": 1})

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be at least 1, got {self.size}")


@dataclass(kw_only=True)
class Outer(PrintableConfig):
    inner: Inner = field(default_factory=Inner)
    others: list[Inner] = field(default_factory=lambda: [Inner(size=2)])
    where: Path | None = Path("a/b")
    dtype: torch.dtype = torch.bfloat16
    device: torch.device = CPU
    transform: object = None


def double(value: int) -> int:
    return 2 * value


class Built:
    def __init__(self, config: InstantiateConfig, extra: int = 0) -> None:
        self.config, self.extra = config, extra


def test_setup_builds_the_target_with_the_config_and_keywords() -> None:
    config = InstantiateConfig(_target=Built)
    built = config.setup(extra=3)
    assert isinstance(built, Built)
    assert built.config is config
    assert built.extra == 3


def test_the_target_can_be_positional() -> None:
    assert InstantiateConfig(Built) == InstantiateConfig(_target=Built)


def test_equal_trees_are_one_key_of_a_dict_and_changed_ones_another() -> None:
    config = Outer(transform=double, others=[Inner(table={"a": 1}), Inner(names=())])
    kept = {config: "first"}
    assert kept[copy.deepcopy(config)] == "first"
    for change in ({"dtype": torch.float16}, {"inner": {"size": 3}}, {"where": Path("b")}, {"transform": copy.copy}):
        assert derive_config(config, **change) not in kept
    assert hash(Outer(transform=torch.zeros(2))) == hash(Outer(transform=torch.ones(2)))


def test_a_plain_dataclass_that_derives_from_a_config_keeps_the_hash() -> None:
    pipeline = toy_pipeline()
    assert hash(pipeline) == hash(copy.deepcopy(pipeline)) != hash(derive_config(pipeline, name="other"))


def test_a_config_may_have_a_field_called_base() -> None:
    @dataclass
    class WithBase(PrintableConfig):
        base: int = 1

    assert derive_config(base_config=WithBase(), base=2) == WithBase(2)


def test_derive_overrides_deeply_and_leaves_the_base_alone() -> None:
    base = Outer()
    before = copy.deepcopy(base)
    derived = derive_config(base, inner={"size": 5, "table": {"x": 7}}, where=None)
    assert (derived.inner.size, derived.inner.table, derived.where) == (5, {"x": 7}, None)
    assert derived.inner.names == ("a",)
    derived.others[0].size = 9
    derived.inner.table["x"] = 8
    assert base == before


def test_derive_replaces_a_nested_config_by_another() -> None:
    assert derive_config(Outer(), inner=Inner(size=4)).inner == Inner(size=4)


@pytest.mark.parametrize(
    ("changes", "path"),
    [({"inner": {"sise": 1}}, "inner.sise"), ({"nothing": 1}, "nothing"), ({"inner": {"table": {"y": 1}}}, "table.y")],
)
def test_derive_names_the_path_that_does_not_exist(changes: dict[str, object], path: str) -> None:
    with pytest.raises(KeyError, match=path):
        derive_config(Outer(), **changes)


@pytest.mark.parametrize("changes", [{"inner": {"size": {"a": 1}}}, {"where": {"a": 1}}, {"transform": {"a": 1}}])
def test_derive_refuses_a_dict_for_a_plain_value(changes: dict[str, object]) -> None:
    with pytest.raises(TypeError, match="dict"):
        derive_config(Outer(), **changes)


def test_derive_checks_what_it_changed() -> None:
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        derive_config(Outer(), inner={"size": 0})
