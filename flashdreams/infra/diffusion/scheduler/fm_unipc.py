"""Multistep UniPC for flow matching (Zhao et al. 2023), second order, with the noise levels of Wan 2.1.

Everything UniPC does is linear in the latent and the predicted clean latents, so each step's weights are computed once,
at construction, and a step is a weighted sum. Notation: `s` noise level, `a = 1 - s`, `l = log(a / s)`, `x` latent,
`m` predicted clean latent, `m1` and `m2` those of the one and two steps before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import expm1, inf, log

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flashdreams.infra.diffusion.scheduler.base import (
    FlowPredictor,
    NoiseSource,
    Scheduler,
    SchedulerConfig,
    arithmetic_dtype,
    check_steps,
)

_KERRAS_MAX, _KERRAS_MIN, _KERRAS_RHO = 200.0, 0.01, 7.0


@dataclass(kw_only=True)
class FlowMatchUniPCSchedulerConfig(SchedulerConfig):
    """Config of `FlowMatchUniPCScheduler`."""

    _target: type = field(default_factory=lambda: FlowMatchUniPCScheduler)

    num_inference_steps: int = 50
    """Network evaluations per chunk."""
    shift: float = 5.0
    """Warp of the noise levels towards noise: `s <- shift s / (1 + (shift - 1) s)`."""
    num_train_timesteps: int = 1000
    """Timestep of pure noise (sigma 1)."""
    solver_order: int = 2
    """Order of the solver; only 2 is accepted."""
    use_kerras_sigma: bool = False
    """Take EDM noise levels (200 to 0.01, rho 7) as `s / (1 + s)` instead of evenly spaced warped ones."""
    enable_tqdm: bool = False
    """Show a progress bar over the denoising steps."""


class FlowMatchUniPCScheduler(Scheduler):
    """Each step predicts `m = x - s v`, corrects `x` with it (from the second step on) and moves to the next level.

    The tables of weights are fp32 `[num_inference_steps]`, with `D = m1 - m` before the step, `E = m - m1` at the new
    level and `D' = m2 - m1`: the predictor is `a_pred x + b_pred_m0 m + b_pred_dprev D`, the corrector
    `a_corr x + b_corr_m0 m1 + b_corr_dprev D' + b_corr_dt E`.
    """

    timesteps: Tensor
    """int64 `[num_inference_steps]`: the timestep that the network gets at each step."""
    sigmas: Tensor
    """fp32 `[num_inference_steps + 1]`: the noise level at each step, and 0 after the last one."""
    a_pred: Tensor
    b_pred_m0: Tensor
    b_pred_dprev: Tensor
    a_corr: Tensor
    b_corr_m0: Tensor
    b_corr_dprev: Tensor
    b_corr_dt: Tensor

    def __init__(self, config: FlowMatchUniPCSchedulerConfig) -> None:
        super().__init__(config)
        check_steps(config.num_inference_steps, config.shift, config.num_train_timesteps)
        if config.solver_order != 2:
            raise ValueError(f"solver_order must be 2, got {config.solver_order}")
        if config.use_kerras_sigma:
            levels = kerras_sigmas(config.num_inference_steps)
        else:
            levels = wan_sigmas(config.num_inference_steps, config.shift, config.num_train_timesteps)
        timesteps = (levels * config.num_train_timesteps).astype(np.int64)
        self._keep("timesteps", torch.tensor(timesteps, device="cpu"))
        self._keep("sigmas", torch.tensor([*levels, 0.0], dtype=torch.float32, device="cpu"))
        # The weights come from the fp32 levels: log(1 - s) near s = 1 feels their rounding, and the reference rounds.
        s: list[float] = self.sigmas.tolist()
        _check_levels(s)
        last = config.num_inference_steps - 1
        self._levels = s
        self._predictor = [_predictor_weights(s, i, second_order=0 < i < last) for i in range(last + 1)]
        self._corrector = [(1.0,), *(_corrector_weights(s, i) for i in range(1, last + 1))]
        self._keep_weights()

    @property
    def _sigmas_full(self) -> Tensor:
        """`sigmas`, which include the final 0."""
        return self.sigmas

    def sample(self, initial_noise: Tensor, predict_flow: FlowPredictor, rng: NoiseSource | None = None) -> Tensor:
        """See `Scheduler.sample`; this sampler draws no noise."""
        dtype, exact = initial_noise.dtype, arithmetic_dtype(initial_noise)
        x = corrected = initial_noise.to(exact)
        newest_first: list[Tensor] = []
        for i in self._steps(len(self._predictor)):
            flow = predict_flow(x.to(dtype), self._timestep(i))
            newest_first = [x.sub(flow, alpha=self._levels[i]), *newest_first[:2]]
            corrected = _weighted_sum(self._corrector[i], corrected, newest_first)
            x = _weighted_sum(self._predictor[i], corrected, newest_first)
        return x.to(dtype)

    def add_noise(self, clean_input: Tensor, timestep: Tensor | float, rng: NoiseSource | None = None) -> Tensor:
        """See `Scheduler.add_noise`; the schedule is `timesteps`, without the final 0."""
        return self._noised(clean_input, timestep, rng, self.timesteps, self.sigmas[:-1])

    def _keep_weights(self) -> None:
        predictor = [(*weights, 0.0)[:3] for weights in self._predictor]
        corrector = [(*weights, 0.0, 0.0, 0.0)[:4] for weights in self._corrector]
        tables = {
            "a_pred": [a for a, _, _ in predictor],
            "b_pred_m0": [m + m1 for _, m, m1 in predictor],
            "b_pred_dprev": [m1 for _, _, m1 in predictor],
            "a_corr": [a for a, _, _, _ in corrector],
            "b_corr_m0": [m + m1 + m2 for _, m, m1, m2 in corrector],
            "b_corr_dprev": [m2 for _, _, _, m2 in corrector],
            "b_corr_dt": [m for _, m, _, _ in corrector],
        }
        for name, values in tables.items():
            self._keep(name, torch.tensor(values, dtype=torch.float32, device="cpu"))


def wan_sigmas(num_inference_steps: int, shift: float, num_train_timesteps: int) -> npt.NDArray[np.float64]:
    """Return Wan's noise levels, fp64 `[num_inference_steps]`, warped by `shift`, without the final 0."""
    train = 1 - np.linspace(1, 1 / num_train_timesteps, num_train_timesteps)[::-1]
    s = np.linspace(train.max(), train.min(), num_inference_steps + 1)[:-1]
    return shift * s / (1 + (shift - 1) * s)


def kerras_sigmas(num_inference_steps: int) -> npt.NDArray[np.float64]:
    """Return fp64 `[num_inference_steps]`: the EDM noise levels (Karras et al.

    2022) as flow matching levels `s / (1 + s)`.
    """
    first, last = _KERRAS_MAX ** (1 / _KERRAS_RHO), _KERRAS_MIN ** (1 / _KERRAS_RHO)
    s = np.linspace(first, last, num_inference_steps) ** _KERRAS_RHO
    return s / (1 + s)


def _check_levels(s: list[float]) -> None:
    if not all(1 > here > after for here, after in pairwise(s)):
        raise ValueError(f"shift and num_train_timesteps must give noise levels that fall from below 1 to 0, got {s}")


def _log_snr(s: float) -> float:
    return log((1 - s) / s) if s > 0 else inf


def _predictor_weights(s: list[float], i: int, second_order: bool) -> tuple[float, ...]:
    """Return the weights of `x, m (, m1)` in the step from level `i` to `i + 1`:

    `(s_{i+1} / s_i) x - a_{i+1} e (m + D / 2)` with `h = l_{i+1} - l_i`, `e = expm1(-h)`, and `D` the slope of `m`,
    `(m1 - m) / r` with `r = (l_{i-1} - l_i) / h`; without `D` in first order.
    """
    h = _log_snr(s[i + 1]) - _log_snr(s[i])
    scale = -(1 - s[i + 1]) * expm1(-h)
    if not second_order:
        return s[i + 1] / s[i], scale
    slope = 0.5 / ((_log_snr(s[i - 1]) - _log_snr(s[i])) / h)
    return s[i + 1] / s[i], scale * (1 - slope), scale * slope


def _corrector_weights(s: list[float], i: int) -> tuple[float, ...]:
    """Return the weights of `x, m, m1 (, m2)` that redo the step from level `i - 1` to `i`, now knowing `m` there:

    `(s_i / s_{i-1}) x - a_i e (m1 + p (m2 - m1) / r + q (m - m1))`; `p` and `q` make it exact for an `m` that is
    quadratic in `l`; at the first level there is no `m2`, and `q = 1/2`.
    """
    h = _log_snr(s[i]) - _log_snr(s[i - 1])
    e = expm1(-h)
    scale = -(1 - s[i]) * e
    if i == 1:
        return s[i] / s[i - 1], scale * 0.5, scale * 0.5
    r = (_log_snr(s[i - 2]) - _log_snr(s[i - 1])) / h
    first_moment = (-e / h - 1) / e
    second_moment = 2 * ((e / h + 1) / h - 0.5) / e
    p = (second_moment - first_moment) / (r - 1)
    q = first_moment - p
    return s[i] / s[i - 1], scale * q, scale * (1 - p / r - q), scale * p / r


def _weighted_sum(weights: Sequence[float], x: Tensor, newest_first: list[Tensor]) -> Tensor:
    total = x * weights[0]
    for weight, m in zip(weights[1:], newest_first, strict=False):
        total.add_(m, alpha=weight)
    return total
