"""Every sampler finds a known clean latent, keeps its schedule exact in any dtype, and names bad settings."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from flashdreams.infra.diffusion.scheduler import (
    FlowMatchEulerDiscreteSchedulerConfig,
    FlowMatchSchedulerConfig,
    FlowMatchUniPCSchedulerConfig,
    Scheduler,
    SchedulerConfig,
)

FM, UNIPC, EULER = FlowMatchSchedulerConfig, FlowMatchUniPCSchedulerConfig, FlowMatchEulerDiscreteSchedulerConfig


def make(kind: type[SchedulerConfig], steps: int) -> Scheduler:
    extra = {"denoising_timesteps": [1000 - 900 * i / steps // 1 for i in range(steps)]} if kind is FM else {}
    scheduler: Scheduler = kind(num_inference_steps=steps, **extra).setup()
    return scheduler


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


all_kinds = pytest.mark.parametrize("kind", [FM, UNIPC, EULER])


@all_kinds
@pytest.mark.parametrize("steps", [1, 2, 3, 8])
def test_a_flow_to_a_known_clean_latent_is_followed_to_it(kind: type[SchedulerConfig], steps: int) -> None:
    scheduler = make(kind, steps)
    clean, noise = torch.randn(2, 3, 4, generator=rng(1)), torch.randn(2, 3, 4, generator=rng(2))
    levels = {float(t): float(s) for t, s in zip(scheduler.timesteps, scheduler.sigmas, strict=False)}
    first = float(scheduler.sigmas[0])

    def predict_flow(noisy_latent: Tensor, timestep: Tensor) -> Tensor:
        return (noisy_latent - clean) / levels[float(timestep)]

    start = (1 - first) * clean + first * noise
    torch.testing.assert_close(scheduler.sample(start, predict_flow, rng()), clean, rtol=0, atol=1e-5)


@all_kinds
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_result_has_the_dtype_of_the_noise_and_so_has_what_the_network_sees(
    kind: type[SchedulerConfig], dtype: torch.dtype
) -> None:
    scheduler = make(kind, 3).to(dtype)
    seen = []

    def predict_flow(noisy_latent: Tensor, timestep: Tensor) -> Tensor:
        seen.append((noisy_latent.dtype, timestep.dtype, timestep.shape))
        return noisy_latent / 2

    result = scheduler.sample(torch.randn(5, generator=rng()).to(dtype), predict_flow, rng())
    assert result.dtype == dtype
    assert seen == [(dtype, torch.int64 if kind is UNIPC else torch.float32, ())] * 3


@all_kinds
def test_the_schedule_survives_a_cast_of_the_model(kind: type[SchedulerConfig]) -> None:
    scheduler, cast = make(kind, 4), make(kind, 4).to(torch.bfloat16).half()
    assert torch.equal(scheduler.timesteps, cast.timesteps)
    assert torch.equal(scheduler.sigmas, cast.sigmas)
    assert cast.sigmas.dtype == torch.float32
    assert not cast.state_dict()


@all_kinds
def test_bf16_latents_are_sampled_with_fp32_arithmetic(kind: type[SchedulerConfig]) -> None:
    scheduler = make(kind, 4)
    noise = torch.randn(4096, generator=rng()).bfloat16()
    exact = scheduler.sample(noise.double(), lambda x, t: (x.bfloat16() / 2).double(), rng())
    result = scheduler.sample(noise, lambda x, t: x / 2, rng())
    if kind is not FM:  # its fresh noise is drawn in the dtype of the latent
        torch.testing.assert_close(result.double(), exact, rtol=2**-8, atol=1e-5)
    assert result.isfinite().all()


@all_kinds
def test_sampling_leaves_the_noise_as_it_was(kind: type[SchedulerConfig]) -> None:
    noise = torch.randn(6, generator=rng())
    before = noise.clone()
    make(kind, 3).sample(noise, lambda x, t: x.mul(0.5), rng())
    assert torch.equal(noise, before)


@pytest.mark.parametrize(
    ("config", "level"),
    [
        (UNIPC(num_inference_steps=4, shift=5.0), 5 * 0.74925 / (1 + 4 * 0.74925)),
        (EULER(num_inference_steps=4, fixed_timesteps=(1000, 960, 889, 727, 0)), 0.96),
        (EULER(num_inference_steps=2, fixed_timesteps=(1000, 900, 800)), 0.9),
    ],
)
def test_the_others_add_noise_at_the_nearest_step(config: SchedulerConfig, level: float) -> None:
    clean, eps = torch.randn(3, 4, generator=rng(1)), torch.randn(3, 4, generator=rng(2))
    noisy = config.setup().add_noise(clean, 945, rng(2))
    torch.testing.assert_close(noisy, (1 - level) * clean + level * eps, rtol=0, atol=1e-5)


@all_kinds
def test_timesteps_per_batch_and_per_token_are_told_apart_when_both_have_one_length(
    kind: type[SchedulerConfig],
) -> None:
    scheduler, clean = make(kind, 4), torch.zeros(2, 2, 2000)
    levels = torch.tensor([0.0, 1000.0])
    per_batch = scheduler.add_noise(clean, levels, rng()).std(dim=-1)
    per_token = scheduler.add_noise(clean, levels.expand(2, 2), rng()).std(dim=-1)
    assert (per_batch > 0.9).tolist() == [[False, False], [True, True]]
    assert (per_token > 0.9).tolist() == [[False, True], [False, True]]


@all_kinds
def test_add_noise_names_bad_timesteps(kind: type[SchedulerConfig]) -> None:
    scheduler = make(kind, 4)
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        scheduler.add_noise(torch.zeros(2, 3), torch.zeros(3))
    with pytest.raises(ValueError, match=r"\[0, 1000\], got 1001"):
        scheduler.add_noise(torch.zeros(2, 3), 1001)


@all_kinds
def test_add_noise_keeps_the_dtype(kind: type[SchedulerConfig]) -> None:
    assert make(kind, 4).add_noise(torch.zeros(2, dtype=torch.bfloat16), 500.0).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (FM(num_inference_steps=3), "denoising_timesteps must have num_inference_steps = 3 entries, got 4"),
        (FM(denoising_timesteps=[1001, 1, 2, 3]), r"\[0, 1000\], got 1001"),
        (FM(denoising_timesteps=[999.5, 1, 2, 3]), "whole numbers .* got 999.5"),
        (FM(sigma_max=0.1, sigma_min=0.2), "sigma_min < sigma_max"),
        (UNIPC(solver_order=3), "solver_order must be 2, got 3"),
        (UNIPC(num_inference_steps=0), "num_inference_steps must be at least 1, got 0"),
        (UNIPC(shift=1e9), "noise levels that fall"),
        (UNIPC(num_train_timesteps=0), "num_train_timesteps must be at least 1, got 0"),
        (EULER(shift=0.0), "shift must be a positive number, got 0"),
        (EULER(fixed_timesteps=(1000, 500, 0)), r"num_inference_steps \+ 1 = 5 entries, got 3"),
        (EULER(num_inference_steps=1, fixed_timesteps=(1000, -1)), r"\[0, 1000\], got -1"),
    ],
)
def test_bad_settings_are_named(config: SchedulerConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config.setup()


@all_kinds
def test_a_progress_bar_is_shown_on_request(kind: type[SchedulerConfig], capsys: pytest.CaptureFixture[str]) -> None:
    scheduler = make(kind, 2)
    scheduler.config.enable_tqdm = True
    scheduler.sample(torch.zeros(1), lambda x, t: x, rng())
    assert "denoise" in capsys.readouterr().err
