"""UniPC: the tables of its steps, Karras' levels, and how near it comes."""

from __future__ import annotations

import math

import pytest
import torch

from flashdreams.infra.diffusion.scheduler import (
    FlowMatchEulerDiscreteSchedulerConfig,
    FlowMatchUniPCSchedulerConfig,
    Scheduler,
    SchedulerConfig,
)

UNIPC, EULER = FlowMatchUniPCSchedulerConfig, FlowMatchEulerDiscreteSchedulerConfig


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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
