"""Files that are taken for checkpoints and are something else: named for what they are, with the next step."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

DISTRIBUTED_METADATA = ".metadata"
"""The file that makes a folder a checkpoint of torch.distributed.checkpoint."""
HEAD_BYTES = 512
"""Bytes at the start of a file that tell its kind."""

_LFS = re.compile(rb"version https://git-lfs\.github\.com/spec/\S+.*?^size (\d+)", re.DOTALL | re.MULTILINE)
_ANNEX = re.compile(rb"^(\S*/)?\.?(git/)?annex/objects/")
_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"GGUF", "a GGUF file, whose packed weights are not read: take the model's safetensors"),
    (b"GGML", "a GGML file, whose packed weights are not read: take the model's safetensors"),
    (b"\x89HDF\r\n", "an HDF5 file (Keras, TensorFlow), which is not read: take the model's safetensors"),
    (b"\x93NUMPY", "a NumPy array, which holds one tensor without a name: take the model's safetensors"),
    (b"\x1f\x8b", "packed with gzip: unpack it and give the file inside"),
    (b"BZh", "packed with bzip2: unpack it and give the file inside"),
    (b"\xfd7zXZ", "packed with xz: unpack it and give the file inside"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it and give the file inside"),
    (b"Rar!", "a RAR archive: unpack it and give the file inside"),
    (b"(\xb5/\xfd", "packed with Zstandard: unpack it and give the file inside"),
    (b"\x08\x07\x12", "an ONNX model, which is not read: take the model's safetensors"),
    (b"\x08\x08\x12", "an ONNX model, which is not read: take the model's safetensors"),
)


def other_kind(path: Path) -> str | None:
    """Return the sentence for a file that is no checkpoint but of a known kind; None where it is of none."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        return f"{path} is empty (was its copy cut short?): fetch it again"
    if not head.strip(b"\0"):
        return f"{path} begins with zeros only (was its download broken off?): fetch it again"
    pointer = _LFS.match(head)
    if pointer is not None:
        size = _format_size(int(pointer[1][:18]))
        return (
            f"{path} is a Git LFS pointer: the file itself ({size}) was not fetched; run `git lfs pull` in its folder"
        )
    if head.startswith(b"version https://git-lfs"):
        return f"{path} is a Git LFS pointer: the file itself was not fetched; run `git lfs pull` in its folder"
    if _ANNEX.match(head):
        return f"{path} is a git-annex pointer: the file itself was not fetched; run `git annex get` on it"
    if re.match(rb"\s*(<!doctype html|<html|<\?xml|<head)", head, re.IGNORECASE):
        return f"{path} is a web page and not the file: fetch it with `hf download`, or by its /resolve/ address"
    if head[257:262] == b"ustar":
        return f"{path} is a tar archive: unpack it and give the file inside"
    told = next((told for start, told in _STARTS if head.startswith(start)), None)
    return f"{path} is {told}" if told else None


def archive_kind(path: Path, members: Iterable[str]) -> str | None:
    """Return the sentence for a zip archive that torch.save did not write; None for one that it may have."""
    names = list(members)
    if any(name.endswith("/data.pkl") or name == "data.pkl" for name in names):
        is_script = any(re.match(r"[^/]+/(code/|constants\.pkl)", name) for name in names)
        return f"{path} is a TorchScript program, which is not run: save its state_dict" if is_script else None
    inside = next((name for name in names if name.endswith((".safetensors", ".pth", ".pt", ".ckpt", ".bin"))), None)
    if inside is not None:
        return f"{path} is a zip archive: unpack it and give the file inside, {inside!r:.100}"
    if names and all(name.endswith(".npy") for name in names):
        return f"{path} is an archive of NumPy arrays, which is not read: take the model's safetensors"
    return None


def packed_kind(path: Path, keys: Iterable[str], dtype_of: Callable[[str], str]) -> str | None:
    """Return the sentence for tensors that are packed in a way that is not read; None for plain ones.

    `dtype_of` gives the safetensors name of a tensor's number type; it is asked for few tensors.
    """
    names = list(keys)
    told = next((told for ending, told in _PACKED if any(name.endswith(ending) for name in names)), None)
    scaled = next((name for name in names if name.endswith(_SCALES)), None)
    if told is None and (scaled is not None or "scaled_fp8" in names):
        weight = next((name for name in names if name == "scaled_fp8" or dtype_of(name) in _SMALL), None)
        if weight is not None:
            told = "scaled fp8" if dtype_of(weight).startswith("F8") else "scaled 8-bit integer"
    if told is None:
        return None
    return f"{path} holds {told} weights, which are not read: take the model's bf16, fp16 or fp32 safetensors"


_SCALES = (".scale_weight", ".weight_scale", ".scale_input", ".input_scale", ".weight_scale_inv")
_SMALL = frozenset({"F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I8", "U8"})
_PACKED = (
    (".quant_state.bitsandbytes__nf4", "bitsandbytes 4-bit"),
    (".quant_state.bitsandbytes__fp4", "bitsandbytes 4-bit"),
    (".SCB", "bitsandbytes 8-bit"),
    (".qzeros", "GPTQ or AWQ 4-bit"),
    (".qweight", "packed 4-bit"),
    (".comfy_quant", "ComfyUI's quantised"),
)


def _format_size(size: int) -> str:
    value = float(size)
    for unit in ("bytes", "kB", "MB"):
        if value < 1000:
            return f"{value:.3g} {unit}" if unit != "bytes" else f"{size} bytes"
        value /= 1000
    return f"{value:.1f} GB"
