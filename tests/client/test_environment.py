"""The environment for agents: Gymnasium's reset and step over a running server."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from flashdreams.camera.poses import yaw_pitch_of
from flashdreams.client import Environment
from tests.backend.harness import running


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running() as server:
        yield f"http://127.0.0.1:{server.port}"


def test_an_episode_has_gymnasium_s_shapes(url: str) -> None:
    with Environment(url, max_steps=3) as environment:
        observation, info = environment.reset(seed=4)
        assert observation.shape == environment.observation_shape == (144, 256, 3) and observation.dtype == np.uint8
        assert (info["seed"], info["scene"]) == (4, "meadow")
        for number in range(3):
            observation, reward, terminated, truncated, info = environment.step(1)
            assert (reward, terminated, truncated) == (0.0, False, number == 2)
            assert info["frames"].shape == (4, 144, 256, 3)
            np.testing.assert_array_equal(environment.render(), observation)
        assert environment.reset()[1]["seed"] == 4


def test_actions_are_numbers_or_keys_and_a_reward_is_the_caller_s(url: str) -> None:
    def reward(_observation: np.ndarray, info: dict[str, np.ndarray]) -> float:
        return float(info["pose"][2, 3])

    with Environment(url, reward=reward) as environment:
        environment.reset(seed=4)
        assert environment.step(np.int64(1))[1] == pytest.approx(0.4)
        for one in (np.array(1), np.array([1]), np.array([[1]], np.uint8), torch.tensor(1), torch.tensor([1]), "w"):
            before = environment.world.pose
            environment.step(one)
            assert environment.world.pose[2, 3] - before[2, 3] == pytest.approx(0.4), one
        for none in (np.array([1, 2]), np.array(1.0), 1.5, np.array([]), [1, 2], torch.tensor([0.5])):
            with pytest.raises(ValueError, match="action must be"):
                environment.step(none)
        info = environment.step(("d",))[4]
        assert yaw_pitch_of(info["pose"])[0] == pytest.approx(10)
        assert environment.action_count == 11
        with pytest.raises(ValueError, match="a number from 0 to 10, got 11"):
            environment.step(11)
        with pytest.raises(ValueError, match="options may have scene and pose, got speed"):
            environment.reset(options={"speed": 3})
        assert environment.reset(seed=5, options={"scene": "night"})[1]["scene"] == "night"


def test_the_same_seed_and_actions_give_the_same_episode(url: str) -> None:
    with Environment(url) as environment:
        episodes = []
        for _ in range(2):
            first, _ = environment.reset(seed=7)
            episodes.append(np.stack([first, *(environment.step(action)[0] for action in (1, 4, 3, 0))]))
    assert np.abs(episodes[0].astype(float) - episodes[1]).mean() < 3.0


def test_bad_settings_are_told_before_connecting() -> None:
    with pytest.raises(ValueError, match="actions must not be empty"):
        Environment("http://127.0.0.1:9", actions=[])
