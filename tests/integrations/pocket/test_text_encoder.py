"""Words of visitors: the shipped text encoder, its exact arithmetic, its training, and how it is judged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from flashdreams.integrations.pocket.assets import WORD_WEIGHTS, asset_folder
from flashdreams.integrations.pocket.evaluation.text_encoder import (
    accepted,
    figures,
    generous,
    judged,
    worse_single_words,
)
from flashdreams.integrations.pocket.evaluation.word_lookup import known_words, looked_up
from flashdreams.integrations.pocket.evaluation.word_sentences import HAND_WRITTEN
from flashdreams.integrations.pocket.evaluation.words_obeyed import obeyed
from flashdreams.integrations.pocket.evaluation.words_page import page
from flashdreams.integrations.pocket.tiles.meanings import OUTPUTS
from flashdreams.integrations.pocket.tiles.text_encoder import WordEncoder, Words, remark, understand, word_encoder
from flashdreams.integrations.pocket.tiles.word_network import DILATIONS, WordNetwork, load_word_network
from flashdreams.integrations.pocket.tiles.word_network import save_word_network as save_network
from flashdreams.integrations.pocket.tiles.word_tokens import SPECIAL
from flashdreams.integrations.pocket.training.train_words import Corpus, loss_of, train

WEIGHTS = asset_folder() / WORD_WEIGHTS
HAND = [(text, accepted(notation)) for text, notation in HAND_WRITTEN]


@pytest.fixture(scope="module")
def encoder() -> WordEncoder:
    return word_encoder()


def test_the_weights_are_small_and_hold_their_vocabulary(encoder: WordEncoder) -> None:
    assert WEIGHTS.stat().st_size < 300 * 1024
    assert encoder.vocabulary[: len(SPECIAL)] == list(SPECIAL) and 400 <= len(encoder.vocabulary) <= 800
    assert {"forest", "without", "lantern", "midnight", "crimson"} <= set(encoder.vocabulary)
    assert encoder.network.table.shape[0] == len(encoder.vocabulary)


def test_lines_written_by_hand_are_understood_better_than_by_the_lookup(encoder: WordEncoder) -> None:
    assert len(HAND) >= 120
    ours, lookup = figures(HAND, encoder.meaning), figures([(t, generous(e)) for t, e in HAND], looked_up)
    assert ours["slots_right"] >= 0.9 > lookup["slots_right"] + 0.2


def test_no_single_word_is_understood_worse_than_by_the_lookup(encoder: WordEncoder) -> None:
    # "houses" meant a town as well to the lookup; a desert may have houses.
    assert len(known_words()) > 90 and set(worse_single_words(encoder)) <= {"houses"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no trees but many houses", Words(attributes={"trees": 0.0, "houses": 1.0})),
        ("a desert without rocks", Words(("desert",), attributes={"rocks": 0.0})),
        ("not a forest", Words(without=("forest",))),
        ("quarter past nine in the evening", Words(hour=21.25)),
        ("red roofs", Words(colours={"roof": "red"})),
        ("less fog", Words(fog=0.25)),
        ("", Words()),
        ("xyzzy", Words(unknown=("xyzzy",))),
    ],
)
def test_scope_and_order_count(text: str, expected: Words) -> None:
    assert understand(text) == expected


def test_unknown_words_are_named_with_the_nearest_and_slips_as_they_are_read() -> None:
    told = remark(understand("a mouse in the forrest"))
    assert told is not None and "mouse" in told and "house" in told and "forrest" in told and "forest" in told
    assert remark(understand("a snowy village")) is None


def test_words_said_later_replace_kinds_and_add_the_rest() -> None:
    first = Words(("forest", "snow"), ("town",), ("coast",), {"trees": 1.0}, {"roof": "red"}, hour=3.0)
    assert first.updated(Words(("desert",))) == Words(("desert",), (), (), {"trees": 1.0}, {"roof": "red"})
    later = first.updated(Words(without=("forest",), rare=("coast",), attributes={"trees": 0.0}))
    assert later == Words(("snow",), ("town", "coast"), ("forest",), {"trees": 0.0}, {"roof": "red"})
    assert not Words(hour=3.0, rain=1.0).changes_land and Words(without=("forest",)).changes_land


def to_sixteenths(total: np.ndarray, unit: int) -> np.ndarray:
    """Round multiples of 2^-unit to multiples of 1/16, halves to even ones."""
    shift = unit - 4
    low, rest = total >> shift, total & ((1 << shift) - 1)
    half = 1 << (shift - 1)
    return low + ((rest > half) | ((rest == half) & (low % 2 == 1)))


def in_whole_numbers(path: Path, tokens: list[int]) -> np.ndarray:
    """The network's logits by int64 arithmetic alone, from the file."""
    with safe_open(path, "pt") as file:
        exponents = json.loads(file.metadata()["exponents"])
    raw = {name: value.numpy().astype(np.int64) for name, value in load_file(path).items()}

    def bias(name: str, unit: int) -> np.ndarray:
        assert unit >= 8
        return raw[f"{name}.bias"] << (unit - 8)

    def linear(name: str, x: np.ndarray) -> tuple[np.ndarray, int]:
        """Of `x` in sixteenths: sums, and the unit that they are in."""
        unit = 4 + exponents[f"{name}.weight"]
        return x @ raw[f"{name}.weight"].T + bias(name, unit), unit

    x, unit = raw["table"][tokens], exponents["table"]
    for number, dilation in enumerate(DILATIONS):
        name = f"layers.{number}"
        shift = exponents[f"{name}.weight"]
        wide = np.pad(np.maximum(x, 0), ((dilation, dilation), (0, 0)))
        taps = [wide[k * dilation : k * dilation + len(x)] @ raw[f"{name}.weight"][:, :, k].T for k in (2, 1, 0)]
        x, unit = to_sixteenths((x << shift) + sum(taps) + bias(name, unit + shift), unit + shift), 4
    pooled = np.maximum(to_sixteenths(*linear("pool", x)), 0).max(0)
    hidden = np.maximum(to_sixteenths(*linear("hidden", pooled)), 0)
    total, unit = linear("out", hidden)
    return total / 2.0**unit


def test_decisions_are_exact_arithmetic(encoder: WordEncoder) -> None:
    """Whole numbers summed in another order give the same bits: no processor can decide otherwise."""
    numbers = {word: index for index, word in enumerate(encoder.vocabulary)}
    tokens = [numbers[word] for word in "few red house by a lake".split()]
    logits = encoder.network(torch.tensor([tokens]))[0]
    assert logits.dtype == torch.float64 and logits.shape == (OUTPUTS,)
    assert np.array_equal(logits.numpy(), in_whole_numbers(WEIGHTS, tokens))
    padded = encoder.network(torch.tensor([[*tokens, 0, 0, 0]]))[0]
    assert torch.equal(padded, logits), "what is empty does not count"


def test_what_is_trained_is_what_is_kept(tmp_path: Path) -> None:
    corpus = Corpus(128, seed=3)
    network = train(corpus, 6, report=100)
    tokens, outcomes = next(corpus.batches(torch.Generator().manual_seed(0)))
    torch.manual_seed(11)
    with torch.no_grad():
        assert loss_of(network(tokens), outcomes) < 0.9 * loss_of(WordNetwork(len(corpus.vocabulary))(tokens), outcomes)
    save_network(network, corpus.vocabulary, 6, tmp_path / "words.safetensors")
    kept, vocabulary = load_word_network(tmp_path / "words.safetensors")
    assert vocabulary == corpus.vocabulary
    assert torch.allclose(kept(tokens).float(), network(tokens), atol=0.3)


def test_the_page_of_words_is_up_to_date(encoder: WordEncoder) -> None:
    docs = Path(__file__).resolve().parents[3] / "docs" / "words.md"
    assert docs.read_text(encoding="utf-8") == page(encoder)


def test_other_files_are_refused(tmp_path: Path) -> None:
    save_file({"table": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    with pytest.raises(RuntimeError, match="vocabulary"):
        load_word_network(tmp_path / "other.safetensors")


def test_the_notation_of_meanings_and_the_judgement() -> None:
    expected = accepted("snow -town ~coast trees=0 houses=2|none wall:red hour=18.75")
    assert expected["houses"] == {2.0, None} and expected["wall"] == {"red"}
    got = {"snow": "asked", "town": "refused", "coast": "a little", "trees": 0, "wall": "red", "hour": 18, "quarter": 3}
    assert all(judged(expected, got).values())
    wrong = judged(expected, {**got, "trees": 2, "rocks": 7, "hour": 6})
    assert [name for name, right in wrong.items() if not right] == ["hour", "rocks", "trees"]
    share = figures([("x", expected)], lambda _: got)
    assert share["slots_right"] == share["lines_right"] == share["all_slots_right"] == 1


def test_a_plan_obeys_what_is_understood_and_nothing_else(encoder: WordEncoder) -> None:
    good = obeyed(encoder, [("a forest without houses at night", accepted("forest houses=0 hour=23"))])
    assert good["prompts_obeyed"] == 1
    other = obeyed(encoder, [("a forest", accepted("desert houses=0")), ("xyzzy", accepted("roof:red"))])
    assert other["slots_obeyed"] == 0
