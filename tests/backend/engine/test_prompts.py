"""The prompt of a rollout: text and events, what the world is given, and that ending an event restores the text."""

from __future__ import annotations

import numpy as np
import pytest

from backend.engine.history import Beginning, History
from backend.engine.prompts import Prompt, PromptState
from backend.engine.rollout import GeneratedChunk, SessionRollout
from tests.backend.fakes import FakeWorld, acting_config


def given(state: PromptState, chunks: int) -> list[str | None]:
    return [state.sample()[0] for _ in range(chunks)]


def test_an_event_replaces_the_text_until_it_ends() -> None:
    state = PromptState(Prompt("a meadow"))
    assert given(state, 1) == [None]
    state.set_event("rain", "it rains")
    assert given(state, 2) == ["it rains", None] and state.prompt.event == "rain"
    state.set_event("dragon", "a dragon")
    assert given(state, 2) == ["a dragon", None]
    state.clear_event()
    assert given(state, 2) == ["a meadow", None] and state.prompt == Prompt("a meadow")


def test_an_event_that_ends_before_a_chunk_saw_it_acts_in_one() -> None:
    state = PromptState(Prompt("a meadow"))
    state.set_event("rain", "it rains")
    state.clear_event()
    assert given(state, 3) == ["it rains", "a meadow", None]
    state.clear_event()
    assert given(state, 1) == [None], "there was none to end"


def test_a_typed_text_ends_the_event_and_a_scene_s_prompt_does_not() -> None:
    state = PromptState(Prompt("a meadow"))
    state.set_event("rain", "it rains")
    state.enter_scene("a night")
    assert given(state, 1) == ["it rains"]
    state.clear_event()
    assert given(state, 1) == ["a night"]
    state.set_event("rain", "it rains")
    state.set_text("a town")
    assert given(state, 2) == ["a town", None] and state.prompt.event is None
    state.enter_scene("")
    assert given(state, 1) == [None] and state.prompt.text == "a town"


def test_what_was_recorded_leads_to_the_same_prompt() -> None:
    state, followed = PromptState(Prompt("a meadow")), PromptState(Prompt("a meadow"))
    changes = [
        lambda: None,
        lambda: state.set_event("rain", "it rains"),
        lambda: None,
        lambda: state.set_event("dragon", "a dragon"),
        state.clear_event,
        lambda: state.set_text("a town"),
    ]
    for change in changes:
        change()
        text, prompt = state.sample()
        followed.follow(text, prompt.event)
        assert followed.prompt == prompt and not followed.pending


def rollout(seed: int = 1) -> SessionRollout:
    history = History(span=100, max_bytes=1 << 20, max_chunks=1000)
    return SessionRollout(
        FakeWorld(acting_config()), Beginning("meadow", seed), history, every=2, image=lambda name: None
    )  # type: ignore[arg-type,return-value]


def shown(chunk: GeneratedChunk) -> np.ndarray:
    """Frames without the pixel that depends on the whole past."""
    frames = chunk.frames.copy()
    frames[:, 0, 0] = 0
    return frames


def test_ending_an_event_gives_the_frames_without_it() -> None:
    eventful, plain = rollout(), rollout()
    for number in range(8):
        if number == 2:
            eventful.input_state.set_event("rain", "heavy rain falls")
        if number == 5:
            eventful.input_state.clear_event()
        chunk, without = eventful.step(), plain.step()
        acts = 2 <= number < 5
        assert chunk.node.prompt.event == ("rain" if acts else None)
        assert np.array_equal(shown(chunk), shown(without)) is not acts, number


@pytest.mark.parametrize("back", [2, 4])
def test_a_rewind_comes_back_to_the_prompt_of_its_chunk(back: int) -> None:
    session = rollout()
    for number in range(7):
        if number == 3:
            session.input_state.set_event("rain", "heavy rain falls")
        session.step()
    list(session.rewind(back))
    assert session.input_state.prompt.event == (None if back < 3 else "rain")
    session.input_state.clear_event()
    assert session.step().node.controls.text == (None if back < 3 else "a meadow")
