"""Every sampler finds a known clean latent, keeps its schedule exact in any dtype, and names bad settings."""

from __future__ import annotations

import math

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


def test_flow_match_noises_again_with_fresh_noise_of_the_generator() -> None:
    scheduler = FM(num_inference_steps=2, denoising_timesteps=[1000, 500], shift=5.0).setup()
    noise, s = torch.randn(7, generator=rng(1)), 2.5 / 3
    eps = torch.randn(7, generator=rng(9))
    x = (1 - s) * (noise - noise / 3) + s * eps
    expected = x - s * (x / 3)
    torch.testing.assert_close(scheduler.sample(noise, lambda x, t: x / 3, rng(9)), expected, rtol=0, atol=1e-6)


def test_flow_match_without_warp_takes_the_timesteps_as_they_stand() -> None:
    scheduler = FM(num_inference_steps=2, denoising_timesteps=[937.4, 0], shift=5.0, warp_denoising_step=False).setup()
    torch.testing.assert_close(scheduler.timesteps, torch.tensor([937.4, 0.0]))
    # The nearest table entry to 937.4 is 937.5, a quarter down the unwarped table; to 0 it is the last one.
    torch.testing.assert_close(scheduler.sigmas, torch.tensor([0.9375, 5 * 0.001 / (1 + 4 * 0.001)]))


def test_flow_match_reads_timestep_zero_past_the_end_of_the_table() -> None:
    scheduler = FM(num_inference_steps=2, denoising_timesteps=[1000, 0], shift=5.0).setup()
    assert scheduler.timesteps.tolist() == [1000.0, 0.0]
    assert scheduler.sigmas[1] == scheduler._full_sigmas[-1]


def test_flow_match_table_without_the_extra_step_ends_at_sigma_min() -> None:
    scheduler = FM(extra_one_step=False, sigma_min=0.002, shift=1.0).setup()
    assert scheduler._full_sigmas.shape == (1000,)
    assert scheduler._full_sigmas[0] == 1
    assert float(scheduler._full_sigmas[-1]) == pytest.approx(0.002)


def test_flow_match_adds_noise_at_the_nearest_table_entry() -> None:
    scheduler, clean = FM(shift=5.0).setup(), torch.randn(3, 4, generator=rng(1))
    eps = torch.randn(3, 4, generator=rng(2))
    noisy = scheduler.add_noise(clean, 937.4, rng(2))
    torch.testing.assert_close(noisy, 0.0625 * clean + 0.9375 * eps)


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


def test_euler_can_add_the_noise_of_its_end() -> None:
    scheduler = EULER(num_inference_steps=2).setup()
    assert scheduler.timesteps.shape == scheduler.sigmas.shape == (3,)
    clean = torch.randn(3, generator=rng(1))
    assert torch.equal(scheduler.add_noise(clean, 10, rng()), clean)


def test_the_tables_of_unipc_are_the_weights_of_its_steps() -> None:
    scheduler, x = UNIPC(num_inference_steps=3).setup(), torch.ones(())
    flows = iter((0.3, -0.2, 0.5))
    result = scheduler.sample(x, lambda x, t: x * next(flows), rng())
    s, predicted, m1, m2 = scheduler.sigmas, x, torch.zeros(()), torch.zeros(())
    for i, flow in enumerate((0.3, -0.2, 0.5)):
        m = predicted - s[i] * predicted * flow
        x = scheduler.a_corr[i] * x + scheduler.b_corr_m0[i] * m1
        x = x + scheduler.b_corr_dprev[i] * (m2 - m1) + scheduler.b_corr_dt[i] * (m - m1)
        predicted = scheduler.a_pred[i] * x + scheduler.b_pred_m0[i] * m + scheduler.b_pred_dprev[i] * (m1 - m)
        m1, m2 = m, m1
    torch.testing.assert_close(result, predicted, rtol=0, atol=1e-5)


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


def test_euler_follows_fixed_timesteps() -> None:
    scheduler = EULER(num_inference_steps=2, fixed_timesteps=(1000, 888.8889, 100)).setup()
    torch.testing.assert_close(scheduler.timesteps, torch.tensor([1000, 888.8889, 100]))
    noise = torch.randn(4, generator=rng())
    x = noise + (0.8888889 - 1) * noise * 2
    torch.testing.assert_close(scheduler.sample(noise, lambda x, t: 2 * x), x + (0.1 - 0.8888889) * x * 2)


def test_kerras_levels_run_from_200_to_a_hundredth() -> None:
    scheduler = UNIPC(num_inference_steps=5, use_kerras_sigma=True).setup()
    edm = scheduler.sigmas[:-1].double() / (1 - scheduler.sigmas[:-1].double())
    expected = torch.tensor([200 ** (1 / 7) + i / 4 * (0.01 ** (1 / 7) - 200 ** (1 / 7)) for i in range(5)]) ** 7
    torch.testing.assert_close(edm.float(), expected, rtol=1e-3, atol=0)
    assert scheduler.sigmas[-1] == 0


@pytest.mark.parametrize("steps", [10, 20, 40])
def test_unipc_is_far_closer_to_a_smooth_flow_than_euler(steps: int) -> None:
    def error(kind: type[SchedulerConfig]) -> float:
        scheduler: Scheduler = kind(num_inference_steps=steps, shift=1.0).setup()
        levels = iter(scheduler.sigmas.tolist())
        result = scheduler.sample(torch.ones(1, dtype=torch.float64), lambda x, t: x + next(levels))
        # dx/ds = x + s, x(s0) = 1 has the solution x(s) = (2 + s0) e^(s - s0) - s - 1.
        s0 = float(scheduler.sigmas[0])
        return abs(float(result) - ((2 + s0) * math.exp(-s0) - 1))

    assert error(UNIPC) < error(EULER) / 8


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
