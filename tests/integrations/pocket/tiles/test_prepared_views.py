"""Prepared views against the network of views that they were made of."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from flashdreams.integrations.pocket.land.camera import HEIGHT, WIDTH, camera_origin, camera_pose, camera_rays
from flashdreams.integrations.pocket.land.light import light_at
from flashdreams.integrations.pocket.tiles import prepared_views
from flashdreams.integrations.pocket.tiles.fine_sight import Sharp
from flashdreams.integrations.pocket.tiles.prepared_views import PreparedViews
from flashdreams.integrations.pocket.tiles.rays import Rays
from flashdreams.integrations.pocket.tiles.sight import FEATURES, RAY_COLUMNS, RAY_ROWS, Seen
from flashdreams.integrations.pocket.tiles.view_network import ViewNetwork, ViewNetworkConfig

LIGHT = light_at(10.0).vector()


@pytest.fixture(scope="module")
def network() -> ViewNetwork:
    """Random weights, in every layer."""
    torch.manual_seed(5)
    made = ViewNetworkConfig().setup().requires_grad_(False)
    for name, weight in made.named_parameters():
        spread = weight[0].numel() ** -0.5 if weight.dim() > 1 else 0.1
        weight.copy_(torch.randn_like(weight) * spread * (0.1 if name.startswith("head") else 1))
    return made


@pytest.fixture(scope="module")
def seen() -> Seen:
    """Random features, and pixels of which a tenth takes its light from somewhere else, with some sky."""
    torch.manual_seed(6)
    pose, size = camera_pose(0.0, 0.0, 0.0, 0.0), (RAY_ROWS, RAY_COLUMNS)
    rays = Rays.of(camera_origin(pose), camera_rays(pose, RAY_COLUMNS, RAY_ROWS))
    source = torch.arange(HEIGHT * WIDTH)
    source[::10] = torch.randint(0, HEIGHT * WIDTH, (len(source[::10]),))
    sky = torch.rand(4, HEIGHT, WIDTH)
    sky[3] = (sky[3] * 3 - 1).clamp(0, 1)
    sharp = Sharp(torch.rand(3, HEIGHT, WIDTH) * 2 - 1, source, sky)
    return Seen(torch.rand(FEATURES, *size) * 2 - 1, torch.zeros(size), rays, torch.zeros(size), sharp)


def drawn(network: ViewNetwork, seen: Seen) -> Tensor:
    with torch.no_grad():
        return network(seen.features[None], LIGHT[None], *seen.pixels())[0]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("sharp", [True, False])
def test_the_picture_is_that_of_the_network(
    network: ViewNetwork, seen: Seen, sharp: bool, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not packed:
        monkeypatch.setattr(prepared_views, "packs", lambda dtype: False)
    view = seen if sharp else seen._replace(sharp=None)
    found, wanted = PreparedViews(network).draw(view, LIGHT), drawn(network, view)
    assert wanted.std() > 0.1, "a picture"
    by_rays = seen._replace(sharp=None)
    assert torch.equal(PreparedViews(network).draw(by_rays, LIGHT, sharp_pixels=lambda: view.sharp), found)
    assert (found - wanted).abs().max() < 1e-4
    other = PreparedViews(network).draw(view, light_at(22.0).vector())
    assert (other - wanted).abs().mean() > 1e-3, "the light counts"


@pytest.mark.skipif(not prepared_views.packs(torch.bfloat16), reason="this processor has no bf16")
def test_in_bf16_it_is_as_near_to_the_whole_numbers_as_the_network_is(network: ViewNetwork, seen: Seen) -> None:
    half = ViewNetworkConfig().setup().requires_grad_(False)
    half.load_state_dict(network.state_dict())
    half.bfloat16()
    wanted = drawn(network, seen)
    error, own = (
        (each - wanted).square().mean() for each in (PreparedViews(half).draw(seen, LIGHT), drawn(half, seen))
    )
    assert error < 1.2 * own
