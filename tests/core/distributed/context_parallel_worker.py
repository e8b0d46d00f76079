"""One process of the context-parallel test: started with a launcher's variables, exits 0 when everything agrees."""

from __future__ import annotations

from unittest import mock

import torch
import torch.distributed as dist

from flashdreams.core import distributed, precision
from flashdreams.core.attention import ContextParallelAttention, NativeAttention, attend
from flashdreams.core.distributed.context_parallel import cat_outputs_cp, split_inputs_cp


def raises(kind: type[Exception], part: str, call: object) -> bool:
    """Return True if `call()` raises an exception of this kind whose message holds `part`."""
    assert callable(call)
    try:
        call()
    except kind as error:
        return part in str(error)
    return False


def check_splitting(group: dist.ProcessGroup) -> None:
    """Shards are contiguous pieces by rank, and joining undoes splitting."""
    whole = torch.arange(2 * 8 * 3).view(2, 8, 3)
    shard = split_inputs_cp(whole, 1, group)
    start = dist.get_rank(group) * 8 // dist.get_world_size(group)
    assert torch.equal(shard, whole[:, start : start + 8 // dist.get_world_size(group)])
    for dtype in (torch.float32, torch.bfloat16, torch.int64):
        assert torch.equal(cat_outputs_cp(shard.to(dtype), -2, group), whole.to(dtype))
    assert raises(ValueError, "dim 2 of length 3 cannot be split evenly", lambda: split_inputs_cp(whole, 2, group))


def check_attention(group: dist.ProcessGroup) -> None:
    """Both methods give what one process gives, for several dtypes, shapes and batch dims."""
    generator = torch.Generator().manual_seed(7)
    for batch, queries, keys, heads in (((1,), 8, 24, 4), ((2, 3), 4, 4, 2)):
        for dtype, tolerance in ((torch.float32, 2e-6), (torch.bfloat16, 2e-2)):
            q, k, v = (
                torch.randn(*batch, length, heads, 16, generator=generator).to(dtype)
                for length in (queries, keys, keys)
            )
            k = k * 4  # sharp attention: shards whose normalisers differ by much
            expected = attend(q.float(), k.float(), v.float())
            shards = [split_inputs_cp(x, -3, group) for x in (q, k, v)]
            for method in ("ring", "ulysses"):
                attention = ContextParallelAttention("bshd", method=method)
                attention.set_context_parallel_group(group)
                out = attention(*shards)
                assert out.dtype == dtype and out.shape == shards[0].shape
                whole = cat_outputs_cp(out, -3, group)
                torch.testing.assert_close(whole.float(), expected, rtol=0, atol=tolerance)


def check_refusals(group: dist.ProcessGroup) -> None:
    """Check that unsupported settings raise on every process."""
    x = torch.randn(1, 4, 3, 8)
    ulysses = ContextParallelAttention("bshd", method="ulysses")
    ulysses.set_context_parallel_group(group)
    assert raises(ValueError, "number of heads that 2 processes can share, got 3", lambda: ulysses(x, x, x))
    grad = x.clone().requires_grad_()
    assert raises(RuntimeError, "no gradients", lambda: ulysses(grad, grad, grad))
    assert raises(
        ValueError, "use ContextParallelAttention", lambda: NativeAttention().set_context_parallel_group(group)
    )


def check_agreement(rank: int) -> None:
    """Processes whose measurements differ take the same number type: that of the first one."""
    for first, second in ((torch.float32, torch.bfloat16), (torch.bfloat16, torch.float32)):
        faster = second if rank else first
        with mock.patch.multiple(
            precision,
            cpu_flags=lambda: frozenset({"bf16"}),
            decide=lambda *_, faster=faster, **__: faster,
            _remembered=lambda: None,
            _remember=lambda _dtype: None,
        ):
            assert precision.fastest_dtype(torch.device("cpu")) is first


def main() -> None:
    assert distributed.init("cpu") and distributed.init("cpu")
    assert distributed.world_size() == 2
    assert distributed.is_rank_zero() == (distributed.rank() == 0)
    group = dist.group.WORLD
    assert group is not None
    check_splitting(group)
    check_attention(group)
    check_refusals(group)
    check_agreement(distributed.rank())
    distributed.barrier()
    distributed.shutdown()
    assert distributed.world_size() == 1


if __name__ == "__main__":
    main()
