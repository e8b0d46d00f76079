"""Views of stored places to learn from: the picture and the state are of the same place, seen from the same spot."""

import pytest
import torch

from flashdreams.integrations.pocket.assets import TILE_WEIGHTS, asset_folder
from flashdreams.integrations.pocket.evaluation.stage import Truth
from flashdreams.integrations.pocket.land.camera import camera_pose
from flashdreams.integrations.pocket.tiles.sight import look
from flashdreams.integrations.pocket.tiles.stored import stored_places
from flashdreams.integrations.pocket.tiles.weights import load_view_network
from flashdreams.integrations.pocket.training.place_views import Places, PlaceViews
from flashdreams.integrations.pocket.training.train_views import psnr


def test_a_place_s_picture_is_of_what_its_state_shows() -> None:
    places = Places()
    views, place = places[5]  # the first one again: one of six is of the kind of land that is held out
    assert place is places[0][1]
    x, z, _ = stored_places()["meadow"].entrance
    pose = camera_pose(x, z, 0.4, 0.0)
    true = views.view(pose)
    seen, network = look(place, pose), load_view_network(asset_folder() / TILE_WEIGHTS)
    with torch.no_grad():
        drawn = network(seen.features[None], place.light.vector()[None], *seen.pixels())
    assert psnr(drawn, true[None]) > 17 > psnr(drawn, true.flip(-1)[None])
    judged = Truth().images("meadow", pose.double().numpy()[None])
    torch.testing.assert_close(true[None], judged, rtol=0, atol=1e-5)


def test_a_place_that_is_none_is_refused() -> None:
    with pytest.raises(KeyError, match="moon"):
        PlaceViews("moon")
