"""Estimate of memory use by running a model on the meta device."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from flashdreams.infra.config.base import replace_everywhere


def on_meta(config: Any) -> Any:
    """Return the object of `config` on the meta device: weights with shapes and types, without memory."""
    with torch.device("meta"), _Unfilled():
        return replace_everywhere(config, checkpoint_path=None).setup()


_FILLING = {nn.init.uniform_, nn.init.normal_, nn.init.constant_, nn.init.kaiming_uniform_}


class _Unfilled(TorchFunctionMode):
    """Leaves weights as they are: torch takes long to fill what has no memory with random numbers."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _FILLING and (tensor := args[0] if args else kwargs["tensor"]).is_meta:
            return tensor
        return func(*args, **kwargs)


def weight_bytes(module: nn.Module) -> int:
    """Return bytes of a module's parameters and buffers, tied ones once."""
    return sum(tensor.nbytes for tensor in tensors_of(module))


def tensors_of(module: nn.Module) -> Iterable[Tensor]:
    """Yield a module's parameters and buffers, tied ones once."""
    yield from module.parameters()
    yield from module.buffers()


@dataclass(frozen=True, kw_only=True)
class MetaRollout:
    """Inputs of a rollout on the meta device, with zeros for all user input."""

    transformer_context: dict[str, Any]
    """Keywords of the transformer's `initialize_autoregressive_cache`."""
    chunks: int
    """Chunks that fill the KV cache."""
    encoder_context: dict[str, Any] | None = None
    """Keywords of the encoder's `initialize_autoregressive_cache`."""
    input: Any = None
    """The encoder's input at every chunk, or a function of the chunk's index; None without an encoder."""
    control_of_chunk: Callable[[Any, int], Any] | None = None
    """Makes the transformer's input of a chunk from that of a later one, where they differ in size."""
    joint_chunks: int = 1
    """Chunks that a step denoises together. With more than one, only `finalize_kv_cache` writes the KV cache."""


class MemoryTracker:
    """Counts the bytes of the tensors that are created while it is active, until they are freed."""

    def __init__(self) -> None:
        self.live = 0
        """Bytes of the tensors that are held now."""
        self.peak = 0
        """The most that `live` has been."""
        self._sizes: dict[int, int] = {}
        self._watched: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self._modes = (_FusedAttention(), _Watch(self._see))

    def __enter__(self) -> Self:
        for mode in self._modes:
            mode.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)  # type: ignore[no-untyped-call]

    def counted_once(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function`, which is run once for each description of its arguments (see `repeated`).

        Further calls give tensors like those of the first one, and count as it did. A call that keeps more than what it
        returns, or returns what was there before, is run every time.
        """
        known: dict[Any, tuple[int, Any]] = {}

        def called(*args: Any) -> Any:
            described = _described(args)
            if described in known:
                working, result = known[described]
                self.peak = max(self.peak, self.live + working)
                return _blank(result, {})
            live, peak = self.live, self.peak
            self.peak = live
            made = function(*args)
            storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in _tensors(made)}
            if self.live - live == sum(storages.values()):
                known[described] = self.peak - live, _template(made)
            self.peak = max(self.peak, peak)
            return made

        return called

    def _see(self, tensor: Tensor, new: bool) -> None:
        """Count `tensor` if it was not seen yet; one that was there before (`new=False`) counts nothing, ever."""
        storage = tensor.untyped_storage()
        address = storage._cdata
        if address in self._sizes:
            return
        self._sizes[address] = size = storage.nbytes() if new else 0
        self.live += size
        self.peak = max(self.peak, self.live)
        self._watched[address] = weakref.ref(storage, lambda _: self._gone(address))

    def _gone(self, address: int) -> None:
        del self._watched[address]
        self.live -= self._sizes.pop(address)


class _Watch(TorchDispatchMode):
    """Shows every tensor that an operation takes (`new=False`: its result may be a view of it) and gives."""

    def __init__(self, see: Callable[[Tensor, bool], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._see = see

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would import its compiler, for two seconds, only to tell it to keep away

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        for tensor in _tensors((args, kwargs)):
            self._see(tensor, False)
        result = repeated(func, tuple(args), kwargs or {})
        for tensor in _tensors(result):
            self._see(tensor, True)
        return result


_results: dict[Any, tuple[torch.Size, tuple[int, ...], torch.dtype]] = {}
_KEPT_RESULTS = 4096


def repeated(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return `func(*args, **kwargs)`; on the meta device the shape of the result is computed once in a process.

    Torch finds many of these shapes in Python, a millisecond each, and a model repeats the same few thousand times.
    """
    try:
        known = (func, _described(args), *((name, _described(value)) for name, value in kwargs.items()))
        found = _results.get(known)
    except TypeError:  # a tensor with values, or a setting that cannot be hashed
        return func(*args, **kwargs)
    if found is not None:
        size, stride, dtype = found
        return torch.empty_strided(size, stride, dtype=dtype, device="meta")
    result = func(*args, **kwargs)
    if isinstance(result, Tensor) and result.is_meta and _is_of_its_own(func, (args, kwargs), result):
        while len(_results) >= _KEPT_RESULTS:
            _results.pop(next(iter(_results)))
        _results[known] = (result.shape, result.stride(), result.dtype)
    return result


def _described(value: Any) -> Any:
    """Return all of an argument that a result's shape depends on; raises TypeError for a tensor with values."""
    if isinstance(value, Tensor):
        if not value.is_meta:
            raise TypeError("the shape may depend on the tensor's values")
        return value.shape, value.stride(), value.dtype
    if isinstance(value, (tuple, list)):
        return tuple(map(_described, value))
    return type(value), value  # 1 and 1.0 are equal, and give results of other types


def _is_of_its_own(func: Any, given: Any, result: Tensor) -> bool:
    """Return True if `func` writes into none of the tensors `given`, and `result` has memory of its own and fills it.

    Not all that share memory say so in their schema: `_unsafe_view` does not.
    """
    memory = result.untyped_storage()
    if func._schema.is_mutable or any(tensor.untyped_storage()._cdata == memory._cdata for tensor in _tensors(given)):
        return False
    whole = torch.empty_strided(result.shape, result.stride(), dtype=result.dtype, device="meta")
    return memory.nbytes() == whole.untyped_storage().nbytes()


def _tensors(values: Any) -> list[Tensor]:
    """Return all tensors in nested arguments or results."""
    if isinstance(values, Tensor):
        return [values]
    found: list[Tensor] = []
    queue = [values]
    for value in queue:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (tuple, list)):
            queue.extend(value)
        elif isinstance(value, dict):
            queue.extend(value.values())
    return found


def _template(result: Any) -> Any:
    """Return all that `_blank` needs of a result: shapes, types, and which tensors share memory."""
    if isinstance(result, Tensor):
        storage = result.untyped_storage()
        layout = (result.shape, result.stride(), result.storage_offset())
        return storage._cdata, storage.nbytes(), result.dtype, layout
    if isinstance(result, list):
        return [_template(each) for each in result]
    assert isinstance(result, tuple)
    return _Several(map(_template, result))


class _Several(tuple[Any, ...]):
    """Templates of a tuple's tensors."""


def _blank(template: Any, memories: dict[int, Tensor]) -> Any:
    """Return tensors on the meta device like those of a template; `memories` are made so far, by their numbers."""
    if isinstance(template, list):
        return [_blank(each, memories) for each in template]
    if isinstance(template, _Several):
        return tuple(_blank(each, memories) for each in template)
    number, size, dtype, layout = template
    if number not in memories:
        memories[number] = torch.empty(size, dtype=torch.uint8, device="meta")
    return memories[number].view(dtype).as_strided(*layout)


class _FusedAttention(TorchFunctionMode):
    """Attention as the kernels of a GPU do it, which never hold all scores; on no device torch would count them."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is F.scaled_dot_product_attention and args[0].is_meta:
            query, _, value = args[:3]
            return query.new_empty(*query.shape[:-1], value.shape[-1])
        return func(*args, **(kwargs or {}))
