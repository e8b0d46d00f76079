"""The samplers against diffusers' on the same noise and flow, and against the published schedules."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from flashdreams.infra.diffusion.scheduler import (
    FlowMatchEulerDiscreteSchedulerConfig,
    FlowMatchSchedulerConfig,
    FlowMatchUniPCSchedulerConfig,
)

diffusers = pytest.importorskip("diffusers")

SHAPE = (2, 5, 7)
# fp32 rounding over up to 50 steps of a flow that stretches distances: both solvers are this far from their fp64 runs.
TOLERANCE = 1e-5


def curved_flow(noisy_latent: Tensor, timestep: Tensor) -> Tensor:
    """A flow that depends on latent and timestep in no simple way."""
    t = timestep.double().to(noisy_latent.dtype) / 1000
    return torch.sin(3 * noisy_latent + t) + t * noisy_latent.roll(1, -1)


def noise() -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))


def run_diffusers(scheduler: object, x: Tensor) -> Tensor:
    for t in scheduler.timesteps:  # type: ignore[attr-defined]
        x = scheduler.step(curved_flow(x, t), t, x, return_dict=False)[0]  # type: ignore[attr-defined]
    return x


def diffusers_unipc(steps: int, shift: float) -> object:
    scheduler = diffusers.UniPCMultistepScheduler(
        num_train_timesteps=1000,
        solver_order=2,
        prediction_type="flow_prediction",
        predict_x0=True,
        solver_type="bh2",
        lower_order_final=True,
        final_sigmas_type="zero",
        use_flow_sigmas=True,
        flow_shift=shift,
    )
    scheduler.set_timesteps(sigmas=np.linspace(0.999, 0.0, steps + 1)[:-1])
    return scheduler


@pytest.mark.parametrize("shift", [1.0, 3.0, 5.0, 8.0])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 20, 50])
def test_unipc_equals_diffusers(steps: int, shift: float) -> None:
    reference = diffusers_unipc(steps, shift)
    ours = FlowMatchUniPCSchedulerConfig(num_inference_steps=steps, shift=shift).setup()

    assert torch.equal(ours.timesteps, reference.timesteps)  # type: ignore[attr-defined]
    torch.testing.assert_close(ours.sigmas, reference.sigmas, rtol=0, atol=1e-7)  # type: ignore[attr-defined]
    expected = run_diffusers(reference, noise())
    torch.testing.assert_close(ours.sample(noise(), curved_flow), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("shift", [1.0, 5.0])
@pytest.mark.parametrize("steps", [1, 2, 4, 20])
def test_euler_equals_diffusers(steps: int, shift: float) -> None:
    reference = diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=shift)
    reference.set_timesteps(sigmas=np.linspace(0.999, 0.0, steps + 1)[:-1])
    ours = FlowMatchEulerDiscreteSchedulerConfig(num_inference_steps=steps, shift=shift).setup()

    torch.testing.assert_close(ours.timesteps[:-1], reference.timesteps, rtol=1e-6, atol=0)
    expected = run_diffusers(reference, noise())
    torch.testing.assert_close(ours.sample(noise(), curved_flow), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("steps", "shift", "timesteps"),
    [
        (4, 5.0, [999, 937, 833, 624]),
        (4, 8.0, [999, 959, 888, 727]),
        (
            20,
            5.0,
            [999, 989, 978, 965, 952, 937, 920, 902, 882, 859, 833, 803, 768, 728, 681, 624, 555, 468, 356, 208],
        ),
    ],
)
def test_unipc_has_the_timesteps_of_wan(steps: int, shift: float, timesteps: list[int]) -> None:
    scheduler = FlowMatchUniPCSchedulerConfig(num_inference_steps=steps, shift=shift).setup()
    assert scheduler.timesteps.tolist() == timesteps
    assert scheduler.timesteps.dtype == torch.int64


@pytest.mark.parametrize(
    ("shift", "timesteps"),
    [(5.0, [1000, 937.5, 833.33331, 625]), (8.0, [1000, 960, 888.88892, 727.27277])],
)
def test_flow_match_has_the_timesteps_of_self_forcing(shift: float, timesteps: list[float]) -> None:
    scheduler = FlowMatchSchedulerConfig(shift=shift).setup()
    assert torch.equal(scheduler.timesteps, torch.tensor(timesteps))
    torch.testing.assert_close(scheduler.sigmas, torch.tensor(timesteps) / 1000, rtol=0, atol=1e-7)


def test_flow_match_has_the_timesteps_of_lingbot_world() -> None:
    scheduler = FlowMatchSchedulerConfig(
        denoising_timesteps=[1000, 821, 642, 321], shift=10.0, sigma_max=0.999, timestep_dtype=torch.int64
    ).setup()
    assert scheduler.timesteps.tolist() == [999, 978, 947, 825]
