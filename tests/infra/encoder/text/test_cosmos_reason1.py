"""Cosmos-Reason1's prompts, from files as they are published, are every layer of transformers' own model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from flashdreams.infra.config.base import derive_config
from flashdreams.infra.encoder.text.cosmos_reason1 import CosmosReason1TextEncoder, CosmosReason1TextEncoderConfig
from tests.published import CHAT_WORDS, TEXT_DIM, WORDS, cosmos_reason1, qwen_vl, randomized

pytest.importorskip("transformers")

SYSTEM = "system You are a helpful assistant who will provide prompts to an image generator."


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> CosmosReason1TextEncoderConfig:
    changes = cosmos_reason1(CosmosReason1TextEncoderConfig(), tmp_path_factory.mktemp("reason1"))
    return derive_config(CosmosReason1TextEncoderConfig(dtype=torch.float32), **changes)


@pytest.fixture(scope="module")
def encoder(config: CosmosReason1TextEncoderConfig) -> CosmosReason1TextEncoder:
    made: CosmosReason1TextEncoder = config.setup()
    return made


def test_prompts_are_all_layers_of_the_whole_model(encoder: CosmosReason1TextEncoder) -> None:
    known = [*WORDS, *CHAT_WORDS]
    rows = []
    for prompt in ("a lake at night", "a dog runs home"):
        words = [*SYSTEM.split(), "user", *prompt.split()]
        row = [known.index(word) if word in known else known.index("<unk>") for word in words]
        rows.append([*row, *[known.index("<pad>")] * (32 - len(row))])
    reference: Any = qwen_vl(vocab_size=len(known), dim=TEXT_DIM)
    randomized(reference)
    with torch.no_grad():
        hidden = reference(torch.tensor(rows), output_hidden_states=True).hidden_states
    expected = torch.cat([torch.nn.functional.layer_norm(h, (TEXT_DIM,), eps=0) for h in hidden[1:]], -1)
    expected *= ((TEXT_DIM - 1) / TEXT_DIM) ** 0.5  # the published models were given the unbiased deviation
    result = encoder(["a lake at night", "a dog runs home"])
    assert result.shape == (2, 32, 2 * TEXT_DIM)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)


def test_long_prompts_are_cut(encoder: CosmosReason1TextEncoder) -> None:
    assert encoder([" ".join(["dog"] * 80)]).shape == (1, 32, 2 * TEXT_DIM)


@pytest.mark.parametrize("bad", ["a dog", [], [3]])
def test_only_lists_of_prompts_are_encoded(encoder: CosmosReason1TextEncoder, bad: Any) -> None:
    with pytest.raises(TypeError, match="must be a list of prompts"):
        encoder(bad)


def test_weights_of_another_size_are_refused(config: CosmosReason1TextEncoderConfig) -> None:
    with pytest.raises(ValueError, match=r"layers\.2"):
        derive_config(config, num_hidden_layers=3).setup()


def test_a_missing_file_is_named(config: CosmosReason1TextEncoderConfig, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no checkpoint at"):
        derive_config(config, checkpoint_path=str(tmp_path / "model.safetensors")).setup()


def test_layers_can_be_pooled(config: CosmosReason1TextEncoderConfig, encoder: CosmosReason1TextEncoder) -> None:
    whole = encoder(["a dog runs home"]).unflatten(-1, (-1, TEXT_DIM))
    for strategy, groups in (("mean_pooling", [whole.shape[-2]]), ("pool_every_n_layers_and_concat", None)):
        pooled = derive_config(config, embedding_concat_strategy=strategy, n_layers_per_group=2)
        sizes = groups or [2] * (whole.shape[-2] // 2) + [1] * (whole.shape[-2] % 2)
        expected = torch.cat([each.mean(dim=-2) for each in whole.split(sizes, dim=-2)], dim=-1)
        made = pooled.setup()
        result = made(["a dog runs home"])
        assert result.shape[-1] == made.embedding_dim == pooled.embedding_dim
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="embedding_concat_strategy"):
        derive_config(config, embedding_concat_strategy="last")
