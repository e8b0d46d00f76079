"""The text encoder loads both forms of published weights and is zero beyond each prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from flashdreams.infra.config.base import derive_config
from flashdreams.infra.encoder.text.umt5 import UMT5TextEncoderConfig, prompt_clean
from tests.published import save_tokenizer, umt5_tensors

transformers = pytest.importorskip("transformers")

WORDS = ["<pad>", "</s>", "<unk>", "a", "dog", "runs", "home"]


@pytest.fixture(scope="module")
def reference() -> Any:
    torch.manual_seed(0)
    sizes = transformers.UMT5Config(
        vocab_size=len(WORDS), d_model=16, d_kv=4, d_ff=24, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu"
    )
    model = transformers.UMT5EncoderModel(sizes).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


@pytest.fixture
def config(reference: Any, tmp_path: Path) -> UMT5TextEncoderConfig:
    save_tokenizer(tmp_path / "tokenizer", WORDS)
    save_file({key: value.clone() for key, value in umt5_tensors(reference).items()}, tmp_path / "wan.safetensors")
    return UMT5TextEncoderConfig(
        checkpoint_path=str(tmp_path / "wan.safetensors"),
        tokenizer_path=str(tmp_path / "tokenizer"),
        dtype=torch.float32,
        text_len=8,
        vocab_size=len(WORDS),
        dim=16,
        ffn_dim=24,
        num_heads=4,
        head_dim=4,
        num_layers=2,
    )


def test_prompts_are_encoded_alone_and_zero_beyond_their_end(config: UMT5TextEncoderConfig, reference: Any) -> None:
    encoder = config.setup()
    result = encoder(["a dog runs", "home"])
    assert result.shape == (2, 8, 16)
    assert (result[0, 4:] == 0).all()
    assert (result[1, 2:] == 0).all()
    with torch.no_grad():
        for row, tokens in ((0, [3, 4, 5, 1]), (1, [6, 1])):
            alone = reference(torch.tensor([tokens])).last_hidden_state[0]
            torch.testing.assert_close(result[row, : len(tokens)], alone, rtol=1e-5, atol=1e-5)


def test_weights_with_the_keys_of_transformers_load_too(
    config: UMT5TextEncoderConfig, reference: Any, tmp_path: Path
) -> None:
    expected = config.setup()(["a dog"])
    tensors = {k: v.clone() for k, v in reference.state_dict().items() if k != "encoder.embed_tokens.weight"}
    save_file(tensors, tmp_path / "transformers.safetensors")
    other = derive_config(config, checkpoint_path=str(tmp_path / "transformers.safetensors")).setup()
    assert torch.equal(other(["a dog"]), expected)


def test_weights_of_another_size_are_refused(config: UMT5TextEncoderConfig) -> None:
    with pytest.raises(ValueError, match=r"encoder\.block\.2"):
        derive_config(config, num_layers=3).setup()


def test_long_prompts_are_refused_before_the_network_is_loaded(config: UMT5TextEncoderConfig) -> None:
    config = derive_config(config, checkpoint_path="nowhere")
    with pytest.raises(ValueError, match=r"text\[1\] has 41 tokens, the model reads at most 8: say it in fewer words"):
        config.check_prompts(["dog", " ".join(["dog"] * 40)])
    config.check_prompts(["dog " * 7])


def test_a_tokenizer_that_is_nowhere_is_told_in_one_sentence(
    config: UMT5TextEncoderConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "empty").mkdir()
    with pytest.raises(OSError, match=r"there is no tokenizer at '.*empty': connect once .* or set tokenizer_path to"):
        derive_config(config, tokenizer_path=str(tmp_path / "empty")).setup()


def test_the_encoder_refuses_long_prompts_too(config: UMT5TextEncoderConfig) -> None:
    encoder = config.setup()
    assert (encoder(["dog " * 7])[0] != 0).any(dim=-1).all()
    with pytest.raises(ValueError, match=r"text\[0\] has 9 tokens"):
        encoder(["dog " * 8])


@pytest.mark.parametrize("bad", ["a dog", [], [3]])
def test_only_lists_of_prompts_are_encoded(config: UMT5TextEncoderConfig, bad: Any) -> None:
    with pytest.raises(TypeError, match="must be a list of prompts"):
        config.setup()(bad)


def test_prompts_are_cleaned() -> None:
    assert prompt_clean("  a &amp;amp; b\n\tc ") == "a & b c"


def test_a_folder_of_diffusers_layout_gives_weights_and_tokenizer(
    config: UMT5TextEncoderConfig, reference: Any, tmp_path: Path
) -> None:
    model = tmp_path / "wan"
    save_tokenizer(model / "tokenizer", WORDS)
    reference.save_pretrained(model / "text_encoder")
    local = derive_config(config, model_id_or_local_path=str(model), checkpoint_path="absent", tokenizer_path="absent")
    assert torch.equal(local.setup()(["a dog"]), config.setup()(["a dog"]))
    with pytest.raises(ValueError, match="model_id_or_local_path"):
        UMT5TextEncoderConfig(model_id_or_local_path="somebody/else").files()
