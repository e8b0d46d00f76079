"""Attention as a module: layouts, kernels and batch dims, and the partial results that a ring merges."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.core.attention import ContextParallelAttention, NativeAttention, attend
from flashdreams.core.attention.cp import _partial, torch_sdpa_cudnn, torch_sdpa_flash


def qkv(*batch: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(*batch, length, 3, 8, generator=generator).to(dtype) for length in (5, 7, 7)]


@pytest.mark.parametrize("kind", [NativeAttention, ContextParallelAttention])
def test_both_layouts_give_the_same(kind: type[NativeAttention]) -> None:
    q, k, v = qkv(2)
    expected = attend(q, k, v)
    assert torch.equal(kind(qkv_format="bshd")(query=q, key=k, value=v), expected)
    heads_first = kind()(query=q.transpose(1, 2), key=k.transpose(1, 2), value=v.transpose(1, 2))
    assert torch.equal(heads_first.transpose(1, 2), expected)


def test_bad_choices_are_named() -> None:
    with pytest.raises(ValueError, match="qkv_format"):
        NativeAttention("sbhd")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="backend"):
        ContextParallelAttention(backend="math")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="method"):
        ContextParallelAttention(method="tree")  # type: ignore[arg-type]


def test_without_a_group_nothing_is_shared() -> None:
    attention = ContextParallelAttention()
    attention.set_context_parallel_group(cp_group=None)
    assert not attention.is_context_parallel_enabled() and attention.context_parallel_size() == 1


@pytest.mark.parametrize("batch", [(), (2,), (1, 1), (2, 1, 3)])
def test_torchs_kernel_always_gets_one_batch_dim(batch: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = qkv(*batch)
    alone = torch.stack(
        [attend(*each) for each in zip(*(x.reshape(-1, 1, *x.shape[-3:]) for x in (q, k, v)), strict=True)]
    )
    seen, fused = [], F.scaled_dot_product_attention

    def spy(query: Tensor, *others: Tensor, **options: object) -> Tensor:
        seen.append(query.ndim)
        return fused(query, *others, **options)

    monkeypatch.setattr(F, "scaled_dot_product_attention", spy)
    out = attend(q, k, v)
    assert seen == [4]  # its fused kernels take four dims and no others
    torch.testing.assert_close(out, alone.reshape(out.shape))


@pytest.mark.parametrize("batch", [(), (2,), (1, 1)])
@pytest.mark.parametrize("kernel", [torch_sdpa_cudnn, torch_sdpa_flash])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_partial_results_merge_for_any_batch(batch: tuple[int, ...], kernel: object, dtype: torch.dtype) -> None:
    q, k, v = qkv(*batch, dtype=dtype)
    first, second = (_partial(q, *(x.narrow(-3, *part) for x in (k, v)), kernel) for part in ((0, 3), (3, 4)))
    weights = torch.softmax(torch.cat((first[1], second[1]), dim=-1), dim=-1)
    merged = first[0] * weights[..., :1] + second[0] * weights[..., 1:]
    expected = attend(q.float(), k.float(), v.float())
    tolerance = 1e-5 if dtype == torch.float32 else 0.03
    torch.testing.assert_close(merged.float(), expected, rtol=0, atol=tolerance)


def test_normalisers_come_only_on_request() -> None:
    q, k, v = (x.transpose(1, 2) for x in qkv(2))
    out, lse = torch_sdpa_flash(query=q, key=k, value=v)
    assert lse is None
    scores = q @ k.transpose(-2, -1) / 8**0.5
    torch.testing.assert_close(out, scores.softmax(-1) @ v)
    torch.testing.assert_close(torch_sdpa_cudnn(q, k, v, return_lse=True)[1], scores.logsumexp(-1))
