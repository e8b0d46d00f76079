"""Checkpoints: every accepted kind gives the same tensors, and every bad one a sentence that names what is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import httpx
import pytest
import torch
from huggingface_hub import errors
from safetensors.torch import save_file
from torch import Tensor, nn

from flashdreams.core.checkpoint import hub, load, load_checkpoint, load_into

MIB = 1024**2


def weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        "0.weight": torch.randn(4, 3, generator=generator),
        "0.bias": torch.randn(4, generator=generator).bfloat16(),
        "1.weight": torch.randn(2, 4, generator=generator),
        "1.bias": torch.randn(2, generator=generator),
    }


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a)


def write_sharded(folder: Path) -> Path:
    """Two shards and their index."""
    tensors = weights()
    names = {
        "a-00001-of-00002.safetensors": ["0.weight", "0.bias"],
        "a-00002-of-00002.safetensors": ["1.weight", "1.bias"],
    }
    for name, keys in names.items():
        save_file({key: tensors[key] for key in keys}, folder / name)
    index = folder / "a.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {key: name for name, keys in names.items() for key in keys}}))
    return index


@pytest.mark.parametrize("kind", ["safetensors", "sharded", "folder", "shard folder", "pth", "old pth", "str path"])
def test_every_kind_of_file_gives_the_same_tensors(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("w.pth" if "pth" in kind else "w.safetensors")
    if kind in ("sharded", "shard folder"):
        path = write_sharded(tmp_path)
    elif "pth" in kind:
        torch.save(OrderedDict(weights()), path, _use_new_zipfile_serialization=kind == "pth")
    else:
        save_file(weights(), path)
    source: Path | str = tmp_path if "folder" in kind else path
    assert same(load_checkpoint(str(source) if kind == "str path" else source), weights())


def test_what_a_file_is_is_read_from_it_and_not_from_its_name(tmp_path: Path) -> None:
    save_file(weights(), tmp_path / "w.pth")
    torch.save(weights(), tmp_path / "w.safetensors")
    index = write_sharded(tmp_path).rename(tmp_path / "w.bin")
    for path in (tmp_path / "w.pth", tmp_path / "w.safetensors", index):
        assert same(load_checkpoint(path), weights())


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("kept", [0, 20, 200])
def test_file_cut_short_is_reported(tmp_path: Path, name: str, kept: int) -> None:
    path = tmp_path / name
    torch.save(weights(), path) if name.endswith("pth") else save_file(weights(), path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=name):
        load_checkpoint(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w.gguf").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"w\.gguf is not a whole checkpoint that this program reads: give a s"):
        load_checkpoint(tmp_path / "w.gguf")
    with pytest.raises(FileNotFoundError, match="there is no checkpoint at"):
        load_checkpoint(tmp_path / "absent.safetensors")
    with pytest.raises(FileNotFoundError, match=r"holds no \.safetensors file"):
        load_checkpoint(tmp_path)


def test_folder_with_several_checkpoints_asks_for_one(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_file(weights(), tmp_path / f"{name}.safetensors")
    with pytest.raises(ValueError, match=r"several checkpoints, name one: a\.safetensors, b\.safetensors"):
        load_checkpoint(tmp_path)


def test_bad_index_is_reported(tmp_path: Path) -> None:
    index = write_sharded(tmp_path)
    good = json.loads(index.read_text())
    for text in ("{", "[]", "{}", '{"weight_map": 3}'):
        index.write_text(text)
        with pytest.raises(ValueError, match="is not a checkpoint index: it needs a 'weight_map'"):
            load_checkpoint(index)
    for shard in ("../w.safetensors", "/etc/w.safetensors", "w.pth", 7):
        index.write_text(json.dumps({"weight_map": {"w": shard}}))
        with pytest.raises(ValueError, match=r"must be a \.safetensors file beside the index"):
            load_checkpoint(index)
    index.write_text(json.dumps({"weight_map": {"w": "gone.safetensors"}}))
    with pytest.raises(FileNotFoundError, match=r"names the shard 'gone\.safetensors', which is not beside it"):
        load_checkpoint(index)
    good["weight_map"]["2.weight"] = good["weight_map"]["1.bias"]
    index.write_text(json.dumps(good))
    with pytest.raises(ValueError, match=r"tensors that its files do not hold: 2\.weight"):
        load_checkpoint(index)


@pytest.mark.parametrize("from_file", [True, False])
def test_load_into_casts_to_the_module(tmp_path: Path, from_file: bool) -> None:
    save_file(weights(), tmp_path / "w.safetensors")
    module = network().double()
    seen: list[float] = []
    load_into(module, tmp_path / "w.safetensors" if from_file else weights(), progress=seen.append)
    assert all(torch.equal(module.state_dict()[key], tensor.double()) for key, tensor in weights().items())
    assert seen == [0.25, 0.5, 0.75, 1.0]


def test_load_into_reads_one_tensor_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = write_sharded(tmp_path)
    read: list[str] = []
    original = load.SafetensorsFiles.__getitem__

    def noted(self: load.SafetensorsFiles, key: str) -> Tensor:
        read.append(key)
        return original(self, key)

    monkeypatch.setattr(load.SafetensorsFiles, "__getitem__", noted)
    load_into(network(), index)
    assert sorted(read) == sorted(weights())


def test_shards_are_read_one_after_another(tmp_path: Path) -> None:
    index = write_sharded(tmp_path)
    files = load.open_checkpoint(index)
    assert isinstance(files, load.SafetensorsFiles)
    shard_of = json.loads(index.read_text())["weight_map"]
    assert [shard_of[key] for key in files] == sorted(shard_of.values())


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs a kernel that tells a process's memory")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_loading_takes_no_more_memory_than_the_model_and_one_shard(
    tmp_path: Path, repository: Path, dtype: str
) -> None:
    environment = os.environ | {"PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).with_name("loading_memory.py")), str(tmp_path), dtype]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    print(told)
    assert told["grown"] <= told["model"] + told["shard"] + 24 * MIB
    assert told["files"] >= told["shard"] * 6  # so that keeping them all would be seen


@pytest.mark.parametrize("from_file", [True, False])
def test_misfit_lists_every_key_by_group_and_changes_nothing(tmp_path: Path, from_file: bool) -> None:
    wrong = weights()
    wrong["2.scale"] = wrong.pop("0.bias")
    wrong["1.weight"] = torch.zeros(2, 5)
    save_file(wrong, tmp_path / "w.safetensors")
    module = network()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(ValueError) as caught:
        load_into(module, tmp_path / "w.safetensors" if from_file else wrong)
    assert str(caught.value) == (
        f"{tmp_path / 'w.safetensors' if from_file else 'the checkpoint'} does not fit Sequential; 1 missing: 0.bias; "
        "1 unexpected: 2.scale; 1 of another shape: 1.weight (has [2, 5], needs [2, 4])"
    )
    assert same(dict(module.state_dict()), before)


def test_long_lists_are_cut() -> None:
    with pytest.raises(ValueError, match=r"12 unexpected: x0, x1, .*x7 and 4 more"):
        load_into(network(), {f"x{i}": torch.zeros(1) for i in range(12)})


def test_loose_loading_takes_what_fits_but_not_nothing() -> None:
    module = network()
    load_into(module, {"0.bias": torch.full((4,), 7.0), "other": torch.zeros(1)}, strict=False)
    assert torch.equal(module[0].bias, torch.full((4,), 7.0))
    with pytest.raises(ValueError, match="4 missing"):
        load_into(module, {"other": torch.zeros(1)}, strict=False)
    with pytest.raises(ValueError, match=r"1 of another shape: 0\.bias"):
        load_into(module, {"0.bias": torch.zeros(5)}, strict=False)


def test_module_without_memory_says_what_to_do() -> None:
    with torch.device("meta"):
        module = network()
    with pytest.raises(ValueError, match=r"call to_empty\(device=\.\.\.\) on it first"):
        load_into(module, weights())


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("hf://a/b/c.pth", ("a/b", "c.pth", None)),
        ("hf://a/b.c@v1.0/d/e.safetensors", ("a/b.c", "d/e.safetensors", "v1.0")),
        ("https://huggingface.co/a/b/resolve/main/d/e.pth", ("a/b", "d/e.pth", "main")),
        ("https://huggingface.co/a/b/blob/0f3a/e.pth?download=true", ("a/b", "e.pth", "0f3a")),
    ],
)
def test_hub_addresses(address: str, expected: tuple[str, str, str | None]) -> None:
    file = hub.parse_hub_address(address)
    assert file is not None
    assert (file.repo, file.filename, file.revision) == expected


@pytest.mark.parametrize("address", ["hf://a/b", "hf://a", "https://example.org/w.pth", "s3://a/b/c.pth"])
def test_other_addresses_say_what_is_accepted(address: str) -> None:
    with pytest.raises(ValueError, match=r"cannot load a checkpoint from .*hf://owner/name\[@revision\]/path"):
        load_checkpoint(address)


def test_windows_paths_are_not_addresses() -> None:
    assert hub.parse_hub_address(r"C:\models\w.safetensors") is None


def test_sharded_checkpoint_on_the_hub_is_read_at_its_pinned_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sharded(tmp_path)
    asked: list[tuple[str, str, str | None]] = []

    def fetch(repo: str, filename: str, *, revision: str | None, **_: object) -> str:
        asked.append((repo, filename, revision))
        return str(tmp_path / Path(filename).name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    assert same(load_checkpoint("hf://o/n@0f3a/sub/a.safetensors.index.json"), weights())
    shards = [f"sub/a-0000{i}-of-00002.safetensors" for i in (1, 2)]
    assert asked == [("o/n", name, "0f3a") for name in ["sub/a.safetensors.index.json", *shards]]


def test_unpinned_revision_is_logged_with_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "snapshots" / "0f3a" / "sub" / "w.safetensors"
    path.parent.mkdir(parents=True)
    save_file(weights(), path)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: str(path))
    with caplog.at_level("INFO"):
        load_checkpoint("hf://o/n/sub/w.safetensors")
    assert "hf://o/n/sub/w.safetensors is not pinned to a revision; it was read at commit 0f3a" in caplog.text


RESPONSE = httpx.Response(404, request=httpx.Request("GET", "https://huggingface.co"))


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (errors.LocalEntryNotFoundError("x"), ConnectionError, "not in the local cache and the hub cannot be reached"),
        (errors.OfflineModeIsEnabled("offline"), ConnectionError, "could not be fetched: offline"),
        (errors.RepositoryNotFoundError("x", response=RESPONSE), FileNotFoundError, "no public repository 'o/n'"),
        (errors.GatedRepoError("x", response=RESPONSE), FileNotFoundError, "asks for its licence to be accepted"),
        (errors.RevisionNotFoundError("x", response=RESPONSE), FileNotFoundError, "has no revision 'v9'"),
        (errors.RemoteEntryNotFoundError("x", response=RESPONSE), FileNotFoundError, "has no file 'w.pth'"),
    ],
)
def test_hub_errors_are_one_sentence(
    monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[Exception], message: str
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    with pytest.raises(kind, match=message) as caught:
        load_checkpoint("hf://o/n@v9/w.pth")
    assert "hf://o/n@v9/w.pth" in str(caught.value)


@pytest.mark.slow
def test_reading_one_file_imports_no_distributed_checkpoints() -> None:
    """They bring a second of imports, which every start of the app would pay."""
    code = "import sys, flashdreams.core.checkpoint.load; print('torch.distributed.checkpoint' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
