"""The network of tiles as a graph."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from flashdreams.integrations.pocket.land.kinds import CONDITION
from flashdreams.integrations.pocket.land.state import CHANNELS
from flashdreams.integrations.pocket.tiles.config import WINDOW
from flashdreams.integrations.pocket.tiles.graphs import graph_of
from flashdreams.integrations.pocket.tiles.network import TileNetwork


@pytest.fixture(scope="module")
def network() -> TileNetwork:
    """Random weights, in every layer."""
    torch.manual_seed(2)
    made = TileNetwork((8, 16, 16, 16), 1, 2).requires_grad_(False)
    for weight in made.parameters():
        weight.copy_(torch.randn_like(weight) * weight[0].numel() ** -0.5)
    return made


def arguments(seed: int) -> tuple[Tensor, ...]:
    rng = torch.Generator().manual_seed(seed)
    noisy, known = (torch.randn(1, CHANNELS, WINDOW, WINDOW, generator=rng) for _ in range(2))
    mask = (torch.rand(1, 1, WINDOW, WINDOW, generator=rng) > 0.5).float()
    condition = torch.rand(1, CONDITION, WINDOW, WINDOW, generator=rng)
    return noisy, torch.rand(1, generator=rng), known, mask, condition


@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_graph_answers_as_the_network_does_in_every_bit_on_every_thread(network: TileNetwork, bfloat16: bool) -> None:
    graph = graph_of(network, arguments(0), bfloat16)
    assert graph is not None
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        wanted = network(*arguments(1))
    assert wanted.std() > 0.1
    assert torch.equal(graph(*arguments(1)), wanted)
    assert torch.equal(elsewhere(graph, arguments(1)), wanted)


def elsewhere(graph: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> Tensor:
    """The answer of another thread."""
    found: list[Tensor] = []
    share = torch.get_num_threads()

    def answer() -> None:
        torch.set_num_threads(share)  # each thread has its own number, by which sums are split and so rounded
        found.append(graph(*inputs))

    thread = threading.Thread(target=answer)
    thread.start()
    thread.join()
    return found[0]


def test_weights_that_change_change_the_graph_too(network: TileNetwork) -> None:
    graph = graph_of(network, arguments(0), False)
    assert graph is not None
    before = graph(*arguments(0))
    with torch.no_grad():
        network.head.bias.add_(1.0)  # type: ignore[union-attr]
        after = graph(*arguments(0))
        network.head.bias.sub_(1.0)  # type: ignore[union-attr]
    assert torch.allclose(after, before + 1, atol=1e-5)


def test_what_cannot_be_traced_has_no_graph() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> dict[str, int]:
            return {"size": len(x)}

    assert graph_of(Odd(), (torch.zeros(2),), False) is None
