"""The network of views prepared for one view after the other on a processor: the same picture with fewer passes.

The light is folded into the first convolution, weights are laid out for oneDNN once, and activations and sums are
applied while a convolution writes its result. What single operations round in bf16 is rounded in other places here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flashdreams.integrations.pocket.land.camera import HEIGHT, WIDTH
from flashdreams.integrations.pocket.tiles.convolutions import Block
from flashdreams.integrations.pocket.tiles.fine_sight import Sharp
from flashdreams.integrations.pocket.tiles.sight import ALBEDO, RAY_COLUMNS, RAY_ROWS, Seen
from flashdreams.integrations.pocket.tiles.view_network import ViewNetwork

_Size = tuple[int, int]
_WHOLE, _HALF, _QUARTER = ((RAY_ROWS // step, RAY_COLUMNS // step) for step in (1, 2, 4))


class PreparedViews:
    """Draws as a `ViewNetwork` does, one view at a time. The network is read once: later changes are not seen."""

    def __init__(self, network: ViewNetwork) -> None:
        self._network = network
        self._down1, self._down2 = _Convolution(network.down1, _WHOLE), _Convolution(network.down2, _HALF)
        self._up1, self._up2 = _Convolution(network.up1, _HALF), _Convolution(network.up2, _QUARTER)
        self._head = _Convolution(network.head, _WHOLE)
        self._middle = [_Block(block, _HALF) for block in network.middle]
        self._deep = [_Block(block, _QUARTER) for block in network.deep]
        self._places = _pixel_places()
        self._after, self._last = _Block(network.after, _HALF), [_Block(block, _WHOLE) for block in network.last]

    @torch.inference_mode()
    def draw(
        self,
        seen: Seen,
        light: Tensor,
        between: Callable[[], None] = lambda: None,
        sharp_pixels: Callable[[], Sharp | None] | None = None,
    ) -> Tensor:
        """Return the picture `[3, 144, 256]` of what is `seen` in a light of vector `[24]`.

        Calls `between` parts of the work, and `sharp_pixels` in its last part: they take the place of `seen.sharp`.
        """
        network, features = self._network, seen.features
        entrance, width = network.config.entrance, network.config.widths[2]
        told = network.light(light.to(network.enter.weight.dtype))
        scale, shift, deep_scale, deep_shift = told.split([entrance] * 2 + [width] * 2)
        h0 = self._entered(features, scale, shift)
        between()
        h1 = self._down1(F.silu(h0))
        for block in self._middle:
            h1 = block(h1)
        h2 = torch.addcmul(deep_shift[:, None, None], self._down2(h1), 1 + deep_scale[:, None, None])
        between()
        for block in self._deep:
            h2 = block(h2)
        between()
        h1 = self._after(h1.add_(F.interpolate(self._up2(h2), scale_factor=2, mode="nearest")))
        h0 = h0.add_(F.interpolate(self._up1(h1), scale_factor=2, mode="bilinear"))
        for block in self._last:
            between()
            h0 = block(h0)
        between()
        sharp = seen.sharp if sharp_pixels is None else sharp_pixels()
        if sharp is None:
            albedo = F.interpolate(features[None, ALBEDO : ALBEDO + 3], scale_factor=2, mode="bilinear")[0]
        else:
            albedo = sharp.albedo
        source = self._places if sharp is None else self._places.index_select(0, sharp.source)
        gain, rest = _pixels(self._head(F.silu(h0)), source).view(6, HEIGHT, WIDTH).split(3)
        picture = torch.addcmul(rest, albedo.mul(0.5).add_(0.5), gain.add_(0.6))
        return picture if sharp is None else picture.lerp_(sharp.sky[:3], sharp.sky[3])

    def _entered(self, features: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """`[1, 32, 72, 128]`: the ray-wise layers, of which the first meets the light."""
        enter, narrow = self._network.enter, self._network.narrow
        assert enter.bias is not None and narrow.bias is not None
        factor = 1 + scale.float()
        weight = (enter.weight.flatten(1).float() * factor[:, None]).to(enter.weight.dtype)
        bias = torch.addcmul(shift.float(), enter.bias.float(), factor).to(enter.weight.dtype)
        # As products over rows of rays: no layer has to lay its input out anew, as convolutions do.
        rows = features.to(weight.dtype).flatten(1).t()
        inner = F.silu(torch.addmm(bias, rows, weight.t()), inplace=True)
        entered = torch.addmm(narrow.bias, inner, narrow.weight.flatten(1).t())
        return entered.view(1, RAY_ROWS, RAY_COLUMNS, -1).permute(0, 3, 1, 2)


def _pixel_places() -> Tensor:
    """`[144 * 256]`: of each pixel, where it lies among the four planes of pixels of the rays."""
    return F.pixel_shuffle(torch.arange(4 * RAY_ROWS * RAY_COLUMNS).view(4, RAY_ROWS, RAY_COLUMNS), 2).flatten()


def _pixels(told: Tensor, places: Tensor) -> Tensor:
    """`[6, 144 * 256]`: of what is `told [1, 24, 72, 128]` of rays, that at the `places` of pixels, as numbers."""
    planes = told[0].flatten(1).contiguous().view(6, -1)
    return planes.index_select(1, places).float()


class _Block:
    """See `convolutions.Block`."""

    def __init__(self, block: nn.Module, size: _Size) -> None:
        assert isinstance(block, Block)
        self._first, self._second = _Convolution(block.conv1, size), _Convolution(block.conv2, size)

    def __call__(self, x: Tensor) -> Tensor:
        return self._second.added_to(x, self._first.activated(F.silu(x)))


class _Convolution:
    """A convolution over pictures `[1, C, h, w]` of one size, its weights laid out for oneDNN where that is there."""

    def __init__(self, layer: nn.Conv2d, size: _Size) -> None:
        assert layer.bias is not None and isinstance(layer.padding, tuple)
        self._layer = layer
        padding, stride, dilation = list(layer.padding), list(layer.stride), list(layer.dilation)
        self._packed: list[Any] | None = None
        if packs(layer.weight.dtype):
            shape = [1, layer.in_channels, *size]
            weight = torch._C._nn.mkldnn_reorder_conv2d_weight(  # type: ignore[call-arg]
                layer.weight.to_mkldnn(), padding, stride, dilation, 1, shape
            )
            self._packed = [weight, layer.bias, padding, stride, dilation, 1]

    def __call__(self, x: Tensor) -> Tensor:
        """`[1, D, h, w]`"""
        return self._layer(x) if self._packed is None else _pointwise(x, *self._packed, "none", [], "")

    def activated(self, x: Tensor) -> Tensor:
        """The SiLU of the convolution."""
        if self._packed is None:
            return F.silu(self._layer(x))
        return _pointwise(x, *self._packed, "swish", [], "")

    def added_to(self, sum: Tensor, x: Tensor) -> Tensor:
        """`sum` and the convolution of `x`."""
        if self._packed is None:
            return sum + self._layer(x)
        return _pointwise.binary(x, sum, *self._packed, "add", 1.0, None, [], None)


_pointwise: Any = torch.ops.mkldnn._convolution_pointwise if torch.backends.mkldnn.is_available() else None


def packs(dtype: torch.dtype) -> bool:
    """Return True if this processor's oneDNN takes weights of a `dtype` that are laid out for it."""
    if _pointwise is None:
        return False
    return dtype is torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
