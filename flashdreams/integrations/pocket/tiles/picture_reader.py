"""Reads pictures to begin with: as places where what is drawn of what was read agrees, else as colours and light."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.infra.media.images import read_picture
from flashdreams.integrations.pocket.tiles.observation import COLUMNS, ROWS
from flashdreams.integrations.pocket.tiles.picture import Picture, is_alike
from flashdreams.integrations.pocket.tiles.picture_fit import with_colors, with_sky
from flashdreams.integrations.pocket.tiles.picture_network import (
    PICTURE_COLUMNS,
    PICTURE_ROWS,
    load_picture_network,
    picture_of,
)
from flashdreams.integrations.pocket.tiles.sight import LocalState, look
from flashdreams.integrations.pocket.tiles.view_network import ViewNetwork

_KEPT = 16
"""Pictures whose reading is kept."""


class PictureReader:
    """Reads picture files by the network of the weights in `path`, and judges by `views`. For several threads."""

    def __init__(self, path: Path, views: ViewNetwork) -> None:
        self.network, self.views = load_picture_network(path), views
        self._known: OrderedDict[bytes, Picture] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, path: Path) -> Picture:
        """Return what a picture file tells. Raises ValueError for a file that is no picture."""
        pixels = ((read_picture(path, PICTURE_ROWS, PICTURE_COLUMNS)[0] + 1) * 127.5).round().byte()
        key = pixels.numpy().tobytes()
        with self._lock:
            if key not in self._known:
                self._known[key] = self.taken(pixels.float() / 255)
                while len(self._known) > _KEPT:
                    self._known.popitem(last=False)
            return self._known[key]

    @torch.inference_mode()
    def taken(self, pixels: Tensor) -> Picture:
        """Return what a picture `[3, 72, 128]` in 0..1 tells."""
        reading = self.network(pixels[None])
        small = F.interpolate(pixels[None], (ROWS, COLUMNS), mode="area")[0]
        sky = reading.what[0].argmax(0) == 2
        found = with_sky(picture_of(reading), small, sky, reading.hour[0].softmax(0))
        if not is_alike(small, self.drawn(found)):
            return replace(found, sights=b"")
        return with_colors(found, small, self.drawn)  # after the judgement: any picture can be painted on things

    @torch.inference_mode()
    def drawn(self, picture: Picture) -> Tensor:
        """Return `[3, 36, 64]`: the view from where `picture` was taken, of nothing but what was read of it."""
        light, dtype = picture.light(), self.views.enter.weight.dtype
        place = LocalState.of(picture.state(), (8.0, 8.0), light)
        seen = look(place, picture.pose)
        image = self.views(seen.features[None].to(dtype), light.vector()[None].to(dtype))[0]
        return F.interpolate(image[None].float().clamp(0, 1), (ROWS, COLUMNS), mode="area")[0]
