"""Renderer, walks and optics: where things are, and how a picture looks from the next camera."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from flashdreams.camera.poses import pose_from_yaw_pitch
from flashdreams.infra.world.scene_map import Disc, Outline
from flashdreams.integrations.pocket.model.codec import LATENT_SIZE, PatchCodec, in_bytes, product, psnr
from flashdreams.integrations.pocket.model.decoder import End, PocketDecoder, PocketDecoderConfig
from flashdreams.integrations.pocket.model.optics import HEIGHT, WIDTH, ground_inverse_depth, pixel_rays, seen_next
from flashdreams.integrations.pocket.model.scene_encoder import SceneEncoder, SceneEncoderConfig
from flashdreams.integrations.pocket.renderer.render import Renderer
from flashdreams.integrations.pocket.scenes.catalog import WALK_RADIUS, scene_layouts
from flashdreams.integrations.pocket.scenes.movement import EYE_HEIGHT
from flashdreams.integrations.pocket.scenes.scene_map import scene_map_of
from flashdreams.integrations.pocket.training.views import TrueDepth


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(scene_layouts(), supersample=1)


@pytest.fixture(scope="module")
def true_depth() -> TrueDepth:
    return TrueDepth()


def camera(x: float, z: float, yaw: float, pitch: float = 0.0) -> torch.Tensor:
    return torch.from_numpy(pose_from_yaw_pitch(np.array([x, -EYE_HEIGHT, z]), yaw, pitch)).float()[None]


def test_pictures_are_the_same_twice_and_differ_between_places(renderer: Renderer) -> None:
    count = len(scene_layouts())
    pose = camera(0, -8, 0).expand(count, -1, -1)
    images = renderer(pose, torch.arange(count))
    assert images.shape == (count, 3, HEIGHT, WIDTH)
    assert images.min() >= 0 and images.max() <= 1
    assert torch.equal(images, renderer(pose, torch.arange(count)))
    apart = (images[:, None] - images[None]).abs().mean(dim=(2, 3, 4))
    assert (apart + torch.eye(count) > 0.05).all()


def test_distances_on_the_ground_are_those_of_the_plane(true_depth: TrueDepth) -> None:
    pose = camera(0, -8, 0, -29.0)
    true = true_depth(pose, torch.tensor([0]))[0]
    rays = true_depth.solids.rays(torch.eye(4)[None])[1][0]
    next_chunk = torch.stack([rays[0] / rays[2], -rays[1] / rays[2], torch.ones_like(rays[0])])
    empty = ground_inverse_depth(pose, next_chunk)[0].unflatten(0, true.shape)
    assert torch.allclose(true[-3:], empty[-3:], rtol=1e-4), "the foot of the picture is bare ground"
    assert (true >= empty - 1e-4).all(), "things stand before the ground, never behind it"


def test_the_plan_shows_what_is_bumped_into() -> None:
    for layout in scene_layouts():
        plan = scene_map_of(layout)
        drawn = [np.array([disc.x, disc.z]) for disc in plan.things if isinstance(disc, Disc)]
        drawn += [np.mean(box.corners, axis=0) for box in plan.things if isinstance(box, Outline)]
        for disc in plan.blocked:
            assert min(np.hypot(*(middle - [disc.x, disc.z])) for middle in drawn) < disc.radius, (layout.name, disc)
        assert plan.radius == WALK_RADIUS


def test_a_still_camera_sees_the_same_picture(renderer: Renderer, true_depth: TrueDepth) -> None:
    pose = camera(0, -8, 20)
    image = renderer(pose, torch.tensor([1]))
    depth = true_depth(pose, torch.tensor([1]))
    again, inside = seen_next(image, pose, pose, depth, pixel_rays())
    assert psnr(again, image).item() > 60
    assert inside[..., 1:-1, 1:-1].all()


@pytest.mark.parametrize(("x", "z", "yaw", "pitch"), [(0, -7.6, 0, 0), (0, -8, 10, 0), (0.3, -7.8, -6, 5)])
def test_with_true_distances_the_next_picture_is_nearly_the_rendered_one(
    renderer: Renderer, true_depth: TrueDepth, x: float, z: float, yaw: float, pitch: float
) -> None:
    before, after, scene = camera(0, -8, 0), camera(x, z, yaw, pitch), torch.tensor([0])
    first, true = renderer(before, scene), renderer(after, scene)
    drawn, inside = seen_next(first, before, after, true_depth(after, scene), pixel_rays())
    assert inside.mean() > 0.75
    kept = psnr(drawn * inside, true * inside).item()
    assert kept > psnr(first * inside, true * inside).item() + 4
    assert kept > 25


def test_frames_between_are_redrawn_from_both_ends_by_their_distances(
    renderer: Renderer, true_depth: TrueDepth
) -> None:
    scene, way = torch.tensor([0]), torch.cat([camera(0.1 * i, -8 + 0.1 * i, 2.0 * i) for i in range(5)])
    true = renderer(way, scene.expand(5))
    untrained = PocketDecoder(PocketDecoderConfig(dtype=torch.float32)).requires_grad_(False)  # its network is silent
    far = torch.full((1, 36, 64), 1e-3)

    def between(depth: TrueDepth | None) -> float:
        ends = [(true[i, None], way[i, None]) for i in (0, 4)]
        first, last = (End(*end, far if depth is None else depth(end[1], scene)) for end in ends)
        return psnr(untrained.frames_between(first, last, way[None, 1:4])[0], true[1:4]).mean().item()

    assert between(true_depth) > 30
    assert between(true_depth) > between(None) + 4


def test_pictures_are_rounded_to_bytes_and_bounded() -> None:
    values = [-0.3, 0.0, 0.4 / 255, 0.6 / 255, 0.33, 254.6 / 255, 1.0, 7.0, 0.2, 0.11, 0.91, 0.77]
    images = torch.tensor(values).view(2, 3, 1, 2)
    found = in_bytes(images)
    assert found.dtype is torch.uint8 and found.is_contiguous()
    wanted = (images.double().clamp(0, 1) * 255).round().permute(0, 2, 3, 1)
    assert torch.equal(found.double(), wanted)


def test_a_ray_is_as_exact_under_autocast() -> None:
    rays, pose = pixel_rays(), camera(1, -8, 33, 7)[:, :3, :3]
    exact = product(pose, rays)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(product(pose, rays), exact)
        assert not torch.equal(pose @ rays, exact)


def test_what_was_out_of_view_is_marked(renderer: Renderer, true_depth: TrueDepth) -> None:
    before, after, scene = camera(0, -8, 0), camera(0, -8, 30), torch.tensor([0])
    _, inside = seen_next(renderer(before, scene), before, after, true_depth(after, scene), pixel_rays())
    assert inside[..., :40].mean() > 0.8, "turned to the right: the left was in view"
    assert inside[..., -60:].max() == 0, "the right was not"


def test_the_patch_code_is_a_projection_with_even_latents(renderer: Renderer) -> None:
    poses = torch.cat([camera(0, -8 + i, 40.0 * i) for i in range(8)])
    images = renderer(poses, torch.arange(8) % 4)
    codec = PatchCodec()
    codec.fit(images)
    latents = codec.encode(images)
    assert latents.shape == (8, 48, *LATENT_SIZE)
    assert torch.allclose(latents.std(dim=(0, 2, 3)), torch.ones(48), atol=1e-2)
    assert torch.allclose(codec.encode(codec.decode(latents)), latents, atol=1e-3)
    assert psnr(codec.decode(latents), images).mean() > 30


@torch.no_grad()
def test_a_kept_colour_is_seen_where_it_is_kept(renderer: Renderer) -> None:
    poses = torch.cat([camera(0, -8 + i, 40.0 * i) for i in range(8)])
    encoder = SceneEncoder(SceneEncoderConfig())
    encoder.codec.fit(renderer(poses, torch.arange(8) % 4))
    for network in (encoder.spot[2], encoder.leave):
        torch.nn.init.zeros_(network.weight), torch.nn.init.zeros_(network.bias)
    side = encoder.config.color_size[1]
    encoder.colors[0, 0, ..., side // 2 :] = 0.3  # red, everywhere east of the origin

    def redder(yaw: float) -> torch.Tensor:
        features, _ = encoder.features(camera(0, 0, yaw), camera(0, 0, yaw), torch.tensor([0]))
        nothing = encoder.codec.decode(torch.zeros_like(features[:, :48]))
        return (encoder.codec.decode(features[:, :48]) - nothing)[0, 0, HEIGHT * 3 // 4 :]  # the ground, near by

    north, south = redder(0), redder(180)
    third = WIDTH // 3
    assert north[:, -third:].mean() == pytest.approx(0.3, abs=0.03)
    assert north[:, :third].mean() == pytest.approx(0, abs=0.03)
    assert south[:, :third].mean() == pytest.approx(0.3, abs=0.03)
    assert redder(90).mean() == pytest.approx(0.3, abs=0.03)
