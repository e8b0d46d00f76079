"""The card of the endless worlds' weights."""

from __future__ import annotations

from pathlib import Path

from flashdreams.integrations.pocket.training.release_tiles import card


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
