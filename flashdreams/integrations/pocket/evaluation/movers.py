"""Errors of the movers' learnt transition: positions after a second and later, on land that it never saw.

    python -m flashdreams.integrations.pocket.evaluation.movers [--weights FILE]

Prints JSON. An error of 1 is that of "everything stands still".
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from flashdreams.integrations.pocket.assets import MOVER_WEIGHTS, asset_folder
from flashdreams.integrations.pocket.land.region import make_region
from flashdreams.integrations.pocket.movers.senses import blocked, perceive
from flashdreams.integrations.pocket.movers.state import HEIGHT, Kind, X, Z
from flashdreams.integrations.pocket.movers.transition import (
    SECONDS,
    STEPS,
    MoverNetwork,
    carried,
    load_mover_network,
    next_values,
)
from flashdreams.integrations.pocket.training.mover_simulator import Simulator
from flashdreams.integrations.pocket.training.regions import HELD_OUT_SEEDS
from flashdreams.integrations.pocket.training.train_movers import simulator_of

BURN_IN = 30
"""Chunks for which the simulator runs before it is compared with."""
LIFE = 180
"""Chunks for which the transition carries movers on by itself, to see where they get to."""


def learnt_steps(
    network: MoverNetwork, simulator: Simulator, values: Tensor, chunks: int, generator: torch.Generator, chance: bool
) -> Tensor:
    """`values [R, N, 16]` of the simulator's movers after `chunks` of the transition; its mean without `chance`."""
    shape = values.shape[:2]
    for _ in range(chunks):
        senses = perceive(values, simulator.kinds, simulator.flocks, simulator.ground, simulator.visitors)
        normal, uniform = torch.zeros(*shape, STEPS), torch.full(shape, 0.5)
        if chance:
            normal, uniform = torch.randn(*shape, STEPS, generator=generator), torch.rand(shape, generator=generator)
        values = next_values(network, senses, values, simulator.kinds, simulator.ground, normal, uniform)
    return values


@torch.no_grad()
def mover_errors(network: MoverNetwork, seeds: range, *, life: int = LIFE) -> dict[str, float]:
    """Mean errors of position after 1 and 4 seconds over those of standing still, and where movers get to in the end.

    `mover_error` is the mean over the kinds as played, `mover_error_of_mean` that of the transition without chance, and
    `mover_error_straight_on` that of going on with the same speed and turning.
    """
    generator = torch.Generator().manual_seed(5)
    simulator, there = simulator_of([make_region(seed) for seed in seeds], generator)
    for _ in range(BURN_IN):
        simulator.step(*simulator.drawn())
    groups = {kind.name.lower(): (there > 0) & (simulator.kinds == kind) for kind in Kind}
    groups = {name: chosen for name, chosen in groups.items() if chosen.any()}
    start = simulator.values
    result: dict[str, float] = {}
    for name, guess in _guesses(network, simulator, start, round(1 / SECONDS), generator).items():
        errors = _errors(guess, start, simulator, groups)
        result |= {f"mover_error{name}": sum(errors.values()) / len(errors)}
        result |= {f"mover_error{name}_{kind}": error for kind, error in errors.items()}
    start = simulator.values
    for name, guess in _guesses(network, simulator, start, round(4 / SECONDS), generator).items():
        errors = _errors(guess, start, simulator, groups)
        result[f"mover_error{name}_after_4_s"] = sum(errors.values()) / len(errors)
    late = learnt_steps(network, simulator, start, life, generator, True)
    closed = blocked(simulator.ground.at(late[..., [X, Z]]), simulator.kinds) > 0
    result["movers_on_closed_ground"] = float(closed[there > 0].float().mean())
    return result | {f"mover_metres_{kind}": float(_distance(late, start)[own].mean()) for kind, own in groups.items()}


def _guesses(
    network: MoverNetwork, simulator: Simulator, start: Tensor, chunks: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Carry the simulator on from `start`; return what the transition and what going straight on make of it."""
    straight = start
    for _ in range(chunks):
        simulator.step(*simulator.drawn())
        straight = carried(straight, simulator.kinds, simulator.ground)
    played, mean = (learnt_steps(network, simulator, start, chunks, generator, chance) for chance in (True, False))
    return {"": played, "_of_mean": mean, "_straight_on": straight}


def _errors(guess: Tensor, start: Tensor, simulator: Simulator, groups: dict[str, Tensor]) -> dict[str, float]:
    """Mean error of `guess` over that of standing still, by kind."""
    error, still = (_distance(simulator.values, each) for each in (guess, start))
    return {kind: float(error[own].mean() / still[own].mean()) for kind, own in groups.items()}


def _distance(a: Tensor, b: Tensor) -> Tensor:
    columns = [X, Z, HEIGHT]
    return (a[..., columns] - b[..., columns]).norm(dim=-1)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=asset_folder() / MOVER_WEIGHTS)
    parser.add_argument("--regions", type=int, default=24)
    args = parser.parse_args()
    torch.set_num_threads(1)
    network = load_mover_network(args.weights)
    print(json.dumps(mover_errors(network, HELD_OUT_SEEDS[: args.regions]), indent=1))


if __name__ == "__main__":
    main()
