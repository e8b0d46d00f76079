"""The Euler scheduler: its end, and fixed timesteps."""

from __future__ import annotations

import torch

from flashdreams.infra.diffusion.scheduler import (
    FlowMatchEulerDiscreteSchedulerConfig,
)

EULER = FlowMatchEulerDiscreteSchedulerConfig


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_euler_can_add_the_noise_of_its_end() -> None:
    scheduler = EULER(num_inference_steps=2).setup()
    assert scheduler.timesteps.shape == scheduler.sigmas.shape == (3,)
    clean = torch.randn(3, generator=rng(1))
    assert torch.equal(scheduler.add_noise(clean, 10, rng()), clean)


def test_euler_follows_fixed_timesteps() -> None:
    scheduler = EULER(num_inference_steps=2, fixed_timesteps=(1000, 888.8889, 100)).setup()
    torch.testing.assert_close(scheduler.timesteps, torch.tensor([1000, 888.8889, 100]))
    noise = torch.randn(4, generator=rng())
    x = noise + (0.8888889 - 1) * noise * 2
    torch.testing.assert_close(scheduler.sample(noise, lambda x, t: 2 * x), x + (0.1 - 0.8888889) * x * 2)
