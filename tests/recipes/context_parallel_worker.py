"""One process of two that share a small Wan network: exits 0 when both together give what one gives alone."""

from __future__ import annotations

import torch
import torch.distributed as dist

from flashdreams.core import distributed
from flashdreams.core.attention import RotaryPositionEmbedding3D
from flashdreams.core.distributed.context_parallel import split_inputs_cp
from flashdreams.recipes.wan import WanDiTNetwork, WanDiTNetworkConfig

CHUNKS, LENGTH = 4, 6


@torch.no_grad()
def rollout(network: WanDiTNetwork, latents: torch.Tensor, text: torch.Tensor, group: dist.ProcessGroup | None) -> list:
    """The flows of four chunks, with a window of two."""
    network.set_context_parallel_group(group)
    share = LENGTH // (dist.get_world_size(group) if group else 1)
    cache = network.initialize_cache(share, 2 * share, 0, text)
    rope = RotaryPositionEmbedding3D(12, 2, 3, 1, interleaved=True, device="cpu")
    flows = []
    for i in range(CHUNKS):
        tokens = network.patchify_and_maybe_split_cp(latents[:, i : i + 1])
        assert tokens.shape[-2] == share
        freqs = split_inputs_cp(rope.shift_t(i), 0, group)
        flow = network(tokens, torch.tensor(500.0), cache, freqs, i)
        flows.append(network.unpatchify_and_maybe_gather_cp(2, 3, flow))
    return flows


def main() -> None:
    assert distributed.init("cpu") and distributed.world_size() == 2
    for method in ("ring", "ulysses"):
        torch.manual_seed(0)
        network: WanDiTNetwork = WanDiTNetworkConfig(
            text_len=3,
            in_dim=4,
            out_dim=4,
            dim=24,
            ffn_dim=40,
            freq_dim=16,
            text_dim=8,
            num_heads=2,
            num_layers=2,
            cp_method=method,  # type: ignore[arg-type]
        ).setup()
        latents, text = torch.randn(2, CHUNKS, 4, 4, 6), torch.randn(2, 3, 8)
        alone = rollout(network, latents, text, None)
        together = rollout(network, latents, text, dist.group.WORLD)
        for one, two in zip(alone, together, strict=True):
            torch.testing.assert_close(two, one, rtol=0, atol=2e-6)
    distributed.barrier()
    distributed.shutdown()


if __name__ == "__main__":
    main()
