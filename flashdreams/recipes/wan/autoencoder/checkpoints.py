"""Files of Wan's video autoencoders: what a file holds is read from its keys and shapes, whatever it is called."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from flashdreams.core.checkpoint import load_into, remap_keys, rename_checkpoint_keys
from flashdreams.core.checkpoint.lazy_state_dict import shape_of
from flashdreams.core.checkpoint.load import open_checkpoint

StateDictTransform = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
Half = Literal["encoder", "decoder"]
Patterns = list[tuple[str, str | None]]

WAN22_TI2V_5B_VAE_PATH = "hf://Wan-AI/Wan2.2-TI2V-5B/Wan2.2_VAE.pth"
"""Wan 2.2 TI2V 5B's autoencoder with the official keys."""
WAN22_TI2V_5B_VAE_DIFFUSERS_PATH = (
    "https://huggingface.co/Wan-AI/Wan2.2-TI2V-5B-Diffusers/resolve/main/vae/diffusion_pytorch_model.safetensors"
)
"""The same with diffusers' keys."""
AVAILABLE_WAN_VAE_CHECKPOINT_PATHS = {
    "vae": "https://huggingface.co/lightx2v/Autoencoders/resolve/main/Wan2.1_VAE.pth",
    "lightvae": "https://huggingface.co/lightx2v/Autoencoders/resolve/main/lightvaew2_1.safetensors",
    "wan22_ti2v_5b": WAN22_TI2V_5B_VAE_DIFFUSERS_PATH,
}
"""Published autoencoders: of Wan 2.1 and Wan 2.2's 14B models; one distilled from it, with `base_dim` 24 and the same
latents; and of Wan 2.2 TI2V 5B."""
LIGHTVAE_BASE_DIM = 24

_ANCHORS = {
    "official": ("encoder.conv1.weight", "decoder.conv1.weight"),
    "diffusers": ("encoder.conv_in.weight", "decoder.conv_in.weight"),
}
_OF_STAGES = re.compile(
    r"(encoder\.downsamples\.\d+\.downsamples|decoder\.upsamples\.\d+\.upsamples"
    r"|encoder\.down_blocks\.\d+\.resnets|decoder\.up_blocks\.\d+\.upsampler)\."
)
_LAYERS_PER_STAGE = 4
"""Layers of a decoder's stage in the official numbering: three blocks and an upsampling."""
_OTHER_HALF: dict[Half, str] = {"encoder": r"^(decoder|conv2)\.", "decoder": r"^(encoder|conv1)\."}
_DIFFUSERS_NAMES = (
    (r"\.norm1\.", ".residual.0."),
    (r"\.conv1\.", ".residual.2."),
    (r"\.norm2\.", ".residual.3."),
    (r"\.conv2\.", ".residual.6."),
    (r"\.conv_shortcut\.", ".shortcut."),
    (r"\.mid_block\.resnets\.0\.", ".middle.0."),
    (r"\.mid_block\.attentions\.0\.", ".middle.1."),
    (r"\.mid_block\.resnets\.1\.", ".middle.2."),
    (r"\.conv_in\.", ".conv1."),
    (r"\.norm_out\.", ".head.0."),
    (r"\.conv_out\.", ".head.2."),
    (r"^quant_conv\.", "conv1."),
    (r"^post_quant_conv\.", "conv2."),
)


@dataclass(frozen=True, kw_only=True)
class WanVAEShape:
    """The sizes in which Wan's autoencoders differ. None where a file holds one half only."""

    is_residual: bool
    """True for the stages of Wan 2.2."""
    base_dim: int | None
    """Channels of the encoder's first stage."""
    decoder_base_dim: int | None
    """Channels of the decoder's last stage."""
    z_dim: int
    """Channels of a latent."""
    patch_size: int
    """Pixels along a side that the networks treat as channels of one position."""


WAN21_BASE_DIM = 96
WAN21_SHAPE = WanVAEShape(
    is_residual=False, base_dim=WAN21_BASE_DIM, decoder_base_dim=WAN21_BASE_DIM, z_dim=16, patch_size=1
)
"""Wan 2.1's."""


def wan_vae_key_patterns(keys: Iterable[str]) -> Patterns:
    """Return the patterns, as for `rename_checkpoint_keys`, that make the official keys of a file's `keys`.

    The file may have the official keys or those of diffusers' `AutoencoderKLWan`, below a prefix (`vae.`) or not; what
    is beside the prefix belongs to other models and is dropped. Raises ValueError that names some of the keys for any
    other file.
    """
    keys = list(keys)
    for naming, anchors in _ANCHORS.items():
        for key in keys:
            anchor = next((each for each in anchors if key == each or key.endswith(f".{each}")), None)
            if anchor is None:
                continue
            prefix = re.escape(key[: -len(anchor)])
            patterns: Patterns = [(f"^(?!{prefix})", None), (f"^{prefix}", "")] if prefix else []
            return patterns + (_diffusers_patterns(_has_stages(keys)) if naming == "diffusers" else [])
    wanted = " nor ".join(f"{naming} ({', '.join(anchors)})" for naming, anchors in _ANCHORS.items())
    shown = ", ".join(keys[:3]) or "nothing"
    raise ValueError(f"no autoencoder of Wan's is in it: its keys are neither {wanted}; it holds {shown} ...")


def wan22_ti2v_5b_vae_state_dict_transform(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of an autoencoder of Wan's, from diffusers' layout (or the official one already), by official keys.

    Raises ValueError for a state dict of anything else.
    """
    return rename_checkpoint_keys(state_dict, wan_vae_key_patterns(state_dict))


def read_wan_vae_shape(tensors: Mapping[str, Tensor]) -> WanVAEShape:
    """Recognise the autoencoder of a state dict or an opened checkpoint by keys and shapes alone.

    Raises ValueError when it is none of Wan's, or when the tensors that tell are not there.
    """
    patterns = wan_vae_key_patterns(tensors)
    old_keys = remap_keys(tensors, patterns)

    def size(key: str, dim: int) -> int | None:
        if key not in old_keys:
            return None
        old = old_keys[key]
        shape = shape_of(tensors, old)
        return shape[dim] if dim < len(shape) else None

    first, last = size("encoder.conv1.weight", 1), size("decoder.head.2.weight", 0)
    latent, mean_and_variance = size("decoder.conv1.weight", 1), size("encoder.head.2.weight", 0)
    z_dim = latent if latent is not None else mean_and_variance and mean_and_variance // 2
    channels = first if first is not None else last
    if not z_dim or not channels:
        raise ValueError("it is cut short: the first and last layers of a Wan autoencoder are not all in it")
    return WanVAEShape(
        is_residual=_has_stages(tensors),
        base_dim=size("encoder.conv1.weight", 0),
        decoder_base_dim=size("decoder.head.2.weight", 1),
        z_dim=z_dim,
        patch_size=math.isqrt(channels // 3),
    )


def load_wan_vae_half(
    module: nn.Module, half: Half, wanted: WanVAEShape, path: str | Path, transform: StateDictTransform | None
) -> None:
    """Load the `half` of an autoencoder that `module` is, tensor by tensor, from what `load_checkpoint` takes.

    `transform` is applied to the file's tensors first. Raises ValueError in one sentence for a file of another
    autoencoder than `wanted`, else one that lists the keys that are missing, unexpected or of another shape;
    FileNotFoundError or ConnectionError where there is no file.
    """
    tensors = open_checkpoint(path)
    if transform is not None:
        tensors = transform(tensors)
    try:
        patterns = wan_vae_key_patterns(tensors)
        _check_shape(read_wan_vae_shape(tensors), wanted, half)
    except ValueError as error:
        raise ValueError(f"{path} does not fit: {error}") from error
    load_into(module, tensors, patterns=[*patterns, (_OTHER_HALF[half], None)], name=path)


def _check_shape(found: WanVAEShape, wanted: WanVAEShape, half: Half) -> None:
    relevant = ["is_residual", "z_dim", "patch_size", "base_dim" if half == "encoder" else "decoder_base_dim"]
    pairs = [(name, getattr(found, name), getattr(wanted, name)) for name in relevant]
    if pairs[-1][1] is None:
        raise ValueError(f"it holds no {half}, only the other half of an autoencoder")
    wrong = [(name, is_, should) for name, is_, should in pairs if is_ != should]
    if wrong:
        is_, should = (", ".join(f"{each[0]} {each[i]}" for each in wrong) for i in (1, 2))
        raise ValueError(f"it is another autoencoder of Wan's: it has {is_}, the config says {should}")


def _has_stages(keys: Iterable[str]) -> bool:
    return any(_OF_STAGES.search(key) for key in keys)


def _diffusers_patterns(stages: bool) -> Patterns:
    """From diffusers' names to the official ones; `stages`: those of 2.2."""
    patterns: Patterns = []
    if stages:
        patterns += [
            (r"^encoder\.down_blocks\.(\d+)\.resnets\.(\d+)\.", r"encoder.downsamples.\1.downsamples.\2."),
            (r"^encoder\.down_blocks\.(\d+)\.downsampler\.", r"encoder.downsamples.\1.downsamples.2."),
            (r"^decoder\.up_blocks\.(\d+)\.resnets\.(\d+)\.", r"decoder.upsamples.\1.upsamples.\2."),
            (r"^decoder\.up_blocks\.(\d+)\.upsampler\.", r"decoder.upsamples.\1.upsamples.3."),
        ]
    else:
        patterns.append((r"^encoder\.down_blocks\.", "encoder.downsamples."))
        for stage in range(4):
            old, first = rf"^decoder\.up_blocks\.{stage}", stage * _LAYERS_PER_STAGE
            patterns += [(rf"{old}\.resnets\.{i}\.", f"decoder.upsamples.{first + i}.") for i in range(3)]
            patterns.append((rf"{old}\.upsamplers\.0\.", f"decoder.upsamples.{first + 3}."))
    return patterns + list(_DIFFUSERS_NAMES)
