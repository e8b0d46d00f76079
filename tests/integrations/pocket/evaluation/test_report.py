"""A report's means, and what it leaves out."""

from __future__ import annotations

import json
from pathlib import Path

from flashdreams.integrations.pocket.evaluation.report import Report


def test_a_report_means_over_scenes_and_leaves_out_what_is_not_finite(tmp_path: Path) -> None:
    report = Report({"seed": 1})
    report.add("prediction", "meadow", {"psnr_db": [20.0, 30.0], "none": [float("nan")]})
    report.add("prediction", "dusk", {"psnr_db": [40.0, float("inf")]})
    text = report.save(tmp_path / "report.json")
    assert (
        json.loads(text)
        == json.loads((tmp_path / "report.json").read_text())
        == {
            "settings": {"seed": 1},
            "measures": {
                "prediction": {
                    "psnr_db": {
                        "mean": 30.0,
                        "deviation": 10.0,
                        "samples": 3,
                        "scenes": {"dusk": 40.0, "meadow": 25.0},
                    },
                    "none": {"mean": None, "deviation": None, "samples": 0, "scenes": {"meadow": None}},
                }
            },
        }
    )
