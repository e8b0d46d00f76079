"""Ways to give latents to the network: stamped over the noise, as further channels, at their own timestep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flashdreams.recipes.wan.autoencoder.i2v import I2VCtrl

MASK_CHANNELS = 4
"""Mask channels that an image-to-video network reads: one for each pixel frame of a latent frame."""


@dataclass(frozen=True)
class ImageModes:
    """The uses that a transformer makes of an `I2VCtrl`; they compose."""

    stamp: bool
    """Given latents replace the noisy ones before every step, and the clean ones at the end."""
    concat: bool
    """Mask and latents are further channels of the network's input."""
    first_timestep: float | None
    """The timestep of given tokens in the first chunk; None tells the network the same timestep for all."""


class ImageConditions:
    """A rollout's buffers for the image control of its present chunk: filled once per chunk, used by every step."""

    def __init__(
        self, modes: ImageModes, shape: Sequence[int], patch: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        """`shape [..., L, C patch]` of a chunk's tokens, `patch` latent positions per token and channel."""
        self.modes, self.patch, self.shape = modes, patch, tuple(shape)
        self.present: int | None = None
        """The chunk that the buffers are filled for."""
        *tokens, self.features = shape
        read = 2 * self.features + MASK_CHANNELS * patch if modes.concat else self.features
        self._input = torch.zeros(*tokens, read, device=device, dtype=dtype)
        self._image = torch.zeros(self.shape, device=device, dtype=dtype)
        self._given = torch.zeros(self.shape, device=device, dtype=torch.bool)
        self._given_tokens = torch.zeros(tokens, device=device, dtype=torch.bool)
        self._timesteps = torch.zeros(tokens, device=device, dtype=torch.float32)
        with torch.inference_mode(False):  # what the network makes of it is kept only if it can be seen not to change
            self.first_timestep = torch.full((1,), modes.first_timestep or 0.0, device=device)

    def load(self, control: I2VCtrl | None, chunk: int) -> None:
        """Take the patchified control of chunk `chunk`; ValueError for none or for other shapes."""
        self._check(control)
        assert control is not None
        mask = control.mask.to(self._input.dtype).unflatten(-1, (-1, self.patch))
        given = mask.amin(-2) > 0.5
        self._image.copy_(control.latent)
        self._given.unflatten(-1, (-1, self.patch)).copy_(given.unsqueeze(-2).expand(*given.shape[:-1], -1, -1))
        self._given_tokens.copy_(given.all(-1))
        if self.modes.concat:
            first, second = self.features, self.features + MASK_CHANNELS * self.patch
            self._input[..., first:second].unflatten(-1, (-1, self.patch)).copy_(mask)
            self._input[..., second:].copy_(control.latent)
        self.present = chunk

    def network_input(self, noisy: Tensor) -> Tensor:
        """Return the tokens that the network reads at a step; a buffer that the next step overwrites."""
        part = self._input[..., : self.features]
        if self.modes.stamp:
            torch.where(self._given, self._image, noisy, out=part)
        else:
            part.copy_(noisy)
        return self._input

    @property
    def given_tokens(self) -> Tensor | None:
        """Boolean `[..., L]`: the tokens that have a timestep of their own; None where all have the sampler's."""
        return None if self.modes.first_timestep is None or self.present != 0 else self._given_tokens

    def timesteps(self, timestep: Tensor) -> Tensor:
        """`timestep` (scalar, per batch or per token) as the network is told it, per token `[..., L]`."""
        self._timesteps.copy_(timestep.unsqueeze(-1) if timestep.shape == self.shape[:-2] != () else timestep)
        return torch.where(self._given_tokens, self.first_timestep, self._timesteps, out=self._timesteps)

    def stamped(self, clean: Tensor) -> Tensor:
        """Return the clean tokens with the given ones in their places."""
        return torch.where(self._given, self._image.to(clean.dtype), clean) if self.modes.stamp else clean

    def _check(self, control: I2VCtrl | None) -> None:
        if not isinstance(control, I2VCtrl):
            given = "None" if control is None else type(control).__name__
            raise ValueError(f"input must be an I2VCtrl at every chunk of an image-to-video transformer, got {given}")
        tokens = self.shape[:-1]
        if control.latent.shape != self.shape:
            raise ValueError(
                f"the image latent must be {list(self.shape)} in tokens, as the chunk is, "
                f"got {list(control.latent.shape)}"
            )
        if control.mask.shape[:-1] != tokens or control.mask.shape[-1] not in (
            self.patch,
            MASK_CHANNELS * self.patch,
        ):
            wanted = f"{[*tokens, self.patch]} or {[*tokens, MASK_CHANNELS * self.patch]} in tokens (1 or 4 channels)"
            raise ValueError(f"the image mask must be {wanted}, got {list(control.mask.shape)}")
