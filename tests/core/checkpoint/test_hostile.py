"""Damaged and hostile checkpoints end in the documented errors, and unfit numbers are refused or reported."""

from __future__ import annotations

import json
import logging
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from flashdreams.core.checkpoint import load_checkpoint, load_into, remap_checkpoint_keys
from flashdreams.core.checkpoint.load import load_single_checkpoint


def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 4)


@pytest.mark.parametrize(
    "content",
    [b"\x80\x02junk", b"\x80\x04" + b"(" * 9, json.dumps({"weight_map": {"w": "x" * 5000 + ".safetensors"}}).encode()],
)
def test_damaged_files_are_value_errors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.bin"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"w\.bin"):
        load_checkpoint(path)


def test_deep_nests_are_value_errors(tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": ' + "[" * 100_000)
    with pytest.raises(ValueError, match="not a checkpoint index"):
        load_checkpoint(index)
    deep: dict[str, Any] = {"w": torch.ones(1)}
    for _ in range(100):
        deep = {"a": deep}
    torch.save(deep, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"w\.pth"):
        load_checkpoint(tmp_path / "w.pth")


def test_an_unknown_home_and_a_file_that_cannot_be_read() -> None:
    with pytest.raises(FileNotFoundError):
        load_checkpoint("~no_such_person/w.safetensors")
    with pytest.raises(ValueError, match="cannot be read"):
        load_checkpoint("/proc/self/mem")


@pytest.mark.parametrize("from_file", [True, False])
@pytest.mark.parametrize("dtype", [torch.complex64, torch.int32, torch.bool])
def test_weights_of_another_kind_of_number_are_refused(tmp_path: Path, dtype: torch.dtype, from_file: bool) -> None:
    module, wrong = linear(), linear().state_dict()
    wrong["bias"] = torch.ones(4).to(dtype)
    if from_file:
        save_file(wrong, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="another kind of number: bias"):
        load_into(module, tmp_path / "w.safetensors" if from_file else wrong)
    assert torch.equal(module.bias, linear().bias)


def test_nan_is_refused_unless_it_is_allowed() -> None:
    wrong = linear().state_dict()
    wrong["bias"] = torch.tensor([0.0, float("nan"), 0.0, 0.0])
    with pytest.raises(ValueError, match="NaN in bias"):
        load_into(linear(), wrong)
    load_into(module := linear(), wrong, allow_nan=True)
    assert module.bias.isnan().sum() == 1


def test_a_shard_that_is_a_link_out_of_its_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    save_file({"w": torch.ones(1)}, tmp_path / "elsewhere.safetensors")
    (tmp_path / "model" / "a.safetensors").symlink_to(tmp_path / "elsewhere.safetensors")
    index = tmp_path / "model" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"w": "a.safetensors"}}))
    with pytest.raises(ValueError, match="a link out of its folder"):
        load_checkpoint(index)


def test_a_model_takes_a_checkpoint_and_is_returned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_file({"bias": torch.full((4,), 7.0)}, tmp_path / "w.safetensors")
    model = linear()
    with caplog.at_level(logging.WARNING):
        assert load_checkpoint(str(tmp_path / "w.safetensors"), model=model) is model
    assert model.bias.tolist() == [7.0] * 4 and "weight" in caplog.text
    with pytest.raises(ValueError, match="1 missing: weight"):
        load_checkpoint(tmp_path / "w.safetensors", model, check_success=True)
    assert load_single_checkpoint(tmp_path / "w.safetensors", map_location="meta")["bias"].is_meta
    with pytest.raises(ValueError, match="checkpoint_type"):
        load_checkpoint(tmp_path / "w.safetensors", checkpoint_type="other")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="credential_path"):
        load_checkpoint(tmp_path / "w.safetensors", credential_path="key.json")


def test_the_first_match_at_a_keys_start_renames_it_once() -> None:
    tensors = {key: torch.ones(1) for key in ("norm2.w", "norm3.w", "net.a", "pre.net.a", "x.x.x")}
    mapping = {r"norm2\.": "norm3.", r"norm3\.": "norm2.", r"net\.(.*)": r"\1", r"x\.": "y."}
    assert set(remap_checkpoint_keys(tensors, mapping)) == {"norm3.w", "norm2.w", "a", "pre.net.a", "y.x.x"}
    with pytest.raises(ValueError, match="two keys"):
        remap_checkpoint_keys(tensors, {"norm2": "norm3"})


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Cut, overwrite, flip, add or drop bytes, once or a few times."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 4, 20])):
        at, what = rng.randrange(len(data) + 1), rng.randrange(5)
        if what == 0:
            del data[at:]
        elif what == 1:
            data[at : at + 1] = rng.randbytes(1)
        elif what == 2 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif what == 3:
            data[at:at] = rng.randbytes(rng.randrange(9))
        else:
            del data[at : at + rng.randrange(1, 9)]
    return bytes(data)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["safetensors", "zip", "pickle", "index"])
def test_mutated_files_load_or_end_as_documented(kind: str, tmp_path: Path) -> None:
    state, path = linear().state_dict(), tmp_path / "w.pt"
    if kind in ("zip", "pickle"):
        torch.save({"generator": state, "step": 1}, path, _use_new_zipfile_serialization=kind == "zip")
    else:
        save_file(state, path := tmp_path / "w.safetensors")
    if kind == "index":
        path = tmp_path / "w.safetensors.index.json"
        path.write_text(json.dumps({"metadata": {}, "weight_map": dict.fromkeys(state, "w.safetensors")}))
    content, rng, refused = path.read_bytes(), random.Random(kind), 0
    patterns = ((r"^generator\\.", ""),)
    for _ in range(60):
        (tmp_path / f"x{''.join(path.suffixes)}").write_bytes(mutated(content, rng))
        try:
            load_into(linear(), tmp_path / f"x{''.join(path.suffixes)}", patterns=patterns)
        except (ValueError, FileNotFoundError) as error:
            assert type(error) in (ValueError, FileNotFoundError) and str(error)
            refused += 1
    assert refused > 30
