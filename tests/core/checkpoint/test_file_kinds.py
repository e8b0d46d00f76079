"""Files that are no checkpoints are named for what they are, wherever they turn up."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file

from flashdreams.core.checkpoint import load_checkpoint

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 5676070424\n"


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("w.safetensors"))
    return buffer.getvalue()


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return buffer.getvalue()


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(2))
    return buffer.getvalue()


KINDS = {
    "Git LFS": (POINTER, "Git LFS pointer.*5[.]7 GB.*git lfs pull"),
    "git-annex": (b"/annex/objects/SHA256E-s9--0.safetensors\n", "git annex get"),
    "GGUF": (b"GGUF\3\0\0\0" + b"\0" * 80, "GGUF.*safetensors"),
    "web page": (b"\n<!DOCTYPE html><title>Log in</title>", "web page"),
    "gzip": (gzip.compress(b"x" * 100), "gzip"),
    "tar": (tarred(), "tar archive"),
    "zip": (zipped("a/w.safetensors"), "zip archive.*w.safetensors"),
    "NumPy": (npy(), "NumPy"),
    "NumPy archive": (zipped("w.npy"), "NumPy"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + b"\0" * 20, "HDF5"),
    "nothing": (b"", "empty"),
    "zeros": (b"\0" * 4096, "zeros"),
}


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "w"])
@pytest.mark.parametrize("kind", KINDS)
def test_another_kind_of_file_is_named(tmp_path: Path, kind: str, name: str) -> None:
    content, said = KINDS[kind]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"(?s){name} .*{said}") as refused:
        load_checkpoint(tmp_path / name)
    assert "\n" not in str(refused.value)


def test_a_pointer_among_shards_and_in_place_of_the_index_is_named(tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}))
    save_file({"a": torch.ones(1)}, tmp_path / "1.safetensors")
    (tmp_path / "2.safetensors").write_bytes(POINTER)
    with pytest.raises(ValueError, match=r"2[.]safetensors is a Git LFS pointer"):
        load_checkpoint(index)
    index.write_bytes(POINTER)
    with pytest.raises(ValueError, match="Git LFS pointer"):
        load_checkpoint(tmp_path)


FP8 = torch.zeros(4, 4).to(torch.float8_e4m3fn)
PACKED = {
    "ComfyUI scaled fp8": {"0.weight": FP8, "0.scale_weight": torch.ones(1), "scaled_fp8": FP8[:2, 0].contiguous()},
    "fp8 with weight_scale": {"a.weight": FP8, "a.weight_scale": torch.ones(1)},
    "block fp8": {"a.weight": FP8, "a.weight_scale_inv": torch.ones(1, 1)},
    "8-bit": {"a.weight": torch.zeros(2, 2, dtype=torch.int8), "a.weight_scale": torch.ones(2)},
    "GPTQ": {"a.qweight": torch.zeros(2, dtype=torch.int32), "a.qzeros": torch.zeros(2, dtype=torch.int32)},
    "NF4": {"a.weight": torch.zeros(2, dtype=torch.uint8), "a.weight.quant_state.bitsandbytes__nf4": torch.ones(1)},
}


@pytest.mark.parametrize("kind", PACKED)
def test_quantised_weights_are_named(tmp_path: Path, kind: str) -> None:
    save_file(PACKED[kind], tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"(fp8|8-bit|4-bit).* weights, which are not read: take"):
        load_checkpoint(tmp_path / "w.safetensors")


def test_plain_fp8_and_layers_that_are_called_scale_are_read(tmp_path: Path) -> None:
    for tensors in ({"a.weight": FP8}, {"norm.weight_scale": torch.ones(2), "a": torch.ones(2)}):
        (tmp_path / "w.safetensors").write_bytes(save(tensors))
        assert set(load_checkpoint(tmp_path / "w.safetensors")) == set(tensors)


def test_a_torchscript_program_is_named_and_not_run(tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(zipped("w/data.pkl", "w/constants.pkl", "w/code/__torch__.py"))
    with pytest.raises(ValueError, match="TorchScript"):
        load_checkpoint(tmp_path / "w.pt")
