"""Controls of a clip, held or recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flashdreams.integrations.matrix_game2.runner import held_vectors, track_vectors


def test_what_is_held_is_spread_over_frames() -> None:
    rows = held_vectors("gta_drive", ((2, "w"), (1, "s+a"), (1, "none")), 6)
    assert rows.keyboard.tolist() == [[1, 0], [1, 0], [0, 1], [0, 0], [0, 0], [0, 0]]
    assert held_vectors("gta_drive", ((9, "w"),), 2).keyboard.tolist() == [[1, 0], [1, 0]]
    for hold in (((0, "w"),), ((1, "fly"),), ((1, "jump"),)):
        with pytest.raises(ValueError, match="hold must be"):
            held_vectors("gta_drive", hold, 6)


def test_a_trajectory_s_inputs_are_the_clip_s_controls(tmp_path: Path) -> None:
    held, file = [{"frames": 3, "keys": ["w"], "mouse": [1, 0]}, {"frames": 2, "keys": ["s"]}], tmp_path / "track.json"
    file.write_text(json.dumps({"fps": 25, "inputs": held}))
    vectors = track_vectors("universal", file, 6, 25)
    assert vectors.keyboard.tolist() == [[1, 0, 0, 0]] * 3 + [[0, 1, 0, 0]] * 2 + [[0] * 4]
    assert vectors.mouse is not None and vectors.mouse[:, 1].tolist() == pytest.approx([0.1] * 3 + [0] * 3)
    file.write_text(json.dumps({"fps": 25, "inputs": [{"actions": ["fly"]}]}))
    with pytest.raises(ValueError, match="inputs"):
        track_vectors("universal", file, 6, 25)
    file.write_text(json.dumps({"fps": 25, "poses": [[[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]]}))
    with pytest.raises(ValueError, match="inputs"):
        track_vectors("universal", file, 6, 25)
