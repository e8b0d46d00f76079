"""The card of the endless worlds' weights."""

from __future__ import annotations

from pathlib import Path

from flashdreams.integrations.pocket.training.release_tiles import card


def test_the_card_holds_every_figure_and_what_was_trained(tmp_path: Path) -> None:
    weights = tmp_path / "tiles.safetensors"
    weights.write_bytes(bytes(3 * 2**19))
    report = {
        "trained_steps": {"tiles": 1234, "views": 56789},
        "weights_mib": 1.5,
        "seam_ratio": 1.2345,
        "view_psnr": 27.5,
    }
    text = card(weights, report)
    assert "`tiles.safetensors`" in text and "1.5 MiB" in text
    assert "1,234 steps of tiles, 56,789 steps of views" in text
    assert "| seam ratio | 1.23 |" in text and "| view psnr | 27.5 |" in text
