"""Does the picture do what a key says? Motion registered in dreamed pictures, beside the same in the true ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from flashdreams.camera.motion import KEYS
from flashdreams.camera.poses import pose_from_yaw_pitch, yaw_pitch_of
from flashdreams.integrations.pocket.evaluation.measures import WARM_CHUNKS
from flashdreams.integrations.pocket.evaluation.motion import PARTS, View, commanded_motion
from flashdreams.integrations.pocket.evaluation.stage import Poses, Samples, Stage, new_seed, standing
from flashdreams.integrations.pocket.scenes.movement import FPS, FRAMES_PER_CHUNK, MOVE_SPEED, TURN_RATE

HELD = ("w", "s", "q", "e", "a", "d", "i", "k", "")
"""Walk ahead and back, strafe left and right, turn left and right, look up and down, and nothing."""
HOLD_CHUNKS = 2
_SECONDS = HOLD_CHUNKS * FRAMES_PER_CHUNK / FPS
FREE = {"forward": MOVE_SPEED, "right": MOVE_SPEED, "yaw": TURN_RATE, "pitch": TURN_RATE}
"""Motion of the camera per second of a held key with nothing in its way, by kind of motion."""
_REACH = 1.3
"""Search range of motions, as a share of the motion that a key could cause."""
_ENOUGH = 0.25
"""A smaller share of what a key could do counts as no motion."""


@dataclass
class Trial:
    """One key held. All motions are shares of what the key could do; 1 is that far in its direction."""

    key: str
    commanded: float
    true: float
    """Motion registered in the true pictures."""
    generated: float
    """Motion registered in the dreamed pictures."""

    @property
    def counts(self) -> bool:
        """True if the trial counts: little was in the way, and registration is right about the truth."""
        return (not self.key or self.commanded > 0.5) and abs(self.true - self.commanded) < _ENOUGH

    @property
    def right(self) -> bool:
        """True if the generated camera moved in the key's direction, or held still without a key."""
        return self.generated >= _ENOUGH if self.key else abs(self.generated) < _ENOUGH


def key_following(stage: Stage, scene: str, starts: int) -> Samples:
    """Every key held for two chunks from random places: how often the dream moves the right way, and by how much.

    `right_percent` is over all keys, `right_<key>_percent` over one; `counted_percent` is the share of trials in which
    the motion can be seen in the true pictures: the others say nothing. Dreamed and true amounts are compared by their
    correlation and their slope (least squares): 1 is as far as the truth.
    """
    rng = stage.rng(scene, 7)
    trials = [
        t
        for camera_path in stage.camera_paths(scene, rng, starts, 1)
        for t in _trials(stage, scene, camera_path[0], new_seed(rng))
    ]
    counted = [trial for trial in trials if trial.counts]
    found: Samples = {"counted_percent": [100.0 * trial.counts for trial in trials], "right_percent": []}
    for trial in counted:
        found["right_percent"].append(100.0 * trial.right)
        found.setdefault(f"right_{trial.key or 'nothing'}_percent", []).append(100.0 * trial.right)
    moved = [trial for trial in counted if trial.key]
    found["amount_correlation"], _ = _fit(moved)
    for part in PARTS:
        _, found[f"{part}_slope"] = _fit([trial for trial in moved if KEYS[trial.key][0] == part])
    return found


def _trials(stage: Stage, scene: str, start: Poses, seed: int) -> list[Trial]:
    """All keys from one place, each from the same moment of the same dream, which begins with a level look."""
    start = pose_from_yaw_pitch(start[:3, 3], yaw_pitch_of(start)[0], 0.0)
    rollout, distance = stage.world.start(scene, seed), stage.truth.distance(scene, start[None])[0]
    generated = View(stage.last_frame(rollout, standing(start, WARM_CHUNKS)), start, distance)
    true = View(stage.truth.images(scene, start[None])[0], start, distance)
    snapshot = stage.world.snapshot(rollout)
    ways = [stage.driven(scene, start, [key] if key else [], HOLD_CHUNKS) for key in HELD]
    true_after = stage.truth.images(scene, np.stack([way[-1] for way in ways]))
    trials = []
    for key, way, image in zip(HELD, ways, true_after, strict=True):
        dreamed_after = stage.last_frame(stage.world.restore(snapshot), way)
        if key:
            part, direction = KEYS[key]
            commanded = direction * commanded_motion(start, way[-1])[part] / (FREE[part] * _SECONDS)
            seen = [
                direction * _share(view, after, part) for view, after in ((true, image), (generated, dreamed_after))
            ]
        else:
            commanded = 0.0
            seen = [_largest_share(view, after) for view, after in ((true, image), (generated, dreamed_after))]
        trials.append(Trial(key, commanded, *seen))
    return trials


def _share(view: View, after: Tensor, part: str) -> float:
    full = FREE[part] * _SECONDS
    return view.moved(after, part, _REACH * full) / full


def _largest_share(view: View, after: Tensor) -> float:
    return max((_share(view, after, part) for part in PARTS), key=abs)


def _fit(trials: list[Trial]) -> tuple[list[float], list[float]]:
    """Correlation and slope of the dreamed amounts on the true ones, as samples; none where the truth does not vary."""
    signs = np.array([KEYS[trial.key][1] for trial in trials])
    true, generated = (signs * np.array([getattr(trial, kind) for trial in trials]) for kind in ("true", "generated"))
    if len(trials) < 2 or true.std() < 1e-6:
        return [], []
    slope = float(np.cov(true, generated, bias=True)[0, 1] / true.var())
    return [slope * float(true.std() / generated.std()) if generated.std() > 1e-6 else 0.0], [slope]
