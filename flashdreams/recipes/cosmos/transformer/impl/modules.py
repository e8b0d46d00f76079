"""The layers of a Cosmos-Predict2 transformer: attention with normalised heads, and low-rank adaptive modulation.

Parameter names are those of the published Cosmos-Predict2 checkpoints. No layer here has a bias.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from flashdreams.core.attention import attend
from flashdreams.recipes.wan.transformer.impl.modules import CrossKV, Memory, RMSNorm, gated_sum, modulate, sinusoid

EPS = 1e-6
Linear = partial(nn.Linear, bias=False)


class PatchEmbedding(nn.Module):
    """Patches `[..., C kt kh kw]` to tokens `[..., dim]`."""

    def __init__(self, features: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(nn.Identity(), Linear(features, dim))  # the files count the cutting into patches

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


class TimestepEmbedding(nn.Module):
    """A timestep's sinusoid to what is added to every modulation."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear_1, self.linear_2 = Linear(dim, dim), Linear(dim, 3 * dim)

    def forward(self, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """`timesteps [..., G]` -> their sinusoids `[..., G, dim]` and the shared modulation `[..., G, 3 dim]`."""
        dtype = self.linear_1.weight.dtype
        waves = sinusoid(timesteps, self.linear_1.in_features).to(dtype)
        return waves, self.linear_2(F.silu(self.linear_1(waves)))


class Modulation(nn.Sequential):
    """Shift, scale and, in blocks, gate: low-rank in the timestep, beside the part that all layers share."""

    def __init__(self, dim: int, rank: int, parts: int = 3) -> None:
        super().__init__(nn.SiLU(), Linear(dim, rank), Linear(rank, parts * dim))
        self.parts, self.width = parts, parts * dim

    def of(self, embedded: Tensor, shared: Tensor) -> tuple[Tensor, ...]:
        """`embedded [..., G, dim]`, `shared [..., G, 3 dim]` -> `parts` tensors `[..., G, dim]`."""
        return (self(embedded) + shared[..., : self.width]).chunk(self.parts, dim=-1)


class Attention(nn.Module):
    """Queries of the tokens, keys and values of them or of a context, normalised head by head."""

    def __init__(self, dim: int, num_heads: int, context_dim: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj, self.output_proj = Linear(dim, dim), Linear(dim, dim)
        self.k_proj, self.v_proj = Linear(context_dim, dim), Linear(context_dim, dim)
        self.q_norm, self.k_norm = RMSNorm(dim // num_heads, EPS), RMSNorm(dim // num_heads, EPS)

    def queries(self, x: Tensor) -> Tensor:
        """`[..., L, dim]` -> `[..., L, H, D]`."""
        return self.q_norm(self.q_proj(x).unflatten(-1, (self.num_heads, -1)))

    def keys_values(self, context: Tensor) -> CrossKV:
        """Of tokens or of a prompt `[..., L, context_dim]`."""
        heads = (self.num_heads, -1)
        return CrossKV(
            self.k_norm(self.k_proj(context).unflatten(-1, heads)), self.v_proj(context).unflatten(-1, heads)
        )


class FeedForward(nn.Module):
    """Two layers around an exact GELU."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.layer1, self.layer2 = Linear(dim, hidden), Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer2(F.gelu(self.layer1(x)))


class Block(nn.Module):
    """Self-attention, cross-attention and feed-forward, each modulated by the timestep."""

    def __init__(self, dim: int, num_heads: int, hidden: int, context_dim: int, rank: int) -> None:
        super().__init__()
        self.dim = dim
        self.self_attn, self.cross_attn = Attention(dim, num_heads, dim), Attention(dim, num_heads, context_dim)
        self.mlp = FeedForward(dim, hidden)
        self.adaln_modulation_self_attn = Modulation(dim, rank)
        self.adaln_modulation_cross_attn = Modulation(dim, rank)
        self.adaln_modulation_mlp = Modulation(dim, rank)

    def forward(self, x: Tensor, embedded: Tensor, shared: Tensor, memory: Memory, cross: CrossKV) -> Tensor:
        """`x [..., L, dim]`; `embedded` and `shared` as `TimestepEmbedding` makes them."""
        shift, scale, gate = self.adaln_modulation_self_attn.of(embedded, shared)
        y, own = self._modulated(x, shift, scale), self.self_attn
        kv = own.keys_values(y)
        x = gated_sum(x, own.output_proj(memory(own.queries(y), kv.k, kv.v).flatten(-2)), gate)
        shift, scale, gate = self.adaln_modulation_cross_attn.of(embedded, shared)
        q = self.cross_attn.queries(self._modulated(x, shift, scale))
        x = gated_sum(x, self.cross_attn.output_proj(attend(q, cross.k, cross.v).flatten(-2)), gate)
        shift, scale, gate = self.adaln_modulation_mlp.of(embedded, shared)
        return gated_sum(x, self.mlp(self._modulated(x, shift, scale)), gate)

    def _modulated(self, x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        return modulate(F.layer_norm(x, (self.dim,), eps=EPS), shift, scale)


class FinalLayer(nn.Module):
    """Last norm, modulation and projection to patches."""

    def __init__(self, dim: int, out_features: int, rank: int) -> None:
        super().__init__()
        self.dim = dim
        self.linear = Linear(dim, out_features)
        self.adaln_modulation = Modulation(dim, rank, parts=2)

    def forward(self, x: Tensor, embedded: Tensor, shared: Tensor) -> Tensor:
        """`[..., L, dim]` -> `[..., L, out_features]`."""
        shift, scale = self.adaln_modulation.of(embedded, shared)
        return self.linear(modulate(F.layer_norm(x, (self.dim,), eps=EPS), shift, scale))
