"""Waypoint's sampler rounds its schedule to the latents' type."""

from __future__ import annotations

import torch

from flashdreams.integrations.waypoint.scheduler import WaypointSchedulerConfig


def test_the_schedule_is_rounded_to_the_latents_type() -> None:
    sampler = WaypointSchedulerConfig(num_train_timesteps=1, fixed_timesteps=(1.0, 0.9, 0.75, 0.3, 0.0)).setup()
    for dtype, levels in (
        (torch.bfloat16, [1.0, 0.8984375, 0.75, 0.30078125, 0.0]),
        (torch.float32, torch.tensor([1.0, 0.9, 0.75, 0.3, 0.0]).tolist()),
    ):
        seen: list[float] = []

        def predict(x: torch.Tensor, sigma: torch.Tensor, seen: list[float] = seen) -> torch.Tensor:
            assert sigma.dtype == torch.float32
            seen.append(float(sigma))
            return torch.full_like(x, float(len(seen)))

        got = sampler.sample(torch.zeros(2, dtype=dtype), predict)
        assert seen == levels[:-1]
        expected = torch.zeros(2, dtype=dtype)
        for i in range(4):
            expected = (expected.float() + (levels[i + 1] - levels[i]) * (i + 1)).to(dtype)
        assert got.dtype == dtype and torch.allclose(got, expected, rtol=0, atol=1e-6)
