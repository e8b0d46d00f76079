"""The fit of a stored place's light, beside a network whose best light is known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from flashdreams.integrations.pocket.land.camera import camera_pose
from flashdreams.integrations.pocket.land.state import GROUND
from flashdreams.integrations.pocket.tiles.stored import stored_places
from flashdreams.integrations.pocket.training.fit_place_light import fitted


class Horizon(nn.Module):
    """A picture of the horizon's colour, and nothing else."""

    def forward(self, features: Tensor, light: Tensor) -> Tensor:
        return light[:, 9:12, None, None].expand(-1, -1, 144, 256)


def test_the_light_that_is_seen_is_found() -> None:
    place = stored_places()["snow"]
    place = replace(place, light=replace(place.light, horizon=(0.3, 0.5, 0.7)))
    truth = torch.tensor([0.4, 0.45, 0.6]).view(1, 3, 1, 1).expand(2, 3, 144, 256)
    found = fitted(place, Horizon(), torch.stack([camera_pose(0.0, -8.0, yaw, 0.0) for yaw in (0.0, 3.0)]), truth, 40)  # type: ignore[arg-type]
    assert found.light.horizon == pytest.approx((0.4, 0.45, 0.6), abs=0.02)
    assert found.light.zenith == pytest.approx(place.light.zenith)
    assert found.light.sun_dir == place.light.sun_dir
    assert torch.equal(found.state[GROUND], place.state[GROUND])
