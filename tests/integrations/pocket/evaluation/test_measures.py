"""The measures, tried on the true renderer in the place of a model, where they must be perfect, and on broken ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from flashdreams.infra.world.base import Constrain, Controls, Rollout, World
from flashdreams.integrations.pocket.config import pocket_pipeline, pocket_world
from flashdreams.integrations.pocket.evaluation import action_following, drift, evaluate, key_following, measures
from flashdreams.integrations.pocket.evaluation.contact_sheet import contact_sheet, label
from flashdreams.integrations.pocket.evaluation.drift import Moment, looks
from flashdreams.integrations.pocket.evaluation.jobs import (
    FULL,
    QUICK,
    Judged,
    MeasureResult,
    Size,
    Worker,
    measure_names,
)
from flashdreams.integrations.pocket.evaluation.motion import View, commanded_motion
from flashdreams.integrations.pocket.evaluation.registration import registered_motion
from flashdreams.integrations.pocket.evaluation.stage import Samples, Stage, Truth
from flashdreams.integrations.pocket.image_files import save_image
from flashdreams.integrations.pocket.model.decoder import PocketDecoder, PocketDecoderConfig
from flashdreams.integrations.pocket.model.scene_encoder import SceneEncoder, SceneEncoderConfig
from flashdreams.integrations.pocket.scenes.movement import EYE_HEIGHT, FRAMES_PER_CHUNK, Footing

pytestmark = pytest.mark.usefixtures("one_thread")
SCENE = "meadow"
PERFECT = 50.0
"""Decibels that only rounding to 8 bits is below."""
Alter = Callable[[Tensor, "SeenRollout"], Tensor]


@dataclass(kw_only=True)
class SeenRollout(Rollout):
    """Remembers the first picture, for a world that shows nothing else."""

    first: Tensor | None = None


class RenderedWorld(World):
    """The true renderer as a model, and what `alter` makes of its pictures `[F, 3, H, W]`."""

    def __init__(self, truth: Truth, alter: Alter) -> None:
        self.config, self.truth, self.alter = pocket_world(), truth, alter

    def start(self, scene: str, seed: int, *, text: str | None = None, image: Path | None = None) -> SeenRollout:
        return SeenRollout(scene=scene, seed=seed)

    def frames_in_chunk(self, index: int) -> int:
        return 1 if index == 0 else FRAMES_PER_CHUNK

    def step(self, rollout: Rollout, controls: Controls) -> npt.NDArray[np.uint8]:
        assert isinstance(rollout, SeenRollout)
        assert len(controls.poses) == self.frames_in_chunk(rollout.index)
        last = self.truth.images(rollout.scene, controls.poses[-1:])
        frames = last.expand(len(controls.poses), -1, -1, -1)  # no measure of a world looks at the frames before it
        rollout.first = frames[:1] if rollout.first is None else rollout.first
        return (self.alter(frames, rollout) * 255 + 0.5).byte().permute(0, 2, 3, 1).numpy()

    def finalize(self, rollout: Rollout) -> None:
        rollout.index += 1

    def snapshot(self, rollout: Rollout) -> Any:
        return replace(rollout)

    def restore(self, snapshot: Any) -> Rollout:
        return replace(snapshot)

    def start_pose(self, scene: str, seed: int) -> npt.NDArray[np.float64]:
        raise NotImplementedError("walks begin anywhere")

    def constrain(self, scene: str, seed: int = 0) -> Constrain:
        return Footing(self.truth.scene_layouts[scene]).constrain


def frozen(frames: Tensor, rollout: SeenRollout) -> Tensor:
    assert rollout.first is not None
    return rollout.first.expand_as(frames)


def mirrored(frames: Tensor, rollout: SeenRollout) -> Tensor:
    return frames.flip(-1)


def noise(frames: Tensor, rollout: SeenRollout) -> Tensor:
    return torch.rand(frames.shape, generator=torch.Generator().manual_seed(rollout.index))


def blurred(frames: Tensor, rollout: SeenRollout) -> Tensor:
    return torch.nn.functional.avg_pool2d(frames, 9, stride=1, padding=4, count_include_pad=False)


@pytest.fixture(scope="module")
def truth() -> Truth:
    return Truth(64, 36, supersample=1)


@pytest.fixture(scope="module")
def full_truth() -> Truth:
    """In the size that the model knows."""
    return Truth(supersample=1)


def stage(truth: Truth, alter: Alter | None = None) -> Stage:
    return Stage(RenderedWorld(truth, alter or (lambda frames, rollout: frames)), truth, seed=3)


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def level(x: float, z: float) -> npt.NDArray[np.float64]:
    pose = np.eye(4)
    pose[:3, 3] = x, -EYE_HEIGHT, z
    return pose


# --- registration and key following


def test_a_commanded_motion_is_read_from_two_poses(truth: Truth) -> None:
    there = stage(truth)
    start = level(0, -8)
    follow_path = commanded_motion(start, there.driven(SCENE, start, ["w"], 1)[-1])
    turned = commanded_motion(start, there.driven(SCENE, start, ["d"], 1)[-1])
    assert follow_path == pytest.approx({"forward": 0.4, "right": 0, "yaw": 0, "pitch": 0}, abs=1e-6)
    assert turned == pytest.approx({"forward": 0, "right": 0, "yaw": 10, "pitch": 0}, abs=1e-6)


@pytest.mark.parametrize(("key", "part", "amount"), [("d", "yaw", 20), ("i", "pitch", 20), ("s", "forward", -0.8)])
def test_registration_finds_the_amount_of_a_motion(truth: Truth, key: str, part: str, amount: float) -> None:
    start = level(0, -8)
    end = stage(truth).driven(SCENE, start, [key], 2)[-1]
    before, after = truth.images(SCENE, np.stack([start, end]))
    view = View(before, start, truth.distance(SCENE, start[None])[0])
    assert view.moved(after, part, 1.5 * abs(amount)) == pytest.approx(amount, rel=0.1)
    assert view.moved(before, part, 1.5 * abs(amount)) == 0


def test_the_truth_obeys_always(truth: Truth) -> None:
    found = key_following.key_following(stage(truth), SCENE, 2)
    assert mean(found["right_percent"]) == 100
    assert mean(found["counted_percent"]) > 70
    assert found["amount_correlation"] == [pytest.approx(1, abs=0.01)]
    assert found["yaw_slope"] == [pytest.approx(1, abs=0.02)]


def test_a_frozen_picture_obeys_nothing_but_no_key(truth: Truth) -> None:
    found = key_following.key_following(stage(truth, frozen), SCENE, 1)
    moved = {name: mean(values) for name, values in found.items() if name.startswith("right_")}
    assert moved.pop("right_nothing_percent") == 100
    moved.pop("right_percent")
    assert set(moved.values()) == {0.0}
    assert found["amount_correlation"] == [0.0]


def test_a_mirrored_world_turns_and_strafes_the_wrong_way(truth: Truth) -> None:
    found = key_following.key_following(stage(truth, mirrored), SCENE, 2)
    assert all(mean(found[f"right_{key}_percent"]) == 0 for key in "ad")
    assert all(mean(found[f"right_{key}_percent"]) == 100 for key in "ik")
    assert found["yaw_slope"][0] < -0.5


# --- pictures against the truth


def test_the_truth_is_predicted_and_nothing_else_is(truth: Truth) -> None:
    def after_5(alter: Alter | None) -> float:
        return measures.prediction(stage(truth, alter), SCENE, 1, (1, 5))["after_5_psnr_db"][0]

    mean_picture = measures.baseline(stage(truth), SCENE, 1, (1, 5), 4)["after_5_psnr_db"][0]
    assert after_5(None) > PERFECT
    assert 8 < mean_picture < 30
    assert after_5(noise) < mean_picture
    assert after_5(frozen) < 25
    assert after_5(mirrored) < 25


def test_a_blurred_dream_has_fewer_edges_than_the_truth(truth: Truth) -> None:
    def edges(alter: Alter | None) -> float:
        (kept,) = measures.prediction(stage(truth, alter), SCENE, 1, (1,))["edges_percent"]
        return kept

    assert edges(None) == pytest.approx(100, abs=2)
    assert edges(blurred) < 50


def test_the_first_prediction_of_a_frozen_world_is_still_right(truth: Truth) -> None:
    assert measures.prediction(stage(truth, frozen), SCENE, 1, (1,))["after_1_psnr_db"][0] > PERFECT


def test_stillness_is_nought_for_the_truth_and_large_for_noise(truth: Truth) -> None:
    still, restless = (measures.stillness(stage(truth, alter), SCENE, 1, 3) for alter in (None, noise))
    assert still == {"change_levels": [0.0, 0.0], "drift_levels": [0.0]}
    assert min(restless["change_levels"] + restless["drift_levels"]) > 50


def test_the_truth_remembers_and_noise_does_not(truth: Truth) -> None:
    kept, lost = (measures.memory(stage(truth, alter), SCENE, 1) for alter in (None, noise))
    assert set(kept) == {
        f"{way}_{pair}_psnr_db" for way in ("turn", "circle") for pair in ("before_after", "before", "after")
    }
    assert min(value for values in kept.values() for value in values) > PERFECT
    assert max(value for values in lost.values() for value in values) < 15


@pytest.mark.slow
def test_the_truth_follows_every_command_and_noise_does_not(truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[tuple[bytes, ...], dict[str, float]] = {}  # both worlds are judged beside the same true pictures

    def registered(before: Tensor, after: Tensor, distance: Tensor, pitch: float) -> dict[str, float]:
        given = before.numpy().tobytes(), after.numpy().tobytes(), distance.numpy().tobytes(), str(pitch).encode()
        if given not in known:
            known[given] = registered_motion(before, after, distance, pitch)
        return known[given]

    monkeypatch.setattr(action_following, "registered_motion", registered)
    kept, lost = (action_following.action_following(stage(truth, alter), SCENE, 1, 11) for alter in (None, noise))
    assert kept["counted_percent"] == lost["counted_percent"]
    assert kept["counted_percent"][0] > 50
    for part in ("forward", "yaw"):
        assert kept[f"{part}_correlation"][0] > 0.95
        assert abs(lost[f"{part}_correlation"][0]) < 0.6
        assert lost[f"{part}_correlation_of_truth"] == pytest.approx(kept[f"{part}_correlation"], abs=0.01)


def test_a_long_walk_lasts_or_fades(truth: Truth) -> None:
    def dissolving(frames: Tensor, rollout: SeenRollout) -> Tensor:
        share = rollout.index / 40
        return (1 - share) * frames + share * frames.mean()

    usual = drift.Usual.of(stage(truth).spots(SCENE, 8, 16))

    def found(alter: Alter | None) -> Samples:
        return drift.drift(drift.long_camera_path(stage(truth, alter), SCENE, 40, range(4, 41, 4)), 40, usual)

    lasts, fades = found(None), found(dissolving)
    assert len(lasts["part_1_psnr_db"]) == 2
    assert mean(lasts["part_5_psnr_db"]) > PERFECT
    assert lasts["lost_psnr_db"][0] < 1 and fades["lost_psnr_db"][0] > 5
    assert mean(lasts["usual_percent"]) == 100 and mean(fades["usual_percent"]) < 80
    assert fades["contrast_sigmas"][-1] > 2, "grey pictures are not usual"


def test_looks_are_those_of_a_checkerboard() -> None:
    board = (torch.arange(8)[:, None] + torch.arange(8)).remainder(2).float().expand(3, 8, 8)
    even = drift.colours(board)
    assert even.sum(1).tolist() == [1, 1, 1] and even[:, 0].tolist() == [0.5] * 3
    expected = {"brightness": 127.5, "contrast": 127.8, "saturation": 0, "edges": 1020, "colours": 0}
    assert looks(board, even) == pytest.approx(expected, abs=0.1)
    assert looks(torch.full((3, 8, 8), 0.2), even)["edges"] == pytest.approx(0, abs=1e-4)
    assert looks(torch.zeros(3, 8, 8), even)["colours"] == pytest.approx(0.5)


def test_reconstruction_is_as_good_as_the_code(full_truth: Truth) -> None:
    there = stage(full_truth)
    decoder, scene_encoder = PocketDecoder(PocketDecoderConfig(dtype=torch.float32)), SceneEncoder(SceneEncoderConfig())
    blind = measures.reconstruction(there, scene_encoder, decoder, SCENE, 1)
    decoder.codec.fit(there.truth.images(SCENE, there.camera_paths(SCENE, there.rng(SCENE, 1), 1, 3)[0, ::4]))
    fitted = measures.reconstruction(there, scene_encoder, decoder, SCENE, 1)
    assert len(fitted["ends_psnr_db"]) == 3
    assert len(fitted["between_psnr_db"]) == 6
    assert mean(blind["ends_psnr_db"]) < 12
    assert mean(fitted["ends_psnr_db"]) > 25


def test_walks_are_the_same_for_every_world_and_other_with_another_seed(truth: Truth) -> None:
    def camera_path(seed: int) -> npt.NDArray[np.float64]:
        there = Stage(stage(truth).world, truth, seed)
        return there.camera_paths(SCENE, there.rng(SCENE, 2), 1, 3)

    assert (camera_path(0) == camera_path(0)).all()
    assert (camera_path(0) != camera_path(1)).any()


# --- report, contact sheet, command


def test_a_contact_sheet_shows_dreams_above_truths_and_survives_png(tmp_path: Path) -> None:
    generated, true = torch.ones(3, 20, 80), torch.zeros(3, 20, 80)
    generated[1:], true[2] = 0, 1  # red above blue
    sheet = contact_sheet({"a": [Moment(1, generated, true)] * 3, "b": [Moment(7, generated, true)] * 3})
    save_image(tmp_path / "sheet.png", sheet)
    with av.open(str(tmp_path / "sheet.png")) as file:
        read = next(file.decode(video=0)).to_ndarray(format="rgb24")
    assert (read == sheet).all()
    column = [tuple(pixel) for pixel in read[:, 40] if pixel.any() and tuple(pixel) != (255, 255, 255)]
    assert column == ([(255, 0, 0)] * 20 + [(0, 0, 255)] * 20) * 2


def test_labels_are_legible() -> None:
    rows = ["".join(".#"[int(dot[0] > 0)] for dot in row) for row in label("1:7", scale=1)]
    assert rows == [".#......###.", "##...#....#.", ".#.......#..", ".#...#...#..", "###......#.."]


def random_weights(folder: Path) -> Path:
    weights = {
        name: tensor.clone(memory_format=torch.contiguous_format)
        for name, tensor in pocket_pipeline().setup().state_dict().items()
    }
    save_file(weights, folder / "random.safetensors")
    return folder / "random.safetensors"


@pytest.mark.slow
def test_a_worker_measures_the_real_pipeline(tmp_path: Path, full_truth: Truth) -> None:
    tiny = Size(scenes=1, camera_paths=1, horizons=(1, 2), mean_of=2, starts=1, long_chunks=5, usual_of=4, looks=5)
    ticks: list[None] = []
    worker = Worker(Judged(random_weights(tmp_path), tiny), lambda: ticks.append(None))
    worker.truth = full_truth
    predicted, follow_path = (worker.run(name, SCENE) for name in ("prediction_1_step", "drift"))
    assert len(ticks) == 7
    assert predicted.samples["after_2_psnr_db"][0] < 40
    assert [moment.chunk for moment in follow_path.moments] == [1, 4, 5]
    assert len(worker.world((1000.0,)).config.pipeline.diffusion_model.scheduler.denoising_timesteps) == 1  # type: ignore[attr-defined]


def test_the_command_writes_json_and_a_sheet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[Judged, int]] = []

    def run_all(judged: Judged, processes: int) -> list[MeasureResult]:
        asked.append((judged, processes))
        moment = Moment(1, torch.zeros(3, 16, 64), torch.ones(3, 16, 64))
        return [MeasureResult("drift", SCENE, {"part_1_psnr_db": [21.0]}, [moment])]

    monkeypatch.setattr(evaluate, "run_all", run_all)
    weights, output = random_weights(tmp_path), tmp_path / "new" / "folder"
    command = ["--checkpoint", str(weights), "--output", str(output), "--quick", "--minutes", "5", "--threads", "1"]
    assert evaluate.main([*command, "--seed", "9"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["measures"]["drift"]["part_1_psnr_db"]["mean"] == 21.0
    assert printed["settings"]["walk_seconds"] == 300
    assert asked == [(Judged(weights, replace(QUICK, long_chunks=1800), 9), 1)]
    assert (output / "sheet.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--checkpoint", "nowhere.safetensors"], "nowhere.safetensors"),
        (["--threads", "0"], "--threads must be 1 or more"),
        (["--minutes", "nan"], "--minutes must lie within"),
    ],
)
def test_the_command_refuses_with_a_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        evaluate.main(arguments)
    assert said in capsys.readouterr().err


def test_sizes_look_into_every_part_of_the_long_walk() -> None:
    for size in (FULL, QUICK, replace(FULL, long_chunks=72)):
        parts = {(chunk - 1) * drift.PARTS // size.long_chunks for chunk in size.regular}
        assert parts == set(range(drift.PARTS))
        assert max(size.sheet) == size.long_chunks
    assert len(set(measure_names())) == len(measure_names()) == 11
