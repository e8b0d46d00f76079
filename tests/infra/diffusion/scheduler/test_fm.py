"""The flow-matching scheduler: its table, the warp, and noise."""

from __future__ import annotations

import pytest
import torch

from flashdreams.infra.diffusion.scheduler import (
    FlowMatchSchedulerConfig,
)

FM = FlowMatchSchedulerConfig


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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
