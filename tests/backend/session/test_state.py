"""The schedule of a session with a clock of the test's own: no tasks, threads or sockets."""

from __future__ import annotations

import pytest

from backend.engine.history import Beginning
from backend.session.pacing import LEAD_FRAMES, LEAD_SECONDS
from backend.session.state import (
    CREDITS,
    MAX_STEPS,
    URGENT_LEAD_SECONDS,
    Action,
    Generate,
    Restart,
    RewindTo,
    RunCommand,
    SessionState,
    Wait,
)
from backend.wire.client_messages import StepMessage

FPS, FRAMES, COST = 24, 4, 0.05


class Play:
    """A session whose page shows every chunk at once, on a clock that only the test moves."""

    def __init__(self, **options: object) -> None:
        self.state = SessionState(FPS, **options)  # type: ignore[arg-type]
        self.state.attach(None)
        self.now, self.moving, self.shows = 100.0, False, True
        self.begun: list[float] = []

    def next(self, *, scripted: bool = False) -> Action:
        return self.state.next_action(self.now, moving=self.moving, scripted=scripted)

    def generate(self, seq: int = 0, *, arrived: bool = True) -> Generate:
        """Wait as long as the schedule says, then generate one chunk."""
        action = self.next()
        if isinstance(action, Wait):
            assert action.until is not None
            self.now = action.until
            action = self.next()
        assert isinstance(action, Generate)
        began, urgent = self.now, self.state.answers(seq)
        self.begun.append(began)
        self.now += COST
        index = self.state.newest + 1
        self.state.note_generated(
            index, seq, began=began, finished=self.now, frames=FRAMES, urgent=urgent, arrived=arrived
        )
        if self.shows:
            self.state.note_shown(index)
        return action

    def rest(self) -> None:
        """Generate what is pending."""
        while self.state.pending:
            self.generate()


def test_an_opening_is_generated_and_then_nothing() -> None:
    play = Play()
    play.rest()
    assert play.state.newest == 1
    assert play.next() == Wait(None) and play.state.name(moving=False) == "idle"


def test_without_a_player_nothing_is_generated() -> None:
    play = Play()
    play.state.detach()
    play.moving = True
    assert play.next() == Wait(None)


def test_motion_is_paced_so_that_a_chunk_is_there_before_the_last_has_played_out() -> None:
    play = Play()
    play.moving = True
    for _ in range(30):
        play.generate()
    intervals = [later - earlier for earlier, later in zip(play.begun[-9:], play.begun[-8:], strict=False)]
    assert intervals == pytest.approx([FRAMES / FPS] * 8)
    action = play.next()
    assert isinstance(action, Wait) and action.until is not None
    ready = action.until + COST + LEAD_FRAMES / FPS + LEAD_SECONDS
    played_out = play.begun[0] + COST + 30 * FRAMES / FPS
    assert ready == pytest.approx(played_out)


def test_encoding_time_is_counted_in_the_pace() -> None:
    play = Play()
    play.rest()
    play.moving = True
    before = play.next()
    play.state.note_encoded(0.03)
    after = play.next()
    assert isinstance(before, Wait) and isinstance(after, Wait) and before.until and after.until
    assert before.until - after.until == pytest.approx(0.03)


def test_an_input_is_answered_at_once_and_only_once() -> None:
    play = Play()
    play.rest()
    play.moving = True
    play.state.note_input(5)
    action = play.next()
    assert action == Generate(True, play.now - URGENT_LEAD_SECONDS)
    play.generate(seq=4)
    assert play.state.urgent_seq == 5, "a chunk begun before the message is not its answer"
    play.generate(seq=5)
    assert play.state.urgent_seq is None and isinstance(play.next(), Wait)


@pytest.mark.parametrize("urgent", [True, False])
def test_at_most_two_chunks_are_on_their_way(urgent: bool) -> None:
    play = Play()
    play.shows, play.moving = False, True
    for _ in range(CREDITS):
        play.generate()
    play.now += 60
    if urgent:
        play.state.note_input(9)
    assert play.next() == Wait(None)
    play.state.note_shown(0)
    assert isinstance(play.next(), Generate)


def test_a_pause_stops_generation_but_no_command() -> None:
    play = Play()
    play.moving = play.state.paused = True
    assert play.next() == Wait(None) and play.state.name(moving=True) == "paused"
    command = RewindTo(0, 3)
    play.state.enqueue(command)
    assert play.next() == RunCommand(command) and play.next() == Wait(None)


def test_commands_run_in_order_and_before_chunks() -> None:
    play = Play()
    first, second = Restart(Beginning("meadow", 1)), RewindTo(0, 2)
    play.state.enqueue(first)
    play.state.enqueue(second)
    assert play.state.has_command
    assert [play.next(), play.next()] == [RunCommand(first), RunCommand(second)]
    assert not play.state.has_command and isinstance(play.next(), Generate)


def test_a_chunk_that_went_to_a_lost_connection_is_made_up_for() -> None:
    play = Play()
    play.rest()
    play.moving = True
    play.generate(arrived=False)
    play.moving = False
    assert play.state.pending == 1
    play.state.attach(play.state.newest)
    assert play.state.shown == play.state.newest - 1, "the repeated chunk is still on its way"
    play.generate()
    assert play.next() == Wait(None)


def test_steps_wait_for_the_chunks_before_them_and_their_number_is_bounded() -> None:
    play = Play(stepwise=True)
    steps = [StepMessage(type="step", seq=seq) for seq in range(1, MAX_STEPS + 1)]
    assert all(play.state.enqueue_step(step) for step in steps)
    assert not play.state.enqueue_step(steps[0])
    play.moving = True
    play.generate()
    assert play.next() == RunCommand(steps[0])
    play.state.note_input(1, pending=1)
    play.generate(seq=1)
    assert play.next() == RunCommand(steps[1])
    play.state.clear_steps()
    assert play.next() == Wait(None), "a stepwise session does not move by itself"


def test_a_flowing_world_and_a_replay_go_on_without_input() -> None:
    flowing = Play(flows=True)
    flowing.rest()
    assert flowing.state.name(moving=False) == "live" and flowing.generate()
    resting = Play()
    resting.rest()
    resting.now += 1
    assert isinstance(resting.next(scripted=True), Generate) and resting.next() == Wait(None)


def test_a_chunk_in_which_nothing_moves_gives_way_to_a_newer_message_that_is_urgent() -> None:
    flowing = Play(flows=True)
    flowing.rest()
    flowing.state.note_input(4, urgent=False)
    assert not flowing.state.interrupts(3), "nobody waits for it"
    flowing.state.note_input(5)
    assert flowing.state.interrupts(4) and not flowing.state.interrupts(5), "the chunk with the message is the answer"
    newest, begun = flowing.state.newest, len(flowing.begun)
    flowing.generate(seq=5)
    assert flowing.state.newest == newest + 1 and len(flowing.begun) == begun + 1, "it is the chunk that was begun"
    assert not flowing.state.interrupts(4), "it is answered"
    stepwise = Play(stepwise=True)
    stepwise.state.note_input(5)
    assert not stepwise.state.interrupts(4), "a client that steps decides itself what a chunk answers"


def test_a_limit_of_frames_holds_for_urgent_chunks_too() -> None:
    play = Play(max_fps=12.0)
    play.moving = True
    for seq in range(1, 6):
        play.state.note_input(seq)
        play.generate(seq)
    seconds = play.begun[-1] - play.begun[0]
    assert seconds >= (len(play.begun) - 2) * FRAMES / 12 - 1e-9, "one chunk may go ahead"
