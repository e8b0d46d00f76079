"""Matrix-Game 2.0 written plainly: a whole clip in one pass, no caches, explicit masks, loops over latents, in fp64.

Weights are a state dict in the published layout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

Weights = dict[str, Tensor]
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Sizes:
    """Of a network; the defaults are the published ones."""

    keyboard: int = 4
    mouse: int = 2
    dim: int = 1536
    ffn: int = 8960
    heads: int = 12
    layers: int = 30
    freq: int = 256
    channels: int = 16
    clip: int = 1280
    action_layers: int = 15
    action_dim: int = 1024
    action_heads: int = 16
    turning: int = 8
    embed: int = 128


def published_shapes(size: Sizes) -> Shapes:
    """Every key of a published file with its shape."""
    d, h, f = size.dim, size.action_dim, size.ffn
    shapes: Shapes = {}

    def linear(name: str, out: int, into: int, bias: bool = True) -> None:
        shapes[f"{name}.weight"] = (out, into)
        if bias:
            shapes[f"{name}.bias"] = (out,)

    def norm(name: str, width: int) -> None:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (width,)

    shapes["patch_embedding.weight"] = (d, 2 * size.channels + 4, 1, 2, 2)
    shapes["patch_embedding.bias"] = (d,)
    linear("time_embedding.0", d, size.freq)
    linear("time_embedding.2", d, d)
    linear("time_projection.1", 6 * d, d)
    linear("head.head", 4 * size.channels, d)
    shapes["head.modulation"] = (1, 2, d)
    norm("img_emb.proj.0", size.clip)
    linear("img_emb.proj.1", size.clip, size.clip)
    linear("img_emb.proj.3", d, size.clip)
    norm("img_emb.proj.4", d)
    for n in range(size.layers):
        for attention in ("self_attn", "cross_attn"):
            for part in "qkvo":
                linear(f"blocks.{n}.{attention}.{part}", d, d)
            for part in "qk":
                shapes[f"blocks.{n}.{attention}.norm_{part}.weight"] = (d,)
        norm(f"blocks.{n}.norm3", d)
        linear(f"blocks.{n}.ffn.0", f, d)
        linear(f"blocks.{n}.ffn.2", d, f)
        shapes[f"blocks.{n}.modulation"] = (1, 6, d)
        if n >= size.action_layers:
            continue
        name = f"blocks.{n}.action_model"
        linear(f"{name}.keyboard_embed.0", size.embed, size.keyboard)
        linear(f"{name}.keyboard_embed.2", size.embed, size.embed)
        linear(f"{name}.mouse_attn_q", h, d, bias=False)
        linear(f"{name}.keyboard_attn_kv", 2 * h, 12 * size.embed, bias=False)
        linear(f"{name}.proj_keyboard", d, h, bias=False)
        for part in "qk":
            shapes[f"{name}.key_attn_{part}_norm.weight"] = (h // size.action_heads,)
        if size.mouse:
            linear(f"{name}.mouse_mlp.0", h, d + 12 * size.mouse)
            linear(f"{name}.mouse_mlp.2", h, h)
            norm(f"{name}.mouse_mlp.3", h)
            linear(f"{name}.t_qkv", 3 * h, h, bias=False)
            linear(f"{name}.proj_mouse", d, h, bias=False)
            for part in "qk":
                shapes[f"{name}.img_attn_{part}_norm.weight"] = (h // size.action_heads,)
    return {f"model.{key}": shape for key, shape in shapes.items()}


def random_weights(size: Sizes, seed: int = 0) -> Weights:
    """Away from neutral everywhere, the norms' unused weights included."""
    generator, made = torch.Generator().manual_seed(seed), {}
    for key, shape in published_shapes(size).items():
        value = torch.randn(shape, generator=generator)
        if len(shape) > 1 and "modulation" not in key:
            value = value / math.sqrt(value[0].numel())
        else:
            value = 0.3 * value + ("norm" in key and key.endswith("weight"))
        made[key] = value
    return made


class PlainMatrixGame:
    """The network over a whole clip of one video: chunk by chunk visible, latent by latent computed."""

    def __init__(self, size: Sizes, weights: Weights, clip: Tensor, len_t: int, window: int) -> None:
        self.size, self.len_t, self.window = size, len_t, window
        self.w = {key.removeprefix("model."): value.double() for key, value in weights.items()}
        x = F.layer_norm(clip.double(), (size.clip,), self.w["img_emb.proj.0.weight"], self.w["img_emb.proj.0.bias"])
        x = self.linear("img_emb.proj.3", F.gelu(self.linear("img_emb.proj.1", x)))
        self.context = F.layer_norm(x, (size.dim,), self.w["img_emb.proj.4.weight"], self.w["img_emb.proj.4.bias"])

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.w[f"{name}.weight"], self.w.get(f"{name}.bias"))

    def visible(self, latent: int) -> list[int]:
        """Latents that `latent` attends to: its own chunk whole, and what the window keeps of those before."""
        end = (latent // self.len_t + 1) * self.len_t
        return [other for other in range(end) if other >= end - self.window]

    def flow(
        self, latents: Tensor, image: Tensor, times: list[float], keyboard: Tensor, mouse: Tensor | None
    ) -> Tensor:
        """Flow `[T, C, H, W]` of T latents, each at a timestep of its own; `keyboard [F, K]` of all frames."""
        t, _, height, width = latents.shape
        mask = torch.zeros(t, 4, height, width)
        mask[0] = 1
        x = torch.cat([latents, mask, image], 1).double()
        weight = self.w["patch_embedding.weight"][:, :, 0]
        x = F.conv2d(x, weight, self.w["patch_embedding.bias"], stride=2)
        rows, columns = x.shape[-2:]
        x = x.flatten(2).transpose(1, 2)  # [T, S, dim]
        half = self.size.freq // 2
        speeds = torch.tensor([10000 ** (-i / half) for i in range(half)], dtype=torch.float64)
        angles = torch.tensor(times, dtype=torch.float64)[:, None] * speeds
        e = self.linear("time_embedding.0", torch.cat([angles.cos(), angles.sin()], 1))
        e = self.linear("time_embedding.2", F.silu(e))
        six = self.linear("time_projection.1", F.silu(e)).unflatten(1, (6, -1))
        for n in range(self.size.layers):
            x = self.block(n, x, six, (rows, columns), keyboard, mouse)
        shift, scale = (self.w["head.modulation"] + e[:, None]).unbind(1)
        x = F.layer_norm(x, (self.size.dim,), eps=1e-6) * (1 + scale[:, None]) + shift[:, None]
        x = self.linear("head.head", x).reshape(t, rows, columns, 2, 2, self.size.channels)
        return x.permute(0, 5, 1, 3, 2, 4).reshape(t, self.size.channels, height, width)

    def block(
        self, n: int, x: Tensor, six: Tensor, grid: tuple[int, int], keyboard: Tensor, mouse: Tensor | None
    ) -> Tensor:
        name, dim = f"blocks.{n}", self.size.dim
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = (self.w[f"{name}.modulation"] + six)[:, :, None].unbind(1)
        y = F.layer_norm(x, (dim,), eps=1e-6) * (1 + scale_a) + shift_a
        x = x + gate_a * self.self_attention(f"{name}.self_attn", y, grid)
        y = F.layer_norm(x, (dim,), self.w[f"{name}.norm3.weight"], self.w[f"{name}.norm3.bias"], 1e-6)
        x = x + self.cross_attention(f"{name}.cross_attn", y)
        if n < self.size.action_layers:
            x = self.actions(f"{name}.action_model", x, keyboard, mouse)
        y = F.layer_norm(x, (dim,), eps=1e-6) * (1 + scale_f) + shift_f
        y = self.linear(f"{name}.ffn.2", F.gelu(self.linear(f"{name}.ffn.0", y), approximate="tanh"))
        return x + gate_f * y

    def normed(self, name: str, x: Tensor) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * self.w[f"{name}.weight"]

    def self_attention(self, name: str, x: Tensor, grid: tuple[int, int]) -> Tensor:
        heads, (rows, columns) = (self.size.heads, -1), grid
        q = self.normed(f"{name}.norm_q", self.linear(f"{name}.q", x)).unflatten(-1, heads)
        k = self.normed(f"{name}.norm_k", self.linear(f"{name}.k", x)).unflatten(-1, heads)
        v = self.linear(f"{name}.v", x).unflatten(-1, heads)
        head = q.shape[-1]
        of_space = 2 * (head // 6)
        dims = (head - 2 * of_space, of_space, of_space)
        turns = torch.zeros(len(x), rows * columns, head // 2, dtype=torch.float64)
        for latent in range(len(x)):
            for place in range(rows * columns):
                where = (latent, place // columns, place % columns)
                found = [
                    p * 10000 ** (-2 * i / dim) for p, dim in zip(where, dims, strict=True) for i in range(dim // 2)
                ]
                turns[latent, place] = torch.tensor(found)
        q, k = turned(q, turns[:, :, None]), turned(k, turns[:, :, None])
        out = []
        for latent in range(len(x)):
            seen = self.visible(latent)
            out.append(softmax_attention(q[latent], k[seen].flatten(0, 1), v[seen].flatten(0, 1)))
        return self.linear(f"{name}.o", torch.stack(out).flatten(-2))

    def cross_attention(self, name: str, x: Tensor) -> Tensor:
        heads = (self.size.heads, -1)
        q = self.normed(f"{name}.norm_q", self.linear(f"{name}.q", x)).unflatten(-1, heads)
        k = self.normed(f"{name}.norm_k", self.linear(f"{name}.k", self.context)).unflatten(-1, heads)
        v = self.linear(f"{name}.v", self.context).unflatten(-1, heads)
        out = [softmax_attention(each, k, v) for each in q]
        return self.linear(f"{name}.o", torch.stack(out).flatten(-2))

    def actions(self, name: str, x: Tensor, keyboard: Tensor, mouse: Tensor | None) -> Tensor:
        if mouse is not None:
            x = x + self.linear(f"{name}.proj_mouse", self.by_mouse(name, x, mouse.double()))
        return x + self.linear(f"{name}.proj_keyboard", self.by_keyboard(name, x, keyboard.double()))

    def window_of(self, latent: int, frames: Tensor) -> Tensor:
        return torch.stack([frames[max(0, 4 * latent - 12 + i)] for i in range(12)])

    def over_time(self, x: Tensor) -> Tensor:
        """Heads `[T, H, D]` of consecutive latents, normalised without a weight and turned."""
        x = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        turns = torch.zeros(len(x), 1, x.shape[-1] // 2, dtype=torch.float64)
        for latent in range(len(x)):
            for i in range(self.size.turning // 2):
                turns[latent, 0, i] = latent * 256 ** (-2 * i / self.size.turning)
        return turned(x, turns)

    def by_mouse(self, name: str, x: Tensor, mouse: Tensor) -> Tensor:
        out = torch.zeros(*x.shape[:2], self.size.action_dim, dtype=torch.float64)
        for place in range(x.shape[1]):
            rows = [torch.cat([x[t, place], self.window_of(t, mouse).flatten()]) for t in range(len(x))]
            y = F.gelu(self.linear(f"{name}.mouse_mlp.0", torch.stack(rows)), approximate="tanh")
            y = self.linear(f"{name}.mouse_mlp.2", y)
            scale, shift = self.w[f"{name}.mouse_mlp.3.weight"], self.w[f"{name}.mouse_mlp.3.bias"]
            y = F.layer_norm(y, (self.size.action_dim,), scale, shift, 1e-5)
            q, k, v = self.linear(f"{name}.t_qkv", y).unflatten(-1, (3, self.size.action_heads, -1)).unbind(1)
            q, k = self.over_time(q), self.over_time(k)
            for t in range(len(x)):
                seen = self.visible(t)
                out[t, place] = softmax_attention(q[t : t + 1], k[seen], v[seen]).flatten()
        return out

    def by_keyboard(self, name: str, x: Tensor, keyboard: Tensor) -> Tensor:
        embedded = self.linear(f"{name}.keyboard_embed.2", F.silu(self.linear(f"{name}.keyboard_embed.0", keyboard)))
        rows = torch.stack([self.window_of(t, embedded).flatten() for t in range(len(x))])
        kv = self.linear(f"{name}.keyboard_attn_kv", rows).unflatten(-1, (2, self.size.action_heads, -1))
        k, v = self.over_time(kv[:, 0]), kv[:, 1]
        out = torch.zeros(*x.shape[:2], self.size.action_dim, dtype=torch.float64)
        for place in range(x.shape[1]):
            q = self.linear(f"{name}.mouse_attn_q", x[:, place]).unflatten(-1, (self.size.action_heads, -1))
            q = self.over_time(q)
            for t in range(len(x)):
                seen = self.visible(t)
                out[t, place] = softmax_attention(q[t : t + 1], k[seen], v[seen]).flatten()
        return out


def turned(x: Tensor, angles: Tensor) -> Tensor:
    """Adjacent pairs of `x [..., D]` turned by `angles [..., D / 2]`."""
    a, b = x[..., 0::2], x[..., 1::2]
    pairs = (a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos())
    return torch.stack(pairs, -1).flatten(-2)


def softmax_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """`q [Q, H, D]` over `k`, `v [K, H, D]`."""
    scores = torch.einsum("qhd,khd->hqk", q, k) / math.sqrt(q.shape[-1])
    return torch.einsum("hqk,khd->qhd", scores.softmax(-1), v)
