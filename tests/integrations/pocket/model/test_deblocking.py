"""Evening out seams: steps between patches go, all that belongs to the picture stays."""

from __future__ import annotations

import torch
from torch import Tensor

from flashdreams.integrations.pocket.model.deblocking import deblock

HEIGHT, WIDTH = 144, 256


def shaded() -> Tensor:
    """Two pictures `[2, 3, 144, 256]` that get brighter to the right and darker to the bottom."""
    across, down = torch.linspace(0.2, 0.6, WIDTH), torch.linspace(0.2, 0.0, HEIGHT)[:, None]
    return (across + down).expand(2, 3, HEIGHT, WIDTH).contiguous()


def patchwork(strength: float) -> Tensor:
    """A random shade for every patch, within `strength`."""
    torch.manual_seed(5)
    shades = (torch.rand(2, 3, HEIGHT // 16, WIDTH // 16) * 2 - 1) * strength
    return shades.repeat_interleave(16, -1).repeat_interleave(16, -2)


def steps(image: Tensor) -> float:
    """Mean step from one patch to the next."""
    across, down = image.diff(dim=-1)[..., 15::16], image.diff(dim=-2)[..., 15::16, :]
    return across.abs().mean().item() + down.abs().mean().item()


def test_shades_of_patches_go_over_into_each_other() -> None:
    uneven = shaded() + patchwork(0.01)
    even = deblock(uneven)
    assert steps(even - shaded()) < 0.3 * steps(uneven - shaded())
    assert (even - shaded()).square().mean() < 0.9 * (uneven - shaded()).square().mean()


def test_a_picture_without_seams_stays_as_it_is() -> None:
    assert torch.allclose(deblock(shaded()), shaded(), atol=1e-5)


def test_edges_stay_sharp_even_where_patches_meet() -> None:
    edges = shaded()
    edges[..., 64:] += 0.3
    edges[..., 80:, :] -= 0.2
    assert torch.allclose(deblock(edges), edges, atol=1e-3)


def test_pictures_of_a_batch_do_not_see_each_other() -> None:
    uneven = shaded() + patchwork(0.02)
    assert torch.equal(deblock(uneven)[1:], deblock(uneven[1:]))
