"""Loading a checkpoint, local or from the hub, and putting it into a module tensor by tensor."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import torch
from torch import Tensor, nn

from flashdreams.core.checkpoint.file_kinds import other_kind
from flashdreams.core.checkpoint.hub import HubFile, download, parse_hub_address
from flashdreams.core.checkpoint.lazy_state_dict import shape_of
from flashdreams.core.checkpoint.listing import listed
from flashdreams.core.checkpoint.pickles import load_pickle
from flashdreams.core.checkpoint.remap import KeyPatterns, remap_keys
from flashdreams.core.checkpoint.safetensors_files import SafetensorsFiles

_ACCEPTED = "a safetensors file, the .index.json of a sharded one, a folder that holds either, or what torch.save wrote"
_ZIP, _PICKLE = b"PK", b"\x80"
_LENGTH = 8
"""Bytes before the JSON header of a safetensors file, which say how long it is."""

_checking: ContextVar[bool] = ContextVar("checking", default=False)


def load_checkpoint(path_or_url: str | Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint by key, on the CPU, in the dtypes of the file.

    `path_or_url` is a local file or folder, `hf://owner/name[@revision]/path` or an address on huggingface.co (see
    `load_into` for one that does not hold everything in memory). Tensors that a `.pth` nests in dicts are returned
    under dotted keys: `generator_ema.model.weight`. Raises FileNotFoundError or ConnectionError when there is no such
    file, ValueError when it is damaged, of another kind, or a pickle that holds anything but tensors.
    """
    return dict(open_checkpoint(path_or_url))


def load_into(
    module: nn.Module,
    source: Mapping[str, Tensor] | str | Path,
    *,
    patterns: KeyPatterns = (),
    strict: bool = True,
    progress: Callable[[float], None] | None = None,
    name: str | Path | None = None,
) -> None:
    """Copy a checkpoint into `module`, one tensor at a time, cast to the device and dtype the module has.

    `source` is a state dict or what `load_checkpoint` takes; of its files no more than one is in memory at a time.
    `patterns` rename its keys first (see `remap_checkpoint_keys`). With `strict`, keys missing from the source, keys
    the module does not know, and shapes that differ raise one ValueError that lists them, before anything is changed;
    without, only shapes that differ and having no key in common do. `progress` is told the fraction done. `name` is
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
    with torch.no_grad():
        for number, key in enumerate(common, start=1):
            targets[key].copy_(tensors[old_keys[key]])
            if progress is not None:
                progress(number / len(common))


@contextmanager
def checking_only() -> Iterator[None]:
    """Inside, `load_into` compares keys and shapes and copies nothing, so that a module may be on the meta device."""
    token = _checking.set(True)
    try:
        yield
    finally:
        _checking.reset(token)


def open_checkpoint(path_or_url: str | Path) -> Mapping[str, Tensor]:
    """The tensors of a checkpoint by key, read from the file when asked for; errors as in `load_checkpoint`."""
    hub_file = parse_hub_address(str(path_or_url))
    path = download(hub_file) if hub_file else Path(path_or_url).expanduser()
    if path.is_dir():
        path = _only_checkpoint_in(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint at {path}: give {_ACCEPTED}")
    with path.open("rb") as file:
        start = file.read(_LENGTH + 1)
    if start[_LENGTH:] == b"{":
        return SafetensorsFiles([path])
    if start.startswith((_ZIP, _PICKLE)):
        return load_pickle(path)
    if start.lstrip().startswith((b"{", b"[")):
        return _open_sharded(path, hub_file)
    if (other := other_kind(path)) is not None:
        raise ValueError(other)
    raise ValueError(f"{path} is not a whole checkpoint that this program reads: give {_ACCEPTED}")


def _open_sharded(index_path: Path, hub_file: HubFile | None) -> SafetensorsFiles:
    """The shards that an index names, from its folder on disk or on the hub."""
    try:
        weight_map = json.loads(index_path.read_text(encoding="utf-8"))["weight_map"]
        shard_names = sorted(set(weight_map.values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{index_path} is not a checkpoint index: it needs a 'weight_map' of key to file") from error
    paths: dict[str, Path] = {}
    for name in shard_names:
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise ValueError(f"{index_path} names a shard {name!r}: it must be a .safetensors file beside the index")
        paths[name] = download(hub_file.beside(name)) if hub_file else index_path.parent / name
        if not paths[name].is_file():
            raise FileNotFoundError(f"{index_path} names the shard {name!r}, which is not beside it")
    return SafetensorsFiles(list(paths.values()), {key: paths[name] for key, name in weight_map.items()})


def _only_checkpoint_in(folder: Path) -> Path:
    """The sharded index of a folder or its one safetensors file."""
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
    groups = (("missing", missing), ("unexpected", unexpected), ("of another shape", misshaped))
    problems = [f"{len(keys)} {what}: {listed(keys)}" for what, keys in groups if keys]
    if problems:
        raise ValueError(f"{name} does not fit {kind}; {'; '.join(problems)}")
