"""Loading a checkpoint, local or from the hub, and putting it into a module tensor by tensor."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from flashdreams.core.checkpoint.hub import HubFile, download, parse_hub_address
from flashdreams.core.checkpoint.remap import KeyPatterns, remap_keys

_PICKLES = (".pth", ".pt", ".bin", ".ckpt")
_ACCEPTED = f"a .safetensors file, its sharded .index.json, a folder that holds either, or {', '.join(_PICKLES)}"
_SHOWN = 8


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
) -> None:
    """Copy a checkpoint into `module`, one tensor at a time, cast to the device and dtype the module has.

    `source` is a state dict or what `load_checkpoint` takes; from safetensors files no more than one tensor is in
    memory at a time. `patterns` rename its keys first (see `remap_checkpoint_keys`). With `strict`, keys missing from
    the source, keys the module does not know, and shapes that differ raise one ValueError that lists them, before
    anything is changed; without, only shapes that differ and having no key in common do. `progress` is told the
    fraction done.
    """
    tensors = source if isinstance(source, Mapping) else open_checkpoint(source)
    old_keys = remap_keys(tensors, patterns)
    targets = {key: value for key, value in module.state_dict().items() if isinstance(value, Tensor)}
    _check_fit(module, targets, tensors, old_keys, strict)
    common = [key for key in targets if key in old_keys]
    with torch.no_grad():
        for number, key in enumerate(common, start=1):
            targets[key].copy_(tensors[old_keys[key]])
            if progress is not None:
                progress(number / len(common))


def open_checkpoint(path_or_url: str | Path) -> Mapping[str, Tensor]:
    """The tensors of a checkpoint by key, read from the file when asked for; errors as in `load_checkpoint`."""
    hub_file = parse_hub_address(str(path_or_url))
    path = download(hub_file) if hub_file else Path(path_or_url).expanduser()
    if path.is_dir():
        path = _only_checkpoint_in(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint at {path}: give {_ACCEPTED}")
    name = hub_file.filename if hub_file else path.name
    if name.endswith(".safetensors"):
        return SafetensorsFiles([path])
    if name.endswith(".index.json"):
        return _open_sharded(path, hub_file)
    if name.endswith(_PICKLES):
        return _load_pickle(path)
    raise ValueError(f"{path} is not a checkpoint this program reads: give {_ACCEPTED}")


class SafetensorsFiles(Mapping[str, Tensor]):
    """The tensors of one or several safetensors files, each read from disk when it is asked for."""

    def __init__(self, paths: Sequence[Path], keys: Mapping[str, Path] | None = None) -> None:
        """`keys` says in which file each tensor is; without it, all tensors of all files are offered."""
        self._files = {path: _opened(path) for path in paths}
        present = {key: path for path, file in self._files.items() for key in file.keys()}
        absent = [key for key in keys or () if key not in present]
        if absent:
            raise ValueError(f"the index names tensors that its files do not hold: {_listed(absent)}")
        self._path_of = present if keys is None else dict(keys)

    def __getitem__(self, key: str) -> Tensor:
        return self._files[self._path_of[key]].get_tensor(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._path_of)

    def __len__(self) -> int:
        return len(self._path_of)

    def shape(self, key: str) -> torch.Size:
        """The shape of a tensor, from the file's header alone."""
        return torch.Size(self._files[self._path_of[key]].get_slice(key).get_shape())


def _opened(path: Path) -> safe_open:
    try:
        return safe_open(path, framework="pt", device="cpu")
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file (was its copy cut short?): {error}") from error


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
            raise ValueError(f"{folder} holds several checkpoints, name one: {_listed([p.name for p in found])}")
    raise FileNotFoundError(f"{folder} holds no .safetensors file and no .safetensors.index.json")


def _load_pickle(path: Path) -> dict[str, Tensor]:
    """A pickled state dict without running anything it says, nested dicts flattened to dotted keys."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} was refused: it is not a pickle of tensors only, and loading it could run code. "
            "Convert it to safetensors where you trust it"
        ) from error
    except (RuntimeError, EOFError, ValueError) as error:
        raise ValueError(f"{path} is not a whole torch checkpoint (was its copy cut short?): {error}") from error
    tensors: dict[str, Tensor] = {}
    others: list[str] = []
    for key, value in _leaves(content):
        if not isinstance(value, Tensor) or not key:
            others.append(f"{key or 'the whole file'} ({type(value).__name__})")
        elif key in tensors:
            raise ValueError(f"{path} holds two tensors that are called {key!r} once nested keys are joined by dots")
        else:
            tensors[key] = value
    if others:
        raise ValueError(f"{path} was refused: it must be a dict of tensors, but holds {_listed(others)}")
    return tensors


def _leaves(content: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Everything in nested dicts that is not a dict, with its dotted key."""
    if not isinstance(content, Mapping):
        yield prefix, content
        return
    for key, value in content.items():
        yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))


def _check_fit(
    module: nn.Module,
    targets: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    old_keys: Mapping[str, str],
    strict: bool,
) -> None:
    """Raise one ValueError for all that keeps a checkpoint from fitting a module."""
    name = type(module).__name__
    on_meta = [key for key, target in targets.items() if target.is_meta]
    if on_meta:
        raise ValueError(f"{name} has no memory yet for {_listed(on_meta)}: call to_empty(device=...) on it first")
    common = [key for key in targets if key in old_keys]
    missing = [key for key in targets if key not in old_keys] if strict or not common else []
    unexpected = [key for key in old_keys if key not in targets] if strict or not common else []
    misshaped = []
    for key in common:
        shape, wanted = _shape(tensors, old_keys[key]), targets[key].shape
        if shape != wanted:
            misshaped.append(f"{key} (has {list(shape)}, needs {list(wanted)})")
    groups = (("missing", missing), ("unexpected", unexpected), ("of another shape", misshaped))
    problems = [f"{len(keys)} {what}: {_listed(keys)}" for what, keys in groups if keys]
    if problems:
        raise ValueError(f"the checkpoint does not fit {name}; {'; '.join(problems)}")


def _shape(tensors: Mapping[str, Tensor], key: str) -> torch.Size:
    return tensors.shape(key) if isinstance(tensors, SafetensorsFiles) else tensors[key].shape


def _listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
