"""One of two processes that share a tiny Wan world: exits 0 when a packed rollout goes on as the one it was made of."""

from __future__ import annotations

import os
import pickle
import sys

import numpy as np
import numpy.typing as npt

from flashdreams.core import distributed
from flashdreams.infra.runtime.portable import PortableState
from flashdreams.infra.world.base import World
from flashdreams.infra.world.distributed_world import SharedState, follow, lead
from tests.integrations.clips import generate
from tests.recipes.tiny_world import tiny_config


def check(leader: World, alone: list[npt.NDArray[np.uint8]]) -> None:
    """Compare the leader's rollouts with each other, and with what one process shows. Raises AssertionError."""
    rollout = leader.start(leader.config.scenes[0].name, 3)
    shown = generate(leader, rollout, 3)
    packed = pickle.loads(pickle.dumps(leader.pack(leader.snapshot(rollout))))
    assert isinstance(packed, SharedState) and len(packed.parts) == 2
    ahead = generate(leader, rollout, 2)
    again = generate(leader, leader.restore(leader.unpack(packed)), 2)
    assert all(np.array_equal(one, two) for one, two in zip(ahead, again, strict=True))
    for one, two in zip([*shown, *ahead], alone, strict=True):
        assert two.std() > 10
        assert np.abs(one.astype(int) - two).max() <= 1, "fp32: the last step of 8 bits"
    assert np.abs(alone[-1].astype(int) - alone[-2]).mean() > 1, "chunks differ"
    for wrong in (SharedState(packed.parts[:1]), PortableState(None, {})):
        try:
            leader.unpack(wrong)
        except (ValueError, TypeError):
            continue
        raise AssertionError("a state of another number of processes was taken")
    assert len(generate(leader, rollout, 1)) == 1, "the processes are still in step"


def main() -> None:
    config, shown = tiny_config(), []
    if os.environ["RANK"] == "0":  # before the processes join: afterwards all must make the same calls
        alone: World = config.setup()
        shown = generate(alone, alone.start(config.scenes[0].name, 3), 5)
    assert distributed.init("cpu") and distributed.world_size() == 2
    if distributed.is_rank_zero():
        check(lead(config).setup(), shown)
    else:
        follow(config)
    distributed.shutdown()


if __name__ == "__main__":
    sys.exit(main())
