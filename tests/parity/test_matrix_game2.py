"""Matrix-Game 2.0 streaming, chunk by chunk with caches, against a plain pass over the whole clip with masks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from flashdreams.infra.runtime.state import copy_state
from flashdreams.integrations.matrix_game2 import (
    PRESETS,
    MatrixGameCtrl,
    MatrixGameNetworkConfig,
    MatrixGameTransformer,
    MatrixGameTransformerConfig,
    matrix_game_pipeline,
)
from tests.parity.matrix_game2_plain import PlainMatrixGame, Sizes, published_shapes, random_weights
from tests.wan import noise, relative_error

TOLERANCE = 2e-5
HEIGHT, WIDTH, LEN_T, CHUNKS = 4, 6, 3, 4
FRAMES = 1 + 4 * (CHUNKS * LEN_T - 1)
TINY: dict[str, Any] = {
    "dim": 24,
    "ffn": 40,
    "heads": 2,
    "layers": 3,
    "freq": 16,
    "channels": 4,
    "action_layers": 2,
    "action_dim": 32,
    "action_heads": 2,
    "embed": 6,
}
TIMES = torch.tensor([1000.0, 908.8427, 713.9794]).tolist()
"""In fp32, as the network is told them."""
CASES = {
    "window 6": (Sizes(**TINY), 6),
    "window 4": (Sizes(keyboard=2, **TINY), 4),
    "window 9": (Sizes(**TINY), 9),
    "no mouse": (Sizes(keyboard=7, mouse=0, **TINY), 6),
}


def config_of(size: Sizes, window: int, **changes: Any) -> MatrixGameTransformerConfig:
    network = MatrixGameNetworkConfig(
        dim=size.dim,
        ffn_dim=size.ffn,
        freq_dim=size.freq,
        num_heads=size.heads,
        num_layers=size.layers,
        in_dim=2 * size.channels + 4,
        out_dim=size.channels,
        keyboard_dim=size.keyboard,
        mouse_dim=size.mouse,
        action_blocks=size.action_layers,
        action_dim=size.action_dim,
        action_heads=size.action_heads,
        action_rope_dims=(size.turning, 4, 4),
        keyboard_embed_dim=size.embed,
    )
    return MatrixGameTransformerConfig(network=network, dtype=torch.float32, window_size_t=window, **changes)


class Clip:
    """Latents, image latent and controls of a whole clip, of which chunks are given away."""

    def __init__(self, size: Sizes, seed: int = 0) -> None:
        shape = (1, CHUNKS * LEN_T, size.channels, HEIGHT, WIDTH)
        self.clean, self.image = noise(*shape, seed=seed + 1), noise(*shape, seed=seed + 2)
        self.keyboard = (noise(1, FRAMES, size.keyboard, seed=seed + 3) > 0).float()
        self.mouse = noise(1, FRAMES, size.mouse, seed=seed + 4).sign() * 0.1 if size.mouse else None
        self.clip = noise(1, 257, 1280, seed=seed + 5)
        self.noisy = [noise(1, LEN_T, size.channels, HEIGHT, WIDTH, seed=seed + 10 + i) for i in range(len(TIMES))]

    def control(self, chunk: int) -> MatrixGameCtrl:
        here = slice(chunk * LEN_T, (chunk + 1) * LEN_T)
        first = 0 if chunk == 0 else 4 * LEN_T * chunk - 3
        frames = slice(first, 4 * LEN_T * (chunk + 1) - 3)
        mask = torch.zeros(1, LEN_T, 1, HEIGHT, WIDTH)
        mask[:, 0] = chunk == 0
        return MatrixGameCtrl(
            latent=self.image[:, here],
            mask=mask,
            keyboard=self.keyboard[:, frames],
            mouse=None if self.mouse is None else self.mouse[:, frames],
        )


def start(transformer: MatrixGameTransformer, clip: Clip) -> Any:
    return transformer.initialize_autoregressive_cache(height=HEIGHT, width=WIDTH, image_embeddings=clip.clip)


def chunk_flows(transformer: MatrixGameTransformer, cache: Any, clip: Clip, chunk: int) -> list[Tensor]:
    """Flows of the chunk's steps, in the shape of latents; then the clean chunk is committed."""
    control = transformer.patchify_and_maybe_split_cp(clip.control(chunk))
    cache.start(chunk)
    flows = []
    for noisy, time in zip(clip.noisy, TIMES, strict=True):
        tokens = transformer.patchify_and_maybe_split_cp(noisy)
        flow = transformer.predict_flow(tokens, torch.tensor(time), cache, control)
        flows.append(transformer.unpatchify_of(flow, cache))
    clean = transformer.patchify_and_maybe_split_cp(clip.clean[:, chunk * LEN_T : (chunk + 1) * LEN_T])
    transformer.finalize_kv_cache(clean, torch.tensor(0.0), cache, control)
    cache.finalize(chunk)
    return flows


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_streaming_equals_a_plain_pass_over_the_whole_clip(case: str) -> None:
    size, window = CASES[case]
    weights, clip = random_weights(size), Clip(size)
    transformer = config_of(size, window).setup()
    transformer.load_published(weights)
    plain, cache, worst = PlainMatrixGame(size, weights, clip.clip[0], LEN_T, window), start(transformer, clip), 0.0
    for chunk in range(CHUNKS):
        begin, end = chunk * LEN_T, (chunk + 1) * LEN_T
        flows = chunk_flows(transformer, cache, clip, chunk)
        for noisy, time, flow in zip(clip.noisy, TIMES, flows, strict=True):
            latents = torch.cat([clip.clean[0, :begin], noisy[0]])
            mouse = None if clip.mouse is None else clip.mouse[0]
            times = [0.0] * begin + [time] * LEN_T
            expected = plain.flow(latents, clip.image[0, :end], times, clip.keyboard[0], mouse)[begin:]
            worst = max(worst, float((flow[0] - expected).abs().max()), relative_error(flow[0], expected))
    print(f"Matrix-Game, {case}: worst difference {worst:.1e}")
    assert worst <= TOLERANCE


@torch.no_grad()
def test_timesteps_may_differ_by_latent() -> None:
    size, window = CASES["window 6"]
    weights, clip, times = random_weights(size), Clip(size), [700.0, 300.0, 0.0]
    transformer = config_of(size, window).setup()
    transformer.load_published(weights)
    cache, given = start(transformer, clip), clip.control(0)
    cache.start(0)
    tokens, control = map(transformer.patchify_and_maybe_split_cp, (clip.noisy[0], given))
    per_token = torch.tensor(times).repeat_interleave(tokens.shape[1] // LEN_T)[None]
    flow = transformer.unpatchify_of(transformer.predict_flow(tokens, per_token, cache, control), cache)
    plain = PlainMatrixGame(size, weights, clip.clip[0], LEN_T, window)
    expected = plain.flow(clip.noisy[0][0], clip.image[0, :LEN_T], times, clip.keyboard[0], clip.mouse[0])  # type: ignore[index]
    assert float((flow[0] - expected).abs().max()) <= TOLERANCE


@pytest.mark.parametrize("changed", ["keyboard", "mouse", "clip", "image"])
@torch.no_grad()
def test_the_reference_notices_every_input(changed: str) -> None:
    """Otherwise the test of parity could not fail."""
    size, window = CASES["window 6"]
    plain_weights, flows = random_weights(size), []
    for seed in (0, 40):
        clip, other = Clip(size), Clip(size, seed)
        setattr(clip, changed, getattr(other, changed))
        plain = PlainMatrixGame(size, plain_weights, clip.clip[0], LEN_T, window)
        latents, times = clip.clean[0, : 2 * LEN_T], [0.0] * LEN_T + [500.0] * LEN_T
        assert clip.mouse is not None
        flows.append(plain.flow(latents, clip.image[0, : 2 * LEN_T], times, clip.keyboard[0], clip.mouse[0])[LEN_T:])
    assert relative_error(*flows) > 1e-3


@torch.no_grad()
def test_controls_act_from_the_latent_whose_window_has_them() -> None:
    """Latent L sees frames 4 L - 12 to 4 L - 1: frame 8, the first chunk's last, is of no use before latent 3."""
    size, window = CASES["window 6"]
    transformer = config_of(size, window).setup()
    transformer.load_published(random_weights(size))
    for frame, first_changed in ((7, 0), (8, 1)):
        clip, other = Clip(size), Clip(size)
        other.keyboard[:, frame] = 1 - other.keyboard[:, frame]
        caches = [start(transformer, each) for each in (clip, other)]
        pairs = [
            [chunk_flows(transformer, cache, each, chunk) for cache, each in zip(caches, (clip, other), strict=True)]
            for chunk in range(2)
        ]
        unlike = [any(not torch.equal(a, b) for a, b in zip(*pair, strict=True)) for pair in pairs]
        assert unlike == [first_changed == 0, True]


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_interleaved_rollouts_equal_rollouts_alone(case: str) -> None:
    size, window = CASES[case]
    transformer = config_of(size, window).setup()
    transformer.load_published(random_weights(size))
    clips = [Clip(size), Clip(size, seed=50)]
    alone = []
    for clip in clips:
        cache = start(transformer, clip)
        alone.append([chunk_flows(transformer, cache, clip, chunk) for chunk in range(CHUNKS)])
    caches = [start(transformer, clip) for clip in clips]
    for chunk in range(CHUNKS):
        for cache, clip, expected in zip(caches, clips, alone, strict=True):
            flows = chunk_flows(transformer, cache, clip, chunk)
            assert all(map(torch.equal, flows, expected[chunk]))


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_a_restored_rollout_goes_on_bit_for_bit(case: str) -> None:
    size, window = CASES[case]
    transformer = config_of(size, window).setup()
    transformer.load_published(random_weights(size))
    clip = Clip(size)
    cache = start(transformer, clip)
    for chunk in range(2):
        chunk_flows(transformer, cache, clip, chunk)
    kept = copy_state(cache)
    expected = [chunk_flows(transformer, cache, clip, chunk) for chunk in (2, 3)]
    for _ in range(2):
        again = copy_state(kept)
        flows = [chunk_flows(transformer, again, clip, chunk) for chunk in (2, 3)]
        assert all(
            torch.equal(a, b)
            for one, other in zip(flows, expected, strict=True)
            for a, b in zip(one, other, strict=True)
        )


@torch.no_grad()
def test_a_rollout_in_the_memory_of_another_equals_a_new_one() -> None:
    size, window = CASES["window 4"]
    transformer = config_of(size, window).setup()
    transformer.load_published(random_weights(size))
    first, second = Clip(size), Clip(size, seed=50)
    cache = start(transformer, second)
    expected = [chunk_flows(transformer, cache, second, chunk) for chunk in range(3)]
    used = start(transformer, first)
    for chunk in range(3):
        chunk_flows(transformer, used, first, chunk)
    again = transformer.reuse_autoregressive_cache(used, height=HEIGHT, width=WIDTH, image_embeddings=second.clip)
    assert again is used
    flows = [chunk_flows(transformer, again, second, chunk) for chunk in range(3)]
    assert all(
        torch.equal(a, b) for one, other in zip(flows, expected, strict=True) for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize(
    ("game", "tensors", "millions"),
    [("universal", 1114, 1619.2), ("gta_drive", 1114, 1619.2), ("templerun", 964, 1508.7)],
)
def test_published_files_have_the_networks_keys_and_shapes(game: str, tensors: int, millions: float) -> None:
    preset = PRESETS[game]
    shapes = published_shapes(Sizes(keyboard=preset.keyboard_dim, mouse=preset.mouse_dim))
    with torch.device("meta"):
        network = matrix_game_pipeline(preset).rollout.network.setup()
    own = {f"model.{key}": tuple(value.shape) for key, value in network.state_dict().items()}
    assert own == shapes
    assert len(own) == tensors
    elements = sum(parameter.numel() for parameter in network.parameters())
    assert elements == preset.parameters
    assert round(elements / 1e6, 1) == millions


@pytest.mark.parametrize("prefix", ["model.", ""])
@torch.no_grad()
def test_a_file_in_the_published_layout_loads(prefix: str, tmp_path: Path) -> None:
    size, window = CASES["no mouse"]
    weights = {prefix + key.removeprefix("model."): value for key, value in random_weights(size).items()}
    save_file(weights, tmp_path / "base_distill.safetensors")
    from_file = config_of(size, window, checkpoint_path=tmp_path / "base_distill.safetensors").setup()
    given: Mapping[str, Tensor] = random_weights(size)
    from_dict = config_of(size, window).setup()
    from_dict.load_published(given)
    pairs = zip(from_file.state_dict().items(), from_dict.state_dict().items(), strict=True)
    assert all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w | {"model.blocks.0.action_model.extra": torch.zeros(1)}, "action_model.extra"),
        (lambda w: {k: v for k, v in w.items() if "t_qkv" not in k}, "t_qkv"),
        (lambda w: w | {"model.blocks.1.action_model.keyboard_embed.0.weight": torch.zeros(6, 7)}, "keyboard_embed"),
    ],
    ids=["unknown", "missing", "of another game"],
)
def test_another_models_tensors_are_refused_by_name(change: Any, message: str) -> None:
    size, window = CASES["window 6"]
    transformer = config_of(size, window).setup()
    with pytest.raises(ValueError, match=message):
        transformer.load_published(change(random_weights(size)))


def test_denoising_lists_are_warped_as_published() -> None:
    expected = {
        "universal": ([1000.0, 908.8427, 713.9794], 6),
        "gta_drive": ([1000.0, 908.8427, 713.9794], 4),
        "templerun": ([1000.0, 937.5, 833.3333, 625.0], 6),
    }
    for game, (timesteps, window) in expected.items():
        pipeline = matrix_game_pipeline(PRESETS[game])
        scheduler: Any = pipeline.diffusion_model.scheduler.setup()
        assert scheduler.timesteps.tolist() == pytest.approx(timesteps, abs=1e-3)
        assert scheduler.sigmas.tolist() == pytest.approx([each / 1000 for each in timesteps], abs=1e-6)
        assert pipeline.rollout.window_size_t == window


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"keyboard": torch.zeros(1, 12, 4)}, "keyboard"),
        ({"keyboard": torch.zeros(1, 9, 2)}, "keyboard"),
        ({"mouse": None}, "mouse"),
        ({"mouse": torch.zeros(1, 9, 3)}, "mouse"),
    ],
)
def test_controls_of_another_shape_are_refused(change: dict[str, Any], field: str) -> None:
    size, window = CASES["window 6"]
    transformer, clip = config_of(size, window).setup(), Clip(size)
    cache, control = start(transformer, clip), clip.control(0)
    for name, value in change.items():
        setattr(control, name, value)
    cache.start(0)
    tokens, control = map(transformer.patchify_and_maybe_split_cp, (clip.noisy[0], control))
    with pytest.raises(ValueError, match=f"^{field} must be"):
        transformer.predict_flow(tokens, torch.tensor(500.0), cache, control)


@pytest.mark.parametrize(
    "changes",
    [
        {"action_dim": 31},
        {"action_rope_dims": (7, 4, 5)},
        {"action_blocks": -1},
        {"keyboard_dim": 0},
        {"action_window": 0},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        MatrixGameNetworkConfig(**changes)
