"""Published path errors of other models."""

from __future__ import annotations

from typing import Any

PUBLISHED: list[dict[str, Any]] = [
    {
        "source": "WorldCrafter, camera control table",
        "address": "https://arxiv.org/abs/2609.24984",
        "measured": "RotErr and TransErr over 528 to 1648 frames; cameras estimated by VGGT, aligned by a similarity",
        "figures": {
            "WorldCrafter": [13.536, 1.475],
            "Lyra 2.0": [16.145, 1.538],
            "Matrix-Game 3.5": [19.881, 1.920],
            "LingBot-World 2": [30.615, 2.004],
            "HY-WorldPlay": [34.051, 2.146],
        },
    },
    {
        "source": "HY-World 2.0, camera control table",
        "address": "https://github.com/Tencent-Hunyuan/HY-World-2.0",
        "measured": "RotErr and TransErr as its table calls them",
        "figures": {
            "WorldStereo 2.0": [0.492, 0.968],
            "WorldStereo": [0.762, 1.245],
            "Gen3C": [0.944, 1.580],
            "SEVA": [1.690, 1.578],
        },
    },
    {
        "source": "Diffusion as Shader, table 1",
        "address": "https://arxiv.org/abs/2501.03847",
        "measured": "degrees for both, the second between directions of translation; large movements, cameras by SIFT",
        "figures": {
            "Diffusion as Shader": [10.40, 37.17],
            "CameraCtrl": [29.70, 66.76],
            "MotionCtrl": [39.86, 67.05],
        },
    },
]
"""Rotation and translation by model. Other scenes, paths and estimators: to be read beside ours, not against."""
