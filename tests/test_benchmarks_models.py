"""The benchmark of published models, at a tiny size on the CPU."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from benchmarks import models
from flashdreams.infra.config.base import derive_config
from tests.published import tiny_changes

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("family", ["self-forcing", "hy-worldplay", "omnidreams"])
def test_a_tiny_model_is_measured_stage_by_stage(family: str, tmp_path: Path) -> None:
    slug = next(slug for slug in models.planned() if slug.startswith(family))
    pipeline = models.planned()[slug].pipeline
    tiny = derive_config(pipeline, **tiny_changes(pipeline, tmp_path))
    found = models.measure(tiny, 32, 64, torch.device("cpu"), chunks=2)
    assert found["ms"]["total"]["n"] == found["ms"]["diffuse"]["n"] == 2
    assert found["planned_gib"] >= 0 and found["held_gib"] is None


def test_without_a_gpu_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["models"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="models needs a CUDA device and there is none"):
        models.main()
