"""Trains the text encoder on the grammar's sentences: minutes on one core.

python -m flashdreams.integrations.pocket.training.train_words --output assets/pocket/words.safetensors
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from flashdreams.integrations.pocket.tiles.meanings import SLOTS, class_indices
from flashdreams.integrations.pocket.tiles.word_network import WIDTH, WordNetwork, save_word_network
from flashdreams.integrations.pocket.tiles.word_tokens import known_form
from flashdreams.integrations.pocket.training.word_grammar import sentence, single_words, vocabulary_of, word_groups

SENTENCES = 150_000
"""Sentences that are learnt from; most are met several times."""
BATCH = 128
RATE = 4e-3
SINGLE_EVERY = 24
"""Among so many sentences one is a word by itself."""
SORTED_BATCHES = 16
"""Batches that are sorted by length together, so that little is padded."""


class Corpus:
    """Sentences as numbers of words, with the outcomes of all slots."""

    def __init__(self, count: int, seed: int) -> None:
        rng, alone = random.Random(seed), list(single_words().items())
        pairs = [rng.choice(alone) if k % SINGLE_EVERY == 0 else sentence(rng) for k in range(count)]
        self.vocabulary = vocabulary_of(text for text, _ in pairs)
        numbers = {word: index for index, word in enumerate(self.vocabulary)}
        known = frozenset(numbers)
        forms: dict[str, int] = {}
        for text, _ in pairs:
            for word in text.split():
                if word not in forms:
                    forms[word] = numbers[known_form(word, known) or "<unknown>"]
        self.tokens = [[forms[word] for word in text.split()] for text, _ in pairs]
        self.outcomes = torch.tensor([class_indices(meaning) for _, meaning in pairs])

    def batches(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches without end: `[B, T]` numbers of words, 0 after the last, and `[B, slots]` outcomes."""
        while True:
            order = torch.randperm(len(self.tokens), generator=generator)
            for chunk in order.split(BATCH * SORTED_BATCHES):
                by_length = sorted(chunk.tolist(), key=lambda k: len(self.tokens[k]))
                groups = torch.tensor(by_length).split(BATCH)
                for group in (groups[k] for k in torch.randperm(len(groups), generator=generator)):
                    rows = [torch.tensor(self.tokens[k]) for k in group]
                    yield torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), self.outcomes[group]


def first_table(vocabulary: list[str], generator: torch.Generator) -> Tensor:
    """Embeddings to begin with: words that the lexicon has in one group begin alike, and learn to differ."""
    groups = word_groups()
    names = sorted({name for each in groups.values() for name in each})
    common = dict(zip(names, torch.randn(len(names), WIDTH, generator=generator) * 0.5, strict=True))
    table = torch.randn(len(vocabulary), WIDTH, generator=generator) * 0.2
    for row, word in zip(table, vocabulary, strict=True):
        for name in sorted(groups.get(word, ())):
            row += common[name]
    return table


def loss_of(logits: Tensor, outcomes: Tensor) -> Tensor:
    """Cross-entropy of `logits [B, OUTPUTS]`, summed over the slots."""
    parts = logits.split([len(each) for each in SLOTS.values()], 1)
    return torch.stack([F.cross_entropy(part, outcomes[:, k]) for k, part in enumerate(parts)]).sum()


def train(
    corpus: Corpus, steps: int, *, seed: int = 11, report: int = 100, rate: float = RATE, output: Path | None = None
) -> WordNetwork:
    """Train a network on `corpus` for `steps`, and write it to `output` at every report."""
    torch.manual_seed(seed)
    network = WordNetwork(len(corpus.vocabulary))
    with torch.no_grad():
        network.table.copy_(first_table(corpus.vocabulary, torch.Generator().manual_seed(seed)))
        for layer in network.layers:
            assert isinstance(layer, torch.nn.Conv1d)
            layer.weight.normal_(std=0.04)
    torch.nn.init.normal_(network.out.weight, std=0.02)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-2, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=max(steps, 2), pct_start=0.1)
    batches, total, began = corpus.batches(torch.Generator().manual_seed(seed)), 0.0, time.monotonic()
    for step in range(steps):
        tokens, outcomes = next(batches)
        loss = loss_of(network(tokens), outcomes)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimizer.step()
        schedule.step()
        total += loss.item()
        if (step + 1) % report == 0:
            print(f"step {step + 1}: loss {total / report:.4f}, {time.monotonic() - began:.0f} s", flush=True)
            total = 0.0
            if output is not None:
                save_word_network(network, corpus.vocabulary, step + 1, output)
    return network


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="weights file to write")
    parser.add_argument("--steps", type=int, default=2200)
    parser.add_argument("--sentences", type=int, default=SENTENCES)
    parser.add_argument("--seed", type=int, default=11)
    args = parser.parse_args()
    torch.set_num_threads(1)
    corpus = Corpus(args.sentences, args.seed)
    network = train(corpus, args.steps, seed=args.seed, output=args.output)
    save_word_network(network, corpus.vocabulary, args.steps, args.output)
    count = sum(value.numel() for value in network.parameters())
    print(f"{args.output}: {count:,} parameters, {len(corpus.vocabulary)} words, {args.output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
