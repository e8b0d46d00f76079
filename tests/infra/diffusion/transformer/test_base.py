"""Defaults that a transformer inherits."""

from __future__ import annotations

import pytest
import torch

from flashdreams.infra.diffusion.transformer.base import Transformer, TransformerAutoregressiveCache


class Plain(Transformer[TransformerAutoregressiveCache]):
    """Only what must be written."""

    def __init__(self) -> None:
        super().__init__(None)
        self.seen: list[torch.Tensor] = []

    latent_shape = (2, 3)

    def predict_flow(self, noisy_latent, timestep, cache, input=None):  # type: ignore[no-untyped-def]
        self.seen.append(noisy_latent)
        return noisy_latent

    def patchify_and_maybe_split_cp(self, x):  # type: ignore[no-untyped-def]
        return x

    def unpatchify_and_maybe_gather_cp(self, x):  # type: ignore[no-untyped-def]
        return x


def test_transformer_defaults() -> None:
    plain = Plain()
    cache = plain.initialize_autoregressive_cache()
    latent = torch.ones(2, 3)
    assert plain.latent_shape_of(cache) == (2, 3)
    assert plain.unpatchify_of(latent, cache) is latent
    assert plain.postprocess_clean_latent(latent, cache) is latent
    assert (plain.device, plain.dtype) == (torch.device("cpu"), torch.float32)
    plain.finalize_kv_cache(latent, torch.zeros(()), cache)
    assert plain.seen == [latent]
    assert type(plain.initialize_autoregressive_cache(height=3)) is TransformerAutoregressiveCache
    with pytest.raises(TypeError, match="abstract"):
        Transformer(None)  # type: ignore[abstract]
