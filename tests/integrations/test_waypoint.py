"""Waypoint's published file at full size, its control vector, and its sampler."""

from __future__ import annotations

import pytest
import torch

from flashdreams.infra.config import derive_config
from flashdreams.integrations.waypoint import WAYPOINT_360P, WAYPOINT_720P, WaypointNetworkConfig
from flashdreams.integrations.waypoint.checkpoint import distinct_parameters, share_conditioning
from flashdreams.integrations.waypoint.config import SIGMAS
from flashdreams.integrations.waypoint.controls import control_vector


def test_the_network_has_the_published_tensors_and_elements() -> None:
    with torch.device("meta"):
        network = WaypointNetworkConfig().setup()
    state = network.state_dict()
    assert len(state) == 393
    assert sum(tensor.numel() for tensor in state.values()) == 1_860_823_096
    assert state["ctrl_emb.mlp.fc1.weight"].shape == (8192, 259)
    assert state["transformer.blocks.21.ctrl_mlpfusion.fc1_c.weight"].shape == (2048, 2048)
    assert "transformer.blocks.22.ctrl_mlpfusion.fc1_c.weight" not in state
    before = distinct_parameters(network)
    share_conditioning(network)
    assert len(network.state_dict()) == 393
    assert before - distinct_parameters(network) == 23 * 6 * 2048 * 2048


def test_buttons_mouse_and_wheel_become_the_control_vector() -> None:
    vector = control_vector({87, 1}, (3.0, -2.0), 5.0)
    assert vector.shape == (259,)
    assert vector[:2].tolist() == [3.0, -2.0] and vector[-1] == 1.0
    assert vector[2:258].nonzero().flatten().tolist() == [1, 87]


@pytest.mark.parametrize("model", [WAYPOINT_720P, WAYPOINT_360P], ids=["720p", "360p"])
def test_the_sampler_takes_the_published_noise_levels(model: object) -> None:
    scheduler = derive_config(model).scheduler.setup()  # type: ignore[attr-defined]
    seen: list[float] = []

    def predict(x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        seen.append(float(timestep))
        return torch.ones_like(x)

    result = scheduler.sample(torch.zeros(3), predict)
    assert seen == pytest.approx(SIGMAS[:-1])
    assert torch.allclose(result, torch.full((3,), -1.0)), "Euler steps of a constant flow add up to the whole way"
