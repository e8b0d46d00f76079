"""The plugin `orbit`: an encoder, blocks, a network, a transformer and a pipeline of its own around the Wan recipe."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

PLUGINS = Path(__file__).parent / "packages"


@pytest.fixture
def orbit(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The plugin's table of runners."""
    monkeypatch.syspath_prepend(str(PLUGINS))
    monkeypatch.setenv("FLASHDREAMS_RUNNER_CONFIGS", "orbit.config:RUNNER_CONFIGS")
    from orbit.config import RUNNER_CONFIGS

    return RUNNER_CONFIGS


@pytest.mark.slow
def test_the_runner_writes_a_video_that_the_camera_turns(orbit: Any, tmp_path: Path) -> None:
    from flashdreams.infra.config import derive_config

    videos = {}
    for strength in (0.0, 1.0):
        torch.manual_seed(0)
        network = {"network": {"strength": strength}}
        config = derive_config(
            orbit["orbit"],
            output_dir=tmp_path / str(strength),
            pipeline={"diffusion_model": {"transformer": network}},
        )
        config.setup().run()
        videos[strength] = torch.load(tmp_path / str(strength) / "orbit.pt", weights_only=True)
    assert videos[1.0].shape == (1, 1, 5 + 3 * 8, 3, 32, 48) and videos[1.0].isfinite().all()
    assert not torch.allclose(videos[0.0][:, :, :5], videos[1.0][:, :, :5], atol=1e-4)
    history = json.loads((tmp_path / "1.0" / "stats.json").read_text())
    assert [entry["autoregressive_index"] for entry in history] == [0, 1, 2, 3]
    assert {"encode_ms", "diffuse_ms", "decode_ms", "finalize_ms", "total_ms"} <= set(history[0])


def test_its_blocks_compute_what_wans_do_without_a_camera(orbit: Any) -> None:
    from flashdreams.infra.config import derive_config
    from flashdreams.recipes.wan import Wan21TransformerConfig, WanDiTNetworkConfig

    base = orbit["orbit"].pipeline.diffusion_model.transformer
    ours = base.setup()
    sizes = {name: getattr(base.network, name) for name in WanDiTNetworkConfig.__dataclass_fields__ if name[0] != "_"}
    settings = {name: getattr(base, name) for name in ("dtype", "batch_shape", "len_t", "window_size_t")}
    settings |= {"concat_image_mask_to_latent": True, "network": WanDiTNetworkConfig(**sizes)}
    plain = Wan21TransformerConfig(**settings).setup()
    plain.network.load_state_dict(ours.network.state_dict(), strict=False)
    for block in ours.network.blocks:
        for layer in (block.scale, block.shift):
            torch.nn.init.zeros_(layer.weight), torch.nn.init.zeros_(layer.bias)
    from orbit.encoder import OrbitCtrl

    from flashdreams.recipes.wan.autoencoder.i2v import I2VCtrl

    text = torch.randn(1, 1, 3, 8, generator=torch.Generator().manual_seed(1))
    flows = []
    for transformer in (ours, plain):
        cache = transformer.initialize_autoregressive_cache(height=4, width=6, text_embeddings=text)
        for index in range(4):
            generator = torch.Generator().manual_seed(index)
            latent, mask = torch.randn(1, 1, 2, 4, 4, 6, generator=generator), torch.zeros(1, 1, 2, 1, 4, 6)
            control: Any = I2VCtrl(latent=latent, mask=mask)
            if transformer is ours:
                control = OrbitCtrl(picture=control, camera=torch.ones(1, 1, 2, 2, 4, 6))
            control = transformer.patchify_and_maybe_split_cp(control)
            cache.start(index)
            noisy = torch.randn(transformer.latent_shape, generator=generator)
            flows.append(transformer.predict_flow(noisy, torch.tensor(700.0), cache, control))
            cache.finalize(index)
    for own, other in zip(flows[:4], flows[4:], strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-5)
    assert derive_config(base, len_t=2) == base


@pytest.mark.slow
def test_the_command_line_runs_it(orbit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flashdreams.scripts.cli import entrypoint

    (tmp_path / "prompt.txt").write_text("a pier\nand more\n")
    arguments = ["orbit-sink", "--output-dir", str(tmp_path), "--total-blocks", "2", "--prompt", "a pier"]
    monkeypatch.setattr(sys, "argv", ["flashdreams-run", *arguments])
    entrypoint()
    assert torch.load(tmp_path / "orbit-sink.pt", weights_only=True).shape[2] == 5 + 8
