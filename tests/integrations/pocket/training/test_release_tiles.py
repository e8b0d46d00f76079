"""The weights file of the endless worlds, from parts, and its card."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from flashdreams.integrations.pocket.tiles.weights import trained_steps
from flashdreams.integrations.pocket.training.release_tiles import card, export_weights
from flashdreams.integrations.pocket.training.run import Average, TrainingRun


def trained(folder: Path, step: int) -> Path:
    run = TrainingRun(folder, average=Average(torch.nn.Linear(2, 3)))
    run.step = step
    run.save()
    return folder


def test_a_part_without_a_run_stays_as_it_was_released(tmp_path: Path) -> None:
    target = tmp_path / "weights.safetensors"
    parts = {part: trained(tmp_path / part, step) for part, step in (("tiles", 3), ("views", 5), ("refine", 7))}
    assert export_weights(parts, target) == {"tiles": 3, "views": 5, "refine": 7}
    before = load_file(target)
    assert export_weights({"views": trained(tmp_path / "newer", 9)}, target) == trained_steps(target)
    after = load_file(target)
    assert trained_steps(target) == {"tiles": 3, "views": 9, "refine": 7}
    assert after.keys() == before.keys()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed == {"views.weight", "views.bias"}


def test_the_card_holds_every_figure_and_what_was_trained(tmp_path: Path) -> None:
    weights = tmp_path / "tiles.safetensors"
    weights.write_bytes(bytes(3 * 2**19))
    report = {
        "trained_steps": {"tiles": 1234, "refine": 432, "views": 56789},
        "figures": {"seam_ratio": 1.2345, "view_psnr": 27.5, "recall": 0.7},
        "goals": {
            "seam_ratio": {"value": 1.2345, "at most": 1.1, "met": False},
            "recall": {"value": 0.7, "at least": 0.6, "met": True},
        },
    }
    text = card(weights, report)
    assert "`tiles.safetensors`" in text and "1.5 MiB" in text
    assert all(f"{steps} of {part}" in text for steps, part in (("1,234 steps", "tiles"), ("432", "their refinement")))
    assert "56,789\nof views" in text
    assert "| seam ratio | 1.23 | at most 1.1: missed |" in text
    assert "| view psnr | 27.5 |  |" in text and "| recall | 0.7 | at least 0.6 |" in text
