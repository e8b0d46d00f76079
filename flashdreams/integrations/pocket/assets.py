"""Paths of the pocket world's files: its weights, its scenes' thumbnails, its card."""

from __future__ import annotations

from pathlib import Path

from flashdreams.infra import assets

WEIGHTS = "pocket.safetensors"
TILE_WEIGHTS = "dreamed.safetensors"
"""The tile model and the network of views of the worlds without end."""
MOVER_WEIGHTS = "movers.safetensors"
"""The transition of people, animals, birds and boats in them."""
PICTURE_WEIGHTS = "pictures.safetensors"
"""The network that reads a picture to begin with."""
WORD_WEIGHTS = "words.safetensors"
"""Their text encoder."""
STORED_PLACES = "places.safetensors"
"""Places of the endless worlds that are stored instead of dreamed."""
TILE_THUMBNAIL = "endless-"
"""Start of the names of their thumbnails, before the scene's."""
TILE_CARD = "ENDLESS.md"
"""The card of their weights."""


def asset_folder() -> Path:
    """`assets/pocket` of a checkout, or of an installed wheel."""
    return assets.asset_folder("pocket")


RENAMED_KEYS = ((r"^encoder\.solidity\.", "encoder.occupancy."), (r"^encoder\.told\.", "encoder.ray_projection."))
"""Keys of weights files that were released before these modules had their present names."""
