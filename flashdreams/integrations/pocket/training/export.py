"""From a training run to the weights file that is played: averaged weights, 16 or 8 bits each, as safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from flashdreams.integrations.pocket.config import pocket_pipeline
from flashdreams.integrations.pocket.deflated import deflated
from flashdreams.integrations.pocket.training.data import CHUNKS, count_clips

EIGHT_BITS = ("encoder.occupancy.grid", "encoder.colors")
"""The largest grids: three bits of mantissa are as good there, since every reading is a mean of neighbours."""


def pipeline_weights(
    codec: dict[str, Tensor], denoiser: dict[str, Tensor], decoder: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The pipeline's state dict from the parts of a run; `denoiser` has the keys of `train_denoiser.MasterWeights`."""
    renamed: dict[str, Tensor] = {}
    for key, value in denoiser.items():
        name = key.replace("/", ".")
        prefix, rest = name.split(".", 1)
        renamed[{"scene_encoder": "encoder", "transformer": "diffusion_model.transformer"}[prefix] + "." + rest] = value
    renamed |= {f"decoder.{key}": value for key, value in decoder.items()}
    for part in ("encoder", "decoder"):
        renamed |= {f"{part}.codec.{key}": value.clone() for key, value in codec.items()}
    wanted = pocket_pipeline().setup().state_dict()
    if missing := sorted(wanted.keys() - renamed.keys()):
        raise ValueError(f"the run lacks {len(missing)} tensors, {missing[0]} first: is it of another version?")
    return {key: renamed[key].to(_stored_as(key)).contiguous() for key in wanted}


def _stored_as(key: str) -> torch.dtype:
    if ".codec." in key:
        return torch.float32
    return torch.float8_e4m3fn if key in EIGHT_BITS else torch.bfloat16


def export(run: Path, target: Path) -> int:
    """Write `target` from the checkpoints in `run`, and how they were trained into its metadata.

    Answers how many numbers there are in it; raises FileNotFoundError.
    """
    parts: dict[str, Any] = {}
    for name in ("codec", "scene_encoder", "denoiser", "decoder"):
        path = run / f"{name}.pt"
        if not path.exists():
            raise FileNotFoundError(f"{path} is not there: run `make train` first")
        parts[name] = torch.load(path, weights_only=True, map_location="cpu")
    weights = pipeline_weights(parts["codec"]["codec"], parts["denoiser"]["average"], parts["decoder"]["decoder"])
    target.parent.mkdir(parents=True, exist_ok=True)
    figures = {
        f"{name}_{figure}": f"{parts[name]['figures'][figure]:.0f}"
        for name in ("scene_encoder", "denoiser", "decoder")
        for figure in ("step", "seconds")
    }
    figures |= {f"{kind}_clips": str(count_clips(run / "data", kind)) for kind in CHUNKS}
    figures["views"] = str(count_clips(run / "latents", "views"))
    save_file(deflated(weights), target, metadata={"format": "pt", **figures})
    return sum(value.numel() for value in weights.values())
