"""Trains the transition of movers on the simulator: a few minutes on one core.

python -m flashdreams.integrations.pocket.training.train_movers --output assets/pocket/movers.safetensors

In part of the steps movers are carried on by the network itself, and the simulator tells how it would have gone on from
there (DAgger, Ross et al. 2011): so the network learns what to do where only its own mistakes lead.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from flashdreams.integrations.pocket.land.region import REACH, Region, make_region
from flashdreams.integrations.pocket.movers.births import region_movers, stacked
from flashdreams.integrations.pocket.movers.senses import Ground, land_fields, perceive
from flashdreams.integrations.pocket.movers.state import Kind
from flashdreams.integrations.pocket.movers.transition import MoverNetwork, transition_loss
from flashdreams.integrations.pocket.tiles.config import TILE
from flashdreams.integrations.pocket.training.mover_simulator import Simulator
from flashdreams.integrations.pocket.training.regions import HELD_OUT_SEEDS

REGIONS, MOST = 20, 52
"""Regions at once, and movers on each."""
LIFE = 150
"""Steps after which a region gets its movers again."""
RENEWED = 40
"""Steps after which a region is replaced by a new one."""
OWN_SHARE = 0.5
"""Share of the lives in which movers are carried on by the network."""
RATE = 2e-3


def simulator_of(regions: list[Region], generator: torch.Generator, most: int = MOST) -> tuple[Simulator, Tensor]:
    """The movers of `regions` as they are born, and 1 where there is one, `[R, most]`."""
    groups = [region_movers(r.seed, r.state, r.mixture, r.style, TILE) for r in regions]
    groups = [g.chosen(torch.randperm(len(g), generator=generator).numpy()) for g in groups]
    values, kinds, flocks, there = stacked(groups, most)
    ground = Ground(torch.stack([land_fields(r.state) for r in regions]), torch.zeros(len(regions), 2))
    visitors = (torch.rand(len(regions), 2, generator=generator) * 2 - 1) * REACH * 0.6
    return Simulator(values, kinds, flocks, ground, visitors, generator), there


def meet_visitors(simulator: Simulator, generator: torch.Generator) -> None:
    """Put each visitor near to one of the movers, so that meetings are learnt."""
    rows = torch.arange(len(simulator.values))
    who = torch.randint(simulator.values.shape[1], (len(rows),), generator=generator)
    aside = torch.randn(len(rows), 2, generator=generator) * 3
    simulator.visitors = simulator.values[rows, who][:, :2] + aside


def train(network: MoverNetwork, steps: int, *, regions: int = REGIONS, first_seed: int = HELD_OUT_SEEDS.stop,
          report: int = 500, rate: float = RATE) -> list[float]:  # fmt: skip
    """Train for `steps`; return the mean loss of every `report` steps."""
    generator = torch.Generator().manual_seed(7)
    pool = [make_region(first_seed + index) for index in range(regions)]
    fresh = first_seed + regions
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=max(steps, 2))
    losses, total, began = [], 0.0, time.monotonic()
    simulator, there, own = *simulator_of(pool, generator), False
    for step in range(steps):
        if step % LIFE == 0:
            if step:
                for _ in range(LIFE // RENEWED):
                    pool[fresh % regions] = make_region(fresh)
                    fresh += 1
            simulator, there = simulator_of(pool, generator)
            own = bool(torch.rand(1, generator=generator) < OWN_SHARE)
        if step % 12 == 0:
            meet_visitors(simulator, generator)
        senses = perceive(simulator.values, simulator.kinds, simulator.flocks, simulator.ground, simulator.visitors)
        change, moves = simulator.drawn()
        chosen = there > 0
        loss = transition_loss(network, senses[chosen], change.clamp(-6, 6)[chosen], moves[chosen],
                               (simulator.kinds == Kind.BIRD).float()[chosen])  # fmt: skip
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if own:
            with torch.no_grad():
                mean, spread, log_odds = network(senses)
                normal = torch.randn(mean.shape, generator=generator)
                uniform = torch.rand(log_odds.shape, generator=generator)
                change, moves = mean + spread.exp() * normal, (uniform < torch.sigmoid(log_odds)).float()
        simulator.step(change, moves)
        total += loss.item()
        if (step + 1) % report == 0:
            losses.append(total / report)
            print(f"step {step + 1}: loss {losses[-1]:.4f}, {time.monotonic() - began:.0f} s", flush=True)
            total = 0.0
    return losses


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="weights file to write")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    network = MoverNetwork()
    train(network, args.steps)
    weights = {name: value.detach().contiguous() for name, value in network.state_dict().items()}
    save_file(weights, args.output, metadata={"steps": str(args.steps)})
    count = sum(value.numel() for value in weights.values())
    print(f"{args.output}: {count:,} parameters, {args.output.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
