"""The picture encoder gives CLIP's penultimate hidden states, from both forms of published weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from flashdreams.infra.config.base import derive_config
from flashdreams.infra.encoder.image.clip import CLIPImageEncoderConfig
from tests.published import clip_tensors

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def reference() -> Any:
    torch.manual_seed(0)
    sizes = transformers.CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        hidden_act="gelu",
    )
    model = transformers.CLIPVisionModel(sizes).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


def plain_keys(reference: Any) -> dict[str, torch.Tensor]:
    return {key.removeprefix("vision_model."): value.clone() for key, value in reference.state_dict().items()}


@pytest.fixture
def config(reference: Any, tmp_path: Path) -> CLIPImageEncoderConfig:
    save_file(clip_tensors(reference), tmp_path / "wan.safetensors")
    return CLIPImageEncoderConfig(
        checkpoint_path=str(tmp_path / "wan.safetensors"),
        dtype=torch.float32,
        image_size=28,
        patch_size=14,
        dim=16,
        ffn_dim=24,
        num_heads=2,
        num_layers=3,
    )


def test_the_result_is_the_hidden_state_before_the_last_block(config: CLIPImageEncoderConfig, reference: Any) -> None:
    picture = torch.rand(2, 3, 28, 28) * 2 - 1
    mean, std = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
    normalized = ((picture / 2 + 0.5) - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    with torch.no_grad():
        expected = reference(normalized, output_hidden_states=True).hidden_states[-2]
    result = config.setup()(picture)
    assert result.shape == (2, 1 + 4, 16)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)


def test_weights_with_the_keys_of_transformers_load_too(
    config: CLIPImageEncoderConfig, reference: Any, tmp_path: Path
) -> None:
    tensors = {f"vision_model.{key}": value for key, value in plain_keys(reference).items()}
    tensors["vision_model.embeddings.position_ids"] = torch.arange(5)[None]
    save_file(tensors, tmp_path / "transformers.safetensors")
    other = derive_config(config, checkpoint_path=str(tmp_path / "transformers.safetensors")).setup()
    picture = torch.rand(1, 3, 28, 28)
    assert torch.equal(other(picture), config.setup()(picture))


def test_pictures_of_any_size_and_with_a_time_axis_are_taken(config: CLIPImageEncoderConfig) -> None:
    encoder = config.setup()
    picture = torch.rand(1, 3, 50, 40)
    assert torch.equal(encoder(picture[:, None]), encoder(picture))


@pytest.mark.parametrize("shape", [(3, 28, 28), (1, 4, 28, 28), (1, 2, 3, 28, 28)])
def test_other_shapes_are_refused(config: CLIPImageEncoderConfig, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"got \("):
        config.setup()(torch.zeros(shape))
