"""With the real model: a rewind comes to the very state, and a saved session has the very frames, bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.engine.history import Beginning, History, State
from backend.engine.rollout import SessionRollout
from backend.session.replay import digest_of, read_saved, save
from flashdreams.configs.worlds import get_world
from flashdreams.infra.runtime.state import state_bytes
from flashdreams.infra.world.base import World

BEGINNING = Beginning("meadow", 11)


@pytest.fixture(scope="module")
def world() -> World:
    return get_world("pocket").setup()


def begun(world: World, **options: object) -> SessionRollout:
    history = History(span=1000, max_bytes=1 << 30, max_chunks=1000)
    return SessionRollout(world, BEGINNING, history, every=4, image=Path, **options)  # type: ignore[arg-type]


def generated(dream: SessionRollout, chunks: int) -> list[bytes]:
    """Hashes of the next chunks' frames."""
    hashes = []
    for _ in range(chunks):
        chunk = dream.step()
        chunk.node.digest = digest_of(chunk.frames)
        hashes.append(chunk.node.digest)
    dream.finalize()
    return hashes


@pytest.mark.slow
def test_a_rewind_and_a_replay_are_exact_with_the_real_model(world: World) -> None:
    dream = begun(world)
    dream.input_state.keys(["w"])
    first = generated(dream, 5)
    dream.input_state.keys(["w", "d"])
    dream.input_state.change_scene("dusk")
    first += generated(dream, 5)
    history = dream.history
    assert isinstance(history.plan_rewind(7).state, State) and len(history.plan_rewind(7).redo) == 3
    assert history.state_size == state_bytes(history.plan_rewind(8).state.snapshot) > 1 << 20  # type: ignore[union-attr]
    saved = read_saved(
        save(world.config, world.fingerprint(), BEGINNING, history.lineage()).model_dump_json().encode(), world.config
    )

    for step in dream.rewind(7):
        assert step[1] == 3
    held, dream.input_state = dream.input_state, begun(world).input_state  # somebody else's hands
    other = generated(dream, 2)
    assert other != first[8:10]
    dream.input_state = held
    list(dream.rewind(9))
    assert history.head == 9 and [node.digest for node in history.lineage()] == first

    again = begun(world, script=((chunk.controls(), None) for chunk in saved.chunks))
    assert generated(again, 10) == first
    assert [chunk.hash for chunk in saved.chunks] == [digest.hex() for digest in first]
    assert saved.model == world.fingerprint()


@pytest.mark.slow
def test_dreaming_again_gives_the_frames_that_were_seen(world: World) -> None:
    dream = begun(world)
    dream.input_state.keys(["w"])
    seen = generated(dream, 6)
    way = dream.history.plan_rewind(3)
    rollout = world.start(BEGINNING.scene, BEGINNING.seed)
    hashes = []
    for node in dream.history.lineage():
        hashes.append(digest_of(world.step(rollout, node.controls)))
        world.finalize(rollout)
    assert hashes == seen and way.target.index == 3
