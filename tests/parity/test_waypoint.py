"""Waypoint against a plain formulation: loops over frames, heads and keys, no cache, a rule for what a frame sees."""

from __future__ import annotations

import functools
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from flashdreams.integrations.waypoint import WaypointNetworkConfig, WaypointTransformer, WaypointTransformerConfig

TOLERANCE = 2e-5
"""Largest absolute difference in fp32; velocities have a standard deviation of about 1."""
LATENT = (8, 12)
SIZES: dict[str, Any] = {
    "in_dim": 4,
    "out_dim": 4,
    "dim": 64,
    "num_heads": 4,
    "num_kv_heads": 2,
    "num_layers": 4,
    "num_buttons": 12,
    "noise_features": 32,
}


def tiny(seed: int = 0, **changes: Any) -> WaypointTransformer:
    """A transformer with random weights large enough that every part of it matters."""
    network = WaypointNetworkConfig(**(SIZES | changes))
    made: WaypointTransformer = WaypointTransformerConfig(
        network=network, height=LATENT[0], width=LATENT[1], dtype=torch.float32
    ).setup()
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, tensor in made.network.state_dict().items():
        scale = tensor[0].numel() ** -0.5 if tensor.dim() > 1 else 0.4
        state[key] = torch.randn(tensor.shape, generator=generator) * scale
    made.network.load_state_dict(state)
    return made


class Plain:
    """Velocities of a clip whose frames are all given, each at its own noise level."""

    def __init__(self, model: WaypointTransformer) -> None:
        self.w, self.c = model.network.state_dict(), model.config.network

    def frame_vectors(self, sigma: float) -> list[list[Tensor]]:
        """Scale, shift and gate twice for each layer, then the output's two."""
        half = self.c.noise_features // 2
        # In fp32, as the model was trained: angles of up to 1000 radians keep only three decimals there.
        angles = 1000 * torch.tensor(sigma) * torch.logspace(0, -4, half)
        features = math.sqrt(2) * torch.cat([angles.sin(), angles.cos()])
        c = self.mlp("denoise_step_emb.mlp", features)
        vectors = []
        for layer in range(self.c.num_layers):
            heads = [f"transformer.blocks.{layer}.{name}_cond_head" for name in ("attn", "mlp")]
            vectors.append(
                [self.linear(f"{h}.cond_proj.{i}", F.silu(c + self.w[f"{h}.bias_in"])) for h in heads for i in range(3)]
            )
        return [*vectors, list(self.linear("out_norm.fc", F.silu(c)).chunk(2))]

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.w[f"{name}.weight"].T

    def mlp(self, name: str, x: Tensor) -> Tensor:
        return self.linear(f"{name}.fc2", F.silu(self.linear(f"{name}.fc1", x)))

    def rotate(self, x: Tensor, t: int, rows: int, columns: int) -> Tensor:
        """One head of a frame `[L, D]`: real parts first, then imaginary ones."""
        angles = torch.tensor(self.angles(x.shape[-1], t, rows, columns), dtype=torch.float64)
        cos, sin = angles.cos().float(), angles.sin().float()
        pairs = torch.stack([x[:, 0::2], x[:, 1::2]])
        return torch.cat([pairs[0] * cos - pairs[1] * sin, pairs[0] * sin + pairs[1] * cos], 1)

    @staticmethod
    @functools.cache
    def angles(d: int, t: int, rows: int, columns: int) -> list[list[float]]:
        """Angles `[L, D / 2]` of the tokens of frame `t`."""
        spatial = [
            math.pi * f for f in torch.linspace(1, 0.8 * min(rows, columns) / 2, d // 16, dtype=torch.float64).tolist()
        ]
        temporal = [10000 ** (-k / (d // 4)) for k in range(0, d // 4, 2)]
        table = []
        for token in range(rows * columns):
            row, column = divmod(token, columns)
            px, py = (2 * column + 1) / columns - 1, (2 * row + 1) / rows - 1
            angles = [px * f for f in spatial for _ in (0, 1)]
            angles += [py * f for f in spatial for _ in (0, 1)]
            angles += [t * f for f in temporal for _ in (0, 1)]
            table.append(angles)
        return table

    def sees(self, layer: int, t: int) -> list[int]:
        if layer % 4 == 3:
            return [p for p in range(t) if p % 8 == 0 and p >= t - 127] + [t]
        return [p for p in range(t + 1) if p >= t - 15]

    def control(self, vector: Tensor | None) -> Tensor:
        u = self.w["ctrl_cfg.null_emb"][0, 0] if vector is None else self.mlp("ctrl_emb.mlp", vector)
        return norm(u)

    def __call__(self, frames: list[Tensor], sigmas: list[float], controls: list[Tensor | None]) -> list[Tensor]:
        """`frames`: latents `[C, H, W]`, the velocity of each where those before it are as given."""
        c, xs = self.c, []
        rows, columns = frames[0].shape[1] // 2, frames[0].shape[2] // 2
        for frame in frames:
            xs.append(F.conv2d(frame[None], self.w["patchify.weight"], stride=2)[0].flatten(1).T)
        vectors = [self.frame_vectors(sigma) for sigma in sigmas]
        first: list[Tensor] = []
        head_dim, shared = c.dim // c.num_heads, c.num_heads // c.num_kv_heads
        for layer in range(c.num_layers):
            name = f"transformer.blocks.{layer}"
            qs, ks, vs = [], [], []
            for t, x in enumerate(xs):
                s, b = vectors[t][layer][:2]
                h = norm(x) * (1 + s) + b
                v = self.linear(f"{name}.attn.v_proj", h)
                if layer == 0:
                    first.append(v)
                v = v + self.w[f"{name}.attn.v_lamb"] * (first[t] - v)
                split = lambda y: [self.rotate(norm(part), t, rows, columns) for part in y.split(head_dim, dim=1)]  # noqa: B023, E731
                qs.append(split(self.linear(f"{name}.attn.q_proj", h)))
                ks.append(split(self.linear(f"{name}.attn.k_proj", h)))
                vs.append(v.split(head_dim, dim=1))
            for t, x in enumerate(xs):
                s, b, g, s2, b2, g2 = vectors[t][layer]
                heads = []
                for i in range(c.num_heads):
                    k = torch.cat([ks[p][i // shared] for p in self.sees(layer, t)])
                    v = torch.cat([vs[p][i // shared] for p in self.sees(layer, t)])
                    heads.append((qs[t][i] @ k.T / math.sqrt(head_dim)).softmax(-1) @ v)
                x = x + g * self.linear(f"{name}.attn.out_proj", torch.cat(heads, 1))
                if layer % 3 == 0:
                    fused = self.linear(f"{name}.ctrl_mlpfusion.fc1_x", norm(x))
                    fused = fused + self.linear(f"{name}.ctrl_mlpfusion.fc1_c", self.control(controls[t]))
                    x = x + self.linear(f"{name}.ctrl_mlpfusion.fc2", F.silu(fused))
                xs[t] = x + g2 * self.mlp(f"{name}.dit_mlp", norm(x) * (1 + s2) + b2)
        out = []
        for t, x in enumerate(xs):
            s, b = vectors[t][-1]
            x = F.silu(norm(x) * (1 + s) + b).T.unflatten(1, (rows, columns))
            out.append(F.conv_transpose2d(x[None], self.w["unpatchify.weight"], self.w["unpatchify.bias"], stride=2)[0])
        return out


def norm(x: Tensor) -> Tensor:
    return x / (x.pow(2).mean(-1, keepdim=True) + 1.1920929e-7).sqrt()


def clip(model: WaypointTransformer, length: int, seed: int = 1) -> tuple[list[Tensor], list[Tensor | None]]:
    """Clean latents and controls, some of them none."""
    generator = torch.Generator().manual_seed(seed)
    frames = [torch.randn(4, *LATENT, generator=generator) for _ in range(length)]
    controls: list[Tensor | None] = []
    for t in range(length):
        vector = (torch.rand(model.config.network.control_dim, generator=generator) < 0.2).float()
        vector[:2] = torch.randn(2, generator=generator) * 5
        controls.append(None if t % 5 == 2 else vector)
    return frames, controls


def stream(
    model: WaypointTransformer, cache: Any, t: int, frame: Tensor, sigma: float, control: Tensor | None
) -> Tensor:
    tokens = model.patchify_and_maybe_split_cp(frame[None, None])
    given = None if control is None else control[None]
    return model.unpatchify_of(model.predict_flow(tokens, torch.tensor(sigma), cache, given), cache)[0, 0]


def commit(model: WaypointTransformer, cache: Any, t: int, frame: Tensor, control: Tensor | None) -> None:
    tokens = model.patchify_and_maybe_split_cp(frame[None, None])
    given = None if control is None else control[None]
    model.finalize_kv_cache(tokens, torch.tensor(0.0), cache, given)
    cache.finalize(t)


@pytest.mark.parametrize("length", [3, 20])
def test_streaming_is_the_plain_formulation_frame_by_frame(length: int) -> None:
    model = tiny()
    frames, controls = clip(model, length)
    noisy = torch.randn(4, *LATENT, generator=torch.Generator().manual_seed(9))
    cache, plain = model.initialize_autoregressive_cache(), Plain(model)
    expected_clean = plain(frames, [0.0] * length, controls)
    for t, (frame, control) in enumerate(zip(frames, controls, strict=True)):
        cache.start(t)
        if t in (0, 2, length - 1):  # noisy passes on the same slot, which the clean one replaces
            for sigma in (1.0, 0.3):
                got = stream(model, cache, t, noisy, sigma, control)
                mixed = [*frames[:t], noisy]
                expected = plain(mixed, [0.0] * t + [sigma], controls[: t + 1])[t]
                assert torch.allclose(got, expected, rtol=0, atol=TOLERANCE)
        assert torch.allclose(stream(model, cache, t, frame, 0.0, control), expected_clean[t], rtol=0, atol=TOLERANCE)
        commit(model, cache, t, frame, control)
    assert expected_clean[-1].std() > 0.3
