"""Constants of the Cosmos-Predict2 transformers."""

from __future__ import annotations

NEGATIVE_PROMPT = (
    "A jerky, shaky video of poor quality: blurred or over-sharpened frames, flicker, wrong exposure, washed-out "
    "colours, compression artifacts, unnatural motion, distorted shapes, cuts between unrelated scenes, text on screen"
)
"""The negative prompt of the guided models."""
