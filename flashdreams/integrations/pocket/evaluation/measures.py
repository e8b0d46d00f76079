"""The measures of pictures: what the code loses, what a dream gets wrong, whether it holds still and remembers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from flashdreams.integrations.pocket.evaluation.stage import Poses, Samples, Stage, new_seed, standing
from flashdreams.integrations.pocket.model.codec import psnr
from flashdreams.integrations.pocket.model.decoder import PocketDecoder
from flashdreams.integrations.pocket.model.scene_encoder import SceneEncoder
from flashdreams.integrations.pocket.scenes.movement import FRAMES_PER_CHUNK
from flashdreams.integrations.pocket.training.train_decoder import decode_clip, latents_of

WARM_CHUNKS = 3
"""Chunks dreamed before something is measured that needs a past."""
STRONG = 0.08
"""Difference of two neighbouring values, of 1, that counts as an edge: 20 of 255."""
FEW_EDGES = 0.002
"""Below this share of edges a picture tells nothing about how many of them are kept."""
TURN_CHUNKS, CIRCLE_CHUNKS = 9, 36
"""Frames that a held key takes to turn by 90 and by 360 degrees."""


@torch.no_grad()
def reconstruction(
    stage: Stage, scene_encoder: SceneEncoder, decoder: PocketDecoder, scene: str, clips: int
) -> Samples:
    """PSNR of true pictures through code and decoder, without a dream: all that a perfect dream could reach.

    Walks of 2 chunks are rendered whole; the decoder sees their chunk-end frames and finds the others between them from
    these and from the distances that the scene encoder sees.
    """
    camera_paths = stage.camera_paths(scene, stage.rng(scene, 1), clips, 3)
    ends = np.arange(camera_paths.shape[1]) % FRAMES_PER_CHUNK == 0
    found: Samples = {"ends_psnr_db": [], "between_psnr_db": []}
    device = decoder.rays.device
    at = torch.tensor([list(stage.truth.scene_layouts).index(scene)], device=device)
    for camera_path in camera_paths:
        true, poses = stage.truth.images(scene, camera_path), torch.from_numpy(camera_path).float()
        latents = latents_of(decoder, true[None].to(device))
        seen = decode_clip(decoder, scene_encoder, latents, poses[None].to(device), at)[0]
        values = psnr(seen.cpu(), true).numpy()
        found["ends_psnr_db"] += values[ends].tolist()
        found["between_psnr_db"] += values[~ends].tolist()
    return found


def prediction(stage: Stage, scene: str, camera_paths: int, horizons: Sequence[int]) -> Samples:
    """PSNR of the dreamed picture against the truth at the end of so many chunks of a random walk.

    `edges_percent` is how many strong edges these pictures have of those in the truth, `step_ms` the time of a chunk
    from poses to frames on this machine, for each of them.
    """
    found: Samples = {f"after_{h}_psnr_db": [] for h in horizons}
    found |= {"edges_percent": [], "step_ms": []}
    for camera_path, true, seed in _prediction_paths(stage, scene, camera_paths, horizons):
        rollout = stage.world.start(scene, seed)
        chunks = stage.generate(rollout, camera_path)
        for number in range(1, max(horizons) + 1):
            began = time.perf_counter()
            frames = next(chunks)
            found["step_ms"].append(1000 * (time.perf_counter() - began))
            if number in horizons:
                found[f"after_{number}_psnr_db"].append(psnr(frames[-1], true[number]).item())
                edges = _strong_edges(true[number])
                if edges > FEW_EDGES:
                    found["edges_percent"].append(100 * _strong_edges(frames[-1]) / edges)
    return found


def baseline(stage: Stage, scene: str, camera_paths: int, horizons: Sequence[int], images: int) -> Samples:
    """PSNR of the scene's mean picture, of as many rendered `images`, in the place of `prediction`'s dreams."""
    mean = stage.spots(scene, 3, images).mean(0)
    found: Samples = {f"after_{h}_psnr_db": [] for h in horizons}
    for _, true, _ in _prediction_paths(stage, scene, camera_paths, horizons):
        for number in horizons:
            found[f"after_{number}_psnr_db"].append(psnr(mean, true[number]).item())
    return found


def stillness(stage: Stage, scene: str, starts: int, chunks: int) -> Samples:
    """Return the change of the image while no key is held, in levels of 255, after some chunks of walking.

    `change_levels` is the mean absolute change from one chunk's last frame to the next one's, `drift_levels` that from
    the first to the last of them.
    """
    rng, found = stage.rng(scene, 4), Samples(change_levels=[], drift_levels=[])
    for camera_path in stage.camera_paths(scene, rng, starts, WARM_CHUNKS):
        rollout = stage.world.start(scene, new_seed(rng))
        images = [stage.last_frame(rollout, camera_path)]
        images += [frames[-1] for frames in stage.generate(rollout, standing(camera_path[-1], chunks, first=False))]
        # The first standing chunk still ends the walk's motion; what comes after it should not move at all.
        still = torch.stack(images[1:])
        found["change_levels"] += (255 * still.diff(dim=0).abs().mean((1, 2, 3))).tolist()
        found["drift_levels"].append(255 * (still[-1] - still[0]).abs().mean().item())
    return found


def memory(stage: Stage, scene: str, starts: int) -> Samples:
    """Does the same pose look the same later? Two ways to come back: turn 90 degrees and back, and walk a circle.

    `before_after` compares the dream with itself, `before` and `after` with the truth, as PSNR.
    """
    rng, found = stage.rng(scene, 5), Samples()
    for start in _starts_with_room(stage, scene, rng, starts):
        away = stage.driven(scene, start, ["d"], TURN_CHUNKS)
        ways = {
            "turn": np.concatenate([away, stage.driven(scene, away[-1], ["a"], TURN_CHUNKS)]),
            "circle": stage.driven(scene, start, ["w", "d"], CIRCLE_CHUNKS),
        }
        rollout, true = stage.world.start(scene, new_seed(rng)), stage.truth.images(scene, start[None])[0]
        before = stage.last_frame(rollout, standing(start, WARM_CHUNKS))
        snapshot = stage.world.snapshot(rollout)
        for name, way in ways.items():
            after = stage.last_frame(stage.world.restore(snapshot), way)
            pairs = {"before_after": (before, after), "before": (before, true), "after": (after, true)}
            for pair, (one, other) in pairs.items():
                found.setdefault(f"{name}_{pair}_psnr_db", []).append(psnr(one, other).item())
    return found


def _strong_edges(image: Tensor) -> float:
    """Share of neighbouring values of `picture [3, H, W]` in [0, 1] that differ by more than STRONG."""
    return float(np.mean([(image.diff(dim=axis).abs() > STRONG).float().mean().item() for axis in (-1, -2)]))


def _starts_with_room(stage: Stage, scene: str, rng: np.random.Generator, count: int) -> list[Poses]:
    """Poses `[4, 4]` from which nothing stands in the way of the circle, so that it ends where it began."""
    found: list[Poses] = []
    for _ in range(100):
        start = stage.camera_paths(scene, rng, 1, 1)[0, 0]
        end = stage.driven(scene, start, ["w", "d"], CIRCLE_CHUNKS)[-1]
        if np.abs(end - start).max() < 0.01:
            found.append(start)
        if len(found) == count:
            return found
    raise RuntimeError(f"{scene} has no room for {count} circles: found {len(found)} in 100 random places")


def _prediction_paths(
    stage: Stage, scene: str, camera_paths: int, horizons: Sequence[int]
) -> Iterator[tuple[Poses, dict[int, Tensor], int]]:
    """Walks, the true pictures at the ends of their chunks `horizons`, and rollout seeds: the same for every world."""
    rng = stage.rng(scene, 2)
    for camera_path in stage.camera_paths(scene, rng, camera_paths, max(horizons)):
        true = stage.truth.images(scene, camera_path[[(number - 1) * FRAMES_PER_CHUNK for number in horizons]])
        yield camera_path, dict(zip(horizons, true, strict=True)), new_seed(rng)
