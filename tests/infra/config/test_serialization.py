"""Configs as JSON and text: read back equal, fingerprints, and what is wrong with a tree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from flashdreams.infra.config.base import PrintableConfig, derive_config
from tests.infra.toy import ToyTransformerConfig, toy_pipeline

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


def test_printing_shows_the_whole_tree_indented() -> None:
    lines = str(toy_pipeline()).splitlines()
    assert lines[0] == "StreamInferencePipelineConfig"
    assert "    name: 'toy'" in lines
    assert "    diffusion_model: DiffusionModelConfig" in lines
    assert "        seed: 1" in lines
    assert "            shift: 8.0" in lines
    assert "            _target: tests.infra.toy.ToyTransformer" in lines


def test_json_brings_back_an_equal_config() -> None:
    config = Outer(transform=double)
    text = json.dumps(config.to_dict())
    assert Outer.from_dict(json.loads(text)) == config
    pipeline = toy_pipeline()
    assert type(pipeline).from_dict(json.loads(json.dumps(pipeline.to_dict()))) == pipeline


def test_json_refuses_what_it_cannot_bring_back() -> None:
    with pytest.raises(TypeError, match=r"inner.names.0"):
        Outer(inner=Inner(names=(torch.zeros(1),))).to_dict()  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="transform"):
        Outer(transform=lambda x: x).to_dict()


def test_reading_names_what_is_wrong_with_a_tree() -> None:
    tree = Outer().to_dict()
    with pytest.raises(KeyError, match=r"inner.sise"):
        Outer.from_dict(tree | {"inner": tree["inner"] | {"sise": 1}})
    with pytest.raises(KeyError, match="no_such_module"):
        Outer.from_dict({"$config": "no_such_module:Thing"})
    with pytest.raises(TypeError, match="not a config"):
        Outer.from_dict({"$config": "builtins:dict"})
    with pytest.raises(TypeError, match="Inner"):
        Outer.from_dict(Inner().to_dict())
    with pytest.raises(KeyError, match=r"name.*missing"):
        type(toy_pipeline()).from_dict({"$config": "flashdreams.infra.pipeline.base:StreamInferencePipelineConfig"})


def test_fingerprint_follows_the_content() -> None:
    assert Outer().fingerprint() == Outer().fingerprint()
    assert Outer().fingerprint() != derive_config(Outer(), inner={"size": 2}).fingerprint()


@pytest.mark.slow
def test_fingerprint_is_the_same_in_another_process(repository: Path) -> None:
    code = "from tests.infra.toy import ToyTransformerConfig as C; print(C().fingerprint())"
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(repository)}
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == ToyTransformerConfig().fingerprint(), done.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        {"$ref": 3},
        {"$config": ["a"]},
        {"$device": "toaster"},
        {"$device": 1},
        {"$dtype": 5},
        {"$tuple": "ab"},
        {"$path": 3},
    ],
)
def test_a_damaged_tree_is_a_key_or_type_error(wrong: dict[str, object]) -> None:
    tree = Outer().to_dict() | {"transform": wrong}
    with pytest.raises((KeyError, TypeError)):
        Outer.from_dict(tree)
