"""Published files of TAEHV: what is kept of them, and layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from flashdreams.recipes.taehv import (
    TAEHV,
    TeahvVAEDecoder,
    TeahvVAEDecoderConfig,
    compose,
    legacy_to_blocks_keys,
    lighttae_state_dict_transform,
    truncate_oversize_tgrow_weights,
)


def tiny_config(**changes: object) -> TeahvVAEDecoderConfig:
    sizes = {"checkpoint_path": None, "dtype": torch.float32, "latent_channels": 4, "widths": (8, 8, 6, 6)}
    return TeahvVAEDecoderConfig(**(sizes | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def decoder() -> TeahvVAEDecoder:
    torch.manual_seed(0)
    decoder: TeahvVAEDecoder = tiny_config().setup()
    with torch.no_grad():  # Random weights as they come give nearly one colour: a lively video sees more faults.
        for parameter in decoder.parameters():
            parameter.mul_(1.7)
        decoder.decoder[-1].bias.fill_(0.5)
    return decoder


def latents(frames: int, seed: int = 0, batch: tuple[int, ...] = (1,), height: int = 3, width: int = 2) -> Tensor:
    return torch.randn(*batch, frames, 4, height, width, generator=torch.Generator().manual_seed(seed))


def test_transform_keeps_the_decoder_and_the_last_rows_of_decoder_7() -> None:
    published = {
        "encoder.0.weight": torch.zeros(64, 3, 3, 3),
        "decoder.7.conv.weight": torch.arange(512 * 256.0).view(512, 256, 1, 1),
        "decoder.13.conv.weight": torch.ones(256, 128, 1, 1),
    }
    ours = lighttae_state_dict_transform(published)
    assert list(ours) == ["decoder.7.conv.weight", "decoder.13.conv.weight"]
    assert torch.equal(ours["decoder.7.conv.weight"], published["decoder.7.conv.weight"][-256:])
    assert ours["decoder.13.conv.weight"].shape == (256, 128, 1, 1)


def test_transforms_compose_and_both_layouts_load(decoder: TeahvVAEDecoder, tmp_path: Path) -> None:
    published = dict(decoder.state_dict())
    published["decoder.7.conv.weight"] = torch.cat([torch.zeros(8, 8, 1, 1), published["decoder.7.conv.weight"]])
    transform = compose(legacy_to_blocks_keys, truncate_oversize_tgrow_weights(channels=(8, 8, 6, 6)))
    renamed = transform(published)
    assert set(renamed) == {key.replace("decoder.", "decoder.blocks.") for key in published}
    assert renamed["decoder.blocks.7.conv.weight"].shape == (8, 8, 1, 1)
    torch.save(published, tmp_path / "published.pth")
    sizes: dict[str, Any] = {"latent_channels": 4, "channels": (8, 8, 6, 6)}
    models = [
        TAEHV(str(tmp_path / "published.pth"), **sizes),
        TAEHV(str(tmp_path / "published.pth"), **sizes, state_dict_transform=transform),
    ]
    expected = (decoder(latents(3)) + 1) / 2
    for model in models:
        torch.testing.assert_close(model.decode(latents(3)), expected, rtol=0, atol=1e-5)
        cache = model.prepare_cache()
        chunks = [model.decode(latents(3)[:, :1], cache), model.decode(latents(3)[:, 1:], cache)]
        torch.testing.assert_close(torch.cat(chunks, 1), expected, rtol=0, atol=1e-5)
        assert len(cache.dec_state) == 9
