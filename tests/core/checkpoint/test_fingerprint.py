"""A checkpoint's identity: the same for the same weights, another for others, however large the file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from flashdreams.core.checkpoint import fingerprint
from flashdreams.core.checkpoint.fingerprint import checkpoint_identity


def test_weights_are_known_again_wherever_they_are_and_told_from_others(tmp_path: Path) -> None:
    names = ("here", "there", "others")
    for name, value in zip(names, (1.0, 1.0, 1.5), strict=True):
        (tmp_path / name).mkdir()
        save_file({"weight": torch.full((4, 4), value)}, tmp_path / name / "w.safetensors")
    here, there, others = (checkpoint_identity(tmp_path / name / "w.safetensors") for name in names)
    assert here == there != others


def test_one_changed_shard_changes_the_identity_of_folder_and_index(tmp_path: Path) -> None:
    for number in (1, 2):
        save_file({f"{number}": torch.ones(4)}, tmp_path / f"w-{number}.safetensors")
    index = tmp_path / "w.safetensors.index.json"
    index.write_text("{}")
    before = checkpoint_identity(tmp_path), checkpoint_identity(index)
    save_file({"2": torch.zeros(4)}, tmp_path / "w-2.safetensors")
    assert before[0] == before[1] != checkpoint_identity(index) == checkpoint_identity(tmp_path)


def test_a_large_file_is_read_in_parts_from_its_beginning_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "BLOCK", 10)
    monkeypatch.setattr(fingerprint, "BLOCKS", 5)
    file, told = tmp_path / "w.pth", set()
    for changed in (None, 0, 9, 2500, 9999, 30):  # of 10,000 bytes, 0-9, 2497-2506, ... and 9990-9999 are read
        content = bytearray(10_000)
        if changed is not None:
            content[changed] = 1
        file.write_bytes(content)
        told.add(checkpoint_identity(file))
    assert len(told) == 5
    file.write_bytes(bytes(10_001))
    assert checkpoint_identity(file) not in told


def test_a_file_on_the_hub_is_its_address_and_nothing_is_fetched() -> None:
    address = "https://huggingface.co/owner/name/resolve/abc/w.safetensors"
    assert checkpoint_identity(address) == "hf://owner/name@abc/w.safetensors"


@pytest.mark.parametrize("name", ["none.safetensors", "none.safetensors.index.json", "empty"])
def test_no_checkpoint_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="there is no checkpoint at"):
        checkpoint_identity(tmp_path / name)
