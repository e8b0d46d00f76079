"""`flashdreams-run` in processes as torchrun starts them: two write what one writes, or say why they cannot.

Torchrun itself starts those of tests/infra/test_runner.py, whose runner joins the processes as every runner does.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flashdreams.integrations.omnidreams.config import SLUG
from tests.integrations.clips import COMMAND, IMPORTED, read_clip, run_clip, tiny_arguments
from tests.integrations.test_omnidreams import write_video
from tests.processes import ended_together

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("files")
    shown, control = write_video(folder / "picture.mp4", 1), write_video(folder / "map.mp4", 29)
    return tiny_arguments(SLUG, folder, image=shown, control=control, chunks=4)


READS = (*IMPORTED, "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl")


def test_two_processes_write_the_clip_that_one_writes(arguments: list[str], tmp_path: Path) -> None:
    alone = run_clip(arguments, tmp_path / "alone.mp4")
    ended = ended_together([*COMMAND, *arguments, "--output", "out/together.mp4"], folder=tmp_path, imported=READS)
    assert [status for status, _ in ended] == [0, 0], "\n".join(said for _, said in ended)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"together.mp4", f"{SLUG}.config.json"}
    assert sum(said.count("together.mp4: 29 frames") for _, said in ended) == 1
    together = read_clip(tmp_path / "out" / "together.mp4")
    assert together.frames.shape == alone.frames.shape and together.fps == alone.fps
    difference = np.abs(together.frames.astype(int) - alone.frames)  # bf16, and then H.264
    spread = alone.frames.astype(float).std()
    print(f"mean difference {difference.mean():.2f} of 255, the clip's spread is {spread:.1f}")
    assert difference.mean() < spread / 20


def test_processes_that_tokens_do_not_divide_into_are_refused_in_one_sentence(
    arguments: list[str], tmp_path: Path
) -> None:
    odd = ["--height", "16", "--pipeline.diffusion-model.transformer.len-t", "1"]
    odd += ["--pipeline.diffusion-model.transformer.window-size-t", "3"]
    ended = ended_together([*COMMAND, *arguments, *odd, "--output", "clip.mp4"], folder=tmp_path, imported=READS)
    assert [status for status, _ in ended] == [1, 1]
    sentence = "flashdreams-run: 2 processes cannot share 3 tokens of a chunk evenly: start 1 or 3"
    assert sum(said.splitlines().count(sentence) for _, said in ended) == 1
    assert not (tmp_path / "clip.mp4").exists()
