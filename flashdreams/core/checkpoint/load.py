"""Loading a checkpoint, local or from the hub, and putting it into a module tensor by tensor."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor, nn

from flashdreams.core.checkpoint.file_kinds import DISTRIBUTED_METADATA, other_kind
from flashdreams.core.checkpoint.hub import HubFile, download, parse_hub_address
from flashdreams.core.checkpoint.lazy_state_dict import dtype_of, shape_of
from flashdreams.core.checkpoint.listing import listed
from flashdreams.core.checkpoint.pickles import NestedStateDict, load_pickle
from flashdreams.core.checkpoint.remap import KeyPatterns, remap_keys
from flashdreams.core.checkpoint.safetensors_files import SafetensorsFiles

if TYPE_CHECKING:  # a second of imports, for folders that few have
    from torch.distributed.checkpoint import FileSystemReader

_ACCEPTED = "a safetensors file, the .index.json of a sharded one, a folder that holds either, or what torch.save wrote"
_ZIP, _PICKLE = b"PK", b"\x80"
_LENGTH = 8
"""Bytes before the JSON header of a safetensors file, which say how long it is."""

_LONGEST_NAME = 255
"""Bytes of a file's name that file systems take."""
CheckpointType = Literal["auto", "single", "distributed"]

_log = logging.getLogger(__name__)
_checking: ContextVar[bool] = ContextVar("checking", default=False)


def load_checkpoint(
    checkpoint_path: str | Path,
    model: nn.Module | None = None,
    checkpoint_type: CheckpointType = "auto",
    local_cache_dir: str | None = None,
    credential_path: str | None = None,
    map_location: str | torch.device = "cpu",
    check_success: bool = False,
) -> dict[str, Tensor] | nn.Module:
    """Return all tensors of a checkpoint by key, in the dtypes of the file; with a `model`, load them into it instead.

    `checkpoint_path` is a local file or folder, `hf://owner/name[@revision]/path` or an address on huggingface.co (see
    `load_into` for one that does not hold everything in memory). `checkpoint_type`: "distributed" is a folder that
    torch.distributed.checkpoint wrote, which needs a `model`; "auto" looks for its metadata. With `check_success`, keys
    that are not in both the model and the checkpoint raise ValueError; else they are logged.

    Tensors that a `.pth` nests in dicts are returned under dotted keys, `generator_ema.model.weight`, and such a dict
    is found by its name too: `tensors["generator_ema"]`. Raises
    FileNotFoundError or ConnectionError when there is no such file, ValueError when it is damaged, of another kind, or
    a pickle that holds anything but tensors.
    """
    if checkpoint_type not in get_args(CheckpointType):
        accepted = " or ".join(map(repr, get_args(CheckpointType)))
        raise ValueError(f"checkpoint_type must be {accepted}, got {checkpoint_type!r}")
    address = str(checkpoint_path)
    folder = None if parse_hub_address(address) else _local(checkpoint_path)
    if checkpoint_type == "distributed" or (
        checkpoint_type == "auto" and folder is not None and (folder / DISTRIBUTED_METADATA).is_file()
    ):
        if model is None:
            raise ValueError(f"{address} is a distributed checkpoint: give the model to load it into")
        return load_distributed_checkpoint(model, address, check_success, local_cache_dir, credential_path)
    tensors = load_single_checkpoint(checkpoint_path, local_cache_dir, credential_path, map_location)
    if model is None:
        return tensors
    load_into(model, tensors, strict=check_success, name=address)
    differing = sorted(set(model.state_dict()) ^ set(tensors))
    if differing:
        _log.warning("%s and %s do not have all keys in common: %s", address, type(model).__name__, listed(differing))
    return model


def load_single_checkpoint(
    checkpoint_path: str | Path,
    local_cache_dir: str | None = None,
    credential_path: str | None = None,
    map_location: str | torch.device = "cpu",
) -> dict[str, Tensor]:
    """Return the tensors of one checkpoint as `load_checkpoint` does, on the device `map_location`.

    `local_cache_dir`: the folder that keeps files of the hub; None is the hub's own cache. `credential_path` is for
    object stores, which are not read: ValueError for anything but None.
    """
    _check_credentials(credential_path)
    tensors = open_checkpoint(checkpoint_path, local_cache_dir)
    moved = {key: tensors[key].to(map_location) for key in tensors}
    return NestedStateDict(moved, tensors.groups) if isinstance(tensors, NestedStateDict) else moved


def load_distributed_checkpoint(
    model: nn.Module,
    checkpoint_path: str | Path,
    check_success: bool = False,
    local_cache_dir: str | None = None,
    credential_path: str | None = None,
) -> nn.Module:
    """Load a local folder that torch.distributed.checkpoint wrote into `model`, which is returned.

    With `check_success`, keys that are not in both raise ValueError. Raises ValueError for a folder elsewhere, and for
    metadata that is damaged or could run code.
    """
    from flashdreams.core.checkpoint.distributed_files import load_folder

    return load_folder(model, Path(get_storage_reader(str(checkpoint_path), credential_path).path), check_success)


def get_storage_reader(checkpoint_path: str, credential_path: str | None = None) -> FileSystemReader:
    """Return the reader of a local distributed checkpoint; raises ValueError for an address on the web."""
    _check_credentials(credential_path)
    if "://" in checkpoint_path:
        raise ValueError(
            f"a distributed checkpoint must be a local folder, got {checkpoint_path!r}: copy it here first"
        )
    from flashdreams.core.checkpoint.distributed_files import SafeFileSystemReader

    return SafeFileSystemReader(_local(checkpoint_path))


def _check_credentials(credential_path: str | None) -> None:
    if credential_path is not None:
        raise ValueError(f"credential_path must be None: object stores are not read, got {credential_path!r}")


def _local(path: str | Path) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise FileNotFoundError(f"there is no checkpoint at {path}: {error}") from error


def load_into(
    module: nn.Module,
    source: Mapping[str, Tensor] | str | Path,
    *,
    patterns: KeyPatterns = (),
    strict: bool = True,
    progress: Callable[[float], None] | None = None,
    name: str | Path | None = None,
    allow_nan: bool = False,
) -> None:
    """Copy a checkpoint into `module`, one tensor at a time, cast to the device and dtype the module has.

    `source` is a state dict or what `load_checkpoint` takes; of its files no more than one is in memory at a time.
    `patterns` rename its keys first (see `rename_checkpoint_keys`). With `strict`, keys missing from the source, keys
    the module does not know, and shapes that differ raise one ValueError that lists them, before anything is changed;
    without, only shapes that differ and having no key in common do. Tensors that hold NaN raise ValueError at the end,
    unless `allow_nan`. `progress` is told the fraction done. `name` is
    what messages call the source; None takes its path.
    """
    name = name or ("the checkpoint" if isinstance(source, Mapping) else source)
    tensors = source if isinstance(source, Mapping) else open_checkpoint(source)
    old_keys = remap_keys(tensors, patterns)
    targets = {key: value for key, value in module.state_dict().items() if isinstance(value, Tensor)}
    _check_fit(module, targets, tensors, old_keys, strict, name)
    if _checking.get():
        return
    common = [key for key in old_keys if key in targets]  # in the source's order, which is file by file
    broken = []
    with torch.no_grad():
        for number, key in enumerate(common, start=1):
            tensor = tensors[old_keys[key]]
            if not allow_nan and tensor.is_floating_point() and not tensor.is_meta and _holds_nan(tensor):
                broken.append(key)
            targets[key].copy_(tensor)
            if progress is not None:
                progress(number / len(common))
    if broken:
        raise ValueError(f"{name} holds NaN in {listed(broken)}: its training or its copy failed")


def _holds_nan(tensor: Tensor) -> bool:
    if tensor.dtype.itemsize > 1 and tensor.numel() > 0:
        return bool(tensor.max().isnan())  # NaN is greater than all; two and a half times as fast as isnan
    return bool(tensor.isnan().any())


@contextmanager
def checking_only() -> Iterator[None]:
    """Let `load_into` compare keys and shapes only, so that a module may be on the meta device."""
    token = _checking.set(True)
    try:
        yield
    finally:
        _checking.reset(token)


def open_checkpoint(path_or_url: str | Path, cache_dir: str | None = None) -> Mapping[str, Tensor]:
    """Return the tensors of a checkpoint by key, read from the file when asked for; errors as in `load_checkpoint`."""
    hub_file = parse_hub_address(str(path_or_url))
    path = download(hub_file, cache_dir) if hub_file else _local(path_or_url)
    if path.is_dir():
        path = _only_checkpoint_in(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint at {path}: give {_ACCEPTED}")
    try:
        with path.open("rb") as file:
            start = file.read(_LENGTH + 1)
    except PermissionError:
        raise
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if start[_LENGTH:] == b"{":
        return SafetensorsFiles([path])
    if start.startswith((_ZIP, _PICKLE)):
        return load_pickle(path)
    if start.lstrip().startswith((b"{", b"[")):
        return _open_sharded(path, hub_file, cache_dir)
    if (other := other_kind(path)) is not None:
        raise ValueError(other)
    raise ValueError(f"{path} is not a whole checkpoint that this program reads: give {_ACCEPTED}")


def _open_sharded(index_path: Path, hub_file: HubFile | None, cache_dir: str | None) -> SafetensorsFiles:
    """Return the shards that an index names, from its folder on disk or on the hub."""
    try:
        weight_map = json.loads(index_path.read_text(encoding="utf-8"))["weight_map"]
        shard_names = sorted(set(weight_map.values()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{index_path} is not a checkpoint index: it needs a 'weight_map' of key to file") from error
    paths: dict[str, Path] = {}
    for name in shard_names:
        fits = isinstance(name, str) and Path(name).name == name and len(name.encode()) <= _LONGEST_NAME
        if not fits or not name.endswith(".safetensors"):
            raise ValueError(
                f"{index_path} names a shard {str(name)[:80]!r}: it must be a .safetensors file beside the index"
            )
        paths[name] = download(hub_file.beside(name), cache_dir) if hub_file else index_path.parent / name
        if not paths[name].is_file():
            raise FileNotFoundError(f"{index_path} names the shard {name!r}, which is not beside it")
        if hub_file is None and not _stays(paths[name]):
            raise ValueError(
                f"the shard {paths[name]} is a link out of its folder, to {paths[name].resolve()}: copy it"
            )
    return SafetensorsFiles(list(paths.values()), {key: paths[name] for key, name in weight_map.items()})


def _stays(shard: Path) -> bool:
    """Return whether a shard lies in its folder, or in the `blobs` of the hub's cache that this folder is part of."""
    folder, real = shard.parent.resolve(), shard.resolve()
    return real.is_relative_to(folder) or (
        folder.parent.name == "snapshots" and real.is_relative_to(folder.parents[1] / "blobs")
    )


def _only_checkpoint_in(folder: Path) -> Path:
    """Return the sharded index of a folder or its one safetensors file."""
    for pattern in ("*.safetensors.index.json", "*.safetensors"):
        found = sorted(folder.glob(pattern))
        if len(found) == 1:
            return found[0]
        if found:
            raise ValueError(f"{folder} holds several checkpoints, name one: {listed([p.name for p in found])}")
    raise FileNotFoundError(f"{folder} holds no .safetensors file and no .safetensors.index.json")


def _check_fit(
    module: nn.Module,
    targets: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    old_keys: Mapping[str, str],
    strict: bool,
    name: str | Path,
) -> None:
    """Raise one ValueError for all that keeps a checkpoint from fitting a module."""
    kind = type(module).__name__
    on_meta = [key for key, target in targets.items() if target.is_meta]
    if on_meta and not _checking.get():
        raise ValueError(f"{kind} has no memory yet for {listed(on_meta)}: call to_empty(device=...) on it first")
    common = [key for key in targets if key in old_keys]
    missing = [key for key in targets if key not in old_keys] if strict or not common else []
    unexpected = [key for key in old_keys if key not in targets] if strict or not common else []
    misshaped = []
    for key in common:
        shape, wanted = shape_of(tensors, old_keys[key]), targets[key].shape
        if shape != wanted:
            misshaped.append(f"{key} (has {list(shape)}, needs {list(wanted)})")
    kinds = [(key, dtype_of(tensors, old_keys[key]), targets[key].dtype) for key in common]
    mistyped = [f"{key} (has {had}, needs {wanted})" for key, had, wanted in kinds if not _casts(had, wanted)]
    groups = (
        *(("missing", missing), ("unexpected", unexpected)),
        *(("of another shape", misshaped), ("of another kind of number", mistyped)),
    )
    problems = [f"{len(keys)} {what}: {listed(keys)}" for what, keys in groups if keys]
    if problems:
        raise ValueError(f"{name} does not fit {kind}; {'; '.join(problems)}")


def _casts(had: torch.dtype, wanted: torch.dtype) -> bool:
    """Return whether numbers of one type are meant where a module has the other: whole ones are no weights."""
    return had.is_complex == wanted.is_complex and (had.is_floating_point or not wanted.is_floating_point)
