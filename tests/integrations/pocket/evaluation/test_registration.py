"""Registration of two pictures, of which the second shows other things."""

from __future__ import annotations

import torch

from flashdreams.integrations.pocket.evaluation.motion import PARTS
from flashdreams.integrations.pocket.evaluation.registration import registered_motion


def test_a_picture_whose_things_are_all_out_of_view_after_a_motion_tells_of_none() -> None:
    image, nearer_than_the_lens = torch.rand(3, 72, 128), torch.full((72, 128), 1e-3)
    assert registered_motion(image, image, nearer_than_the_lens, 80.0) == dict.fromkeys(PARTS, 0.0)
