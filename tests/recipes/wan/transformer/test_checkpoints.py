"""Published files of Wan transformers: what they are is read from them, they load as they are, others are refused."""

from __future__ import annotations

import json
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from flashdreams.core.checkpoint.load import SafetensorsFiles
from flashdreams.recipes.wan import (
    Wan21Transformer,
    Wan21TransformerConfig,
    WanDiTNetwork,
    WanDiTNetwork1pt3BConfig,
    WanDiTNetwork14BConfig,
    WanDiTNetworkConfig,
    WanDiTNetworkTI2V5BConfig,
    read_wan_checkpoint,
    wan_dit_state_dict_transform,
)

pytestmark = pytest.mark.usefixtures("one_thread")
Tensors = dict[str, Tensor]


def network(**changes: Any) -> WanDiTNetworkConfig:
    sizes = {"text_len": 3, "in_dim": 4, "out_dim": 4, "dim": 24, "ffn_dim": 40, "freq_dim": 16, "text_dim": 8}
    return WanDiTNetworkConfig(**({**sizes, "num_heads": 2, "num_layers": 2} | changes))


def official(seed: int = 0, **changes: Any) -> Tensors:
    """A file's tensors with the official keys."""
    torch.manual_seed(seed)
    return {key: tensor.clone() for key, tensor in network(**changes).setup().state_dict().items()}


def loaded(path: Path, net: dict[str, Any] | None = None, **changes: Any) -> Wan21Transformer:
    settings: dict[str, Any] = {"dtype": torch.float32, "len_t": 1, "window_size_t": 1} | changes
    config = Wan21TransformerConfig(network=network(**(net or {})), checkpoint_path=path, **settings)
    transformer: Wan21Transformer = config.setup()
    return transformer


def holds(transformer: Wan21Transformer, tensors: Mapping[str, Tensor]) -> bool:
    """Return True if the weights are those of the file, but for the head's rows, which are ordered channel first."""
    wanted: WanDiTNetwork = transformer.config.network.setup()
    wanted.load_state_dict(dict(tensors))
    wanted.update_parameters_after_loading_checkpoint()
    expected = {key: tensor.to(transformer.dtype) for key, tensor in wanted.state_dict().items()}
    found = transformer.network.state_dict()
    return found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in expected)


def sharded(folder: Path, tensors: Tensors) -> Path:
    """A folder with two shards and their index, as diffusers and the official 14B files have them."""
    names = [f"diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    shards: list[Tensors] = [{}, {}]
    for i, (key, tensor) in enumerate(tensors.items()):
        shards[i % 2][key] = tensor
    for name, shard in zip(names, shards, strict=True):
        save_file(shard, folder / name)
    index = {"metadata": {}, "weight_map": {key: names[i % 2] for i, key in enumerate(tensors)}}
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def prefixed(tensors: Tensors, prefix: str) -> Tensors:
    return {prefix + key: tensor for key, tensor in tensors.items()}


def fsdp(tensors: Tensors) -> Tensors:
    """As FSDP names what it wraps: the whole and every block."""
    inner = {key.replace(".self_attn", "._fsdp_wrapped_module.self_attn"): tensor for key, tensor in tensors.items()}
    return prefixed(inner, "model._fsdp_wrapped_module.")


def test_an_official_file_loads_single_and_sharded(tmp_path: Path) -> None:
    tensors = official()
    save_file(tensors, tmp_path / "weights.safetensors")
    assert holds(loaded(tmp_path / "weights.safetensors"), tensors)
    (tmp_path / "sharded").mkdir()
    assert holds(loaded(sharded(tmp_path / "sharded", tensors)), tensors)
    half = loaded(tmp_path / "weights.safetensors", dtype=torch.bfloat16)
    assert half.dtype == torch.bfloat16 and holds(half, {key: tensor.bfloat16() for key, tensor in tensors.items()})


def test_diffusers_layout_loads_whole_and_sharded(tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(1)
    model = diffusers.WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=12,
        out_channels=4,
        text_dim=8,
        freq_dim=16,
        ffn_dim=40,
        num_layers=2,
        rope_max_seq_len=16,
        image_dim=1280,
        added_kv_proj_dim=24,
    )
    model.save_pretrained(tmp_path / "transformer")
    tensors = model.state_dict()
    (tmp_path / "sharded").mkdir()
    found = read_wan_checkpoint(tensors)
    assert (found.layout, found.prefix, found.sizes["cross_attn_enable_img"]) == ("diffusers", "", True)
    image = {"in_dim": 12, "cross_attn_enable_img": True}
    for path in (tmp_path / "transformer", sharded(tmp_path / "sharded", dict(tensors))):
        transformer = loaded(path, image, concat_image_mask_to_latent=True)
        assert holds(transformer, wan_dit_state_dict_transform(tensors))


@pytest.mark.parametrize(
    ("root", "inner"),
    [
        ("generator_ema", "model."),
        ("generator", "model."),
        ("generator_ema", "net."),
        ("generator", "model.net."),
        ("", "model."),
    ],
)
def test_training_checkpoints_load_whatever_they_are_wrapped_in(root: str, inner: str, tmp_path: Path) -> None:
    tensors = official()
    content: Any = prefixed(tensors, inner)
    torch.save({root: content} if root else content, tmp_path / "model.pt")
    assert holds(loaded(tmp_path / "model.pt"), tensors)


def test_the_averaged_generator_is_taken_and_other_networks_are_left(tmp_path: Path) -> None:
    ema, raw = official(1), official(2)
    torch.save(
        {"critic": prefixed(official(3), "model."), "generator": fsdp(raw), "generator_ema": fsdp(ema)},
        tmp_path / "model.pt",
    )
    assert holds(loaded(tmp_path / "model.pt"), ema)
    torch.save({"critic": prefixed(official(3), "model."), "generator": fsdp(raw)}, tmp_path / "model.pt")
    assert holds(loaded(tmp_path / "model.pt"), raw)


def test_a_convolutions_patch_embedding_is_the_linear_one(tmp_path: Path) -> None:
    tensors = official()
    save_file(tensors, path := tmp_path / "w.safetensors")
    convolution, linear = (loaded(path, {"patch_embedding_type": kind}).network for kind in ("conv3d", "linear"))
    assert linear.patch_embedding.weight.shape == (24, 16)
    latent = torch.randn(1, 1, 4, 4, 6, generator=torch.Generator().manual_seed(0))
    tokens = convolution.patchify_and_maybe_split_cp(latent)
    expected = torch.nn.functional.conv3d(
        latent.transpose(1, 2), tensors["patch_embedding.weight"], tensors["patch_embedding.bias"], stride=(1, 2, 2)
    )
    torch.testing.assert_close(linear.patch_embedding(tokens), expected.flatten(2).transpose(1, 2))


def test_a_transform_of_ones_own_comes_before_everything(tmp_path: Path) -> None:
    tensors = official()
    save_file(prefixed(tensors, "mine."), tmp_path / "weights.safetensors")

    def mine(state_dict: Mapping[str, Tensor]) -> Tensors:
        return {key.removeprefix("mine."): state_dict[key] for key in state_dict}

    assert holds(loaded(tmp_path / "weights.safetensors", state_dict_transform=mine), tensors)


def test_loading_holds_one_tensor_of_the_file_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file(official(), tmp_path / "weights.safetensors")
    alive: set[int] = set()
    most, original = 0, SafetensorsFiles.__getitem__

    def counted(files: SafetensorsFiles, key: str) -> Tensor:
        nonlocal most
        tensor = original(files, key)
        alive.add(number := id(tensor))
        weakref.finalize(tensor, alive.discard, number)
        most = max(most, len(alive))
        return tensor

    monkeypatch.setattr(SafetensorsFiles, "__getitem__", counted)
    loaded(tmp_path / "weights.safetensors")
    print(f"tensors of the file in memory at once: {most}")
    assert 1 <= most <= 2  # the next is read before the name of the last is given away


@pytest.mark.parametrize(
    ("config", "image"),
    [
        (WanDiTNetwork1pt3BConfig(), False),
        (WanDiTNetwork14BConfig(in_dim=36, cross_attn_enable_img=True), True),
        (WanDiTNetworkTI2V5BConfig(), False),
    ],
)
def test_sizes_are_read_from_the_shapes(config: WanDiTNetworkConfig, image: bool) -> None:
    with torch.device("meta"):
        tensors = config.setup().state_dict()
    sizes = read_wan_checkpoint(prefixed(tensors, "generator.model.")).sizes
    assert len(sizes) == 8 and sizes == {name: getattr(config, name) for name in sizes}
    assert sizes["cross_attn_enable_img"] is image


def refusal(path: Path, net: dict[str, Any] | None = None, **changes: Any) -> str:
    with pytest.raises(ValueError) as caught:
        loaded(path, net, **changes)
    return str(caught.value)


def test_a_model_of_other_sizes_is_refused_with_both(tmp_path: Path) -> None:
    save_file(official(dim=48, num_layers=3), path := tmp_path / "weights.safetensors")
    assert refusal(path) == (
        f"{path} does not fit: it is a Wan transformer of dim 48, num_layers 3, "
        "but the config is for dim 24, num_layers 2"
    )
    save_file(official(in_dim=12, cross_attn_enable_img=True), path)
    message = refusal(path)
    assert "of in_dim 12, cross_attn_enable_img True, but the config is for in_dim 4, cross_attn_enable_img" in message


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("encoder.downsamples.0.residual.0.gamma", "it seems to be a Wan VAE"),
        ("decoder.up_blocks.0.resnets.0.norm1.gamma", "it seems to be a Wan VAE"),
        ("decoder.1.weight", r"it seems to be a tiny autoencoder \(TAEHV\)"),
        ("blocks.0.attn.q.weight", "it begins with blocks.0.attn.q.weight"),
        ("token_embedding.weight", "it seems to be a UMT5 text encoder"),
        ("visual.cls_embedding", "it seems to be a CLIP image encoder"),
        ("lora_A.weight", "it begins with lora_A.weight"),
    ],
)
def test_other_files_are_refused_by_what_they_are(key: str, kind: str, tmp_path: Path) -> None:
    save_file({key: torch.zeros(2)}, path := tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match=f"there is no Wan transformer in this checkpoint: {kind}"):
        loaded(path)
    with pytest.raises(ValueError, match="it begins with nothing, it is empty"):
        read_wan_checkpoint({})


def test_several_transformers_without_a_rule_are_refused(tmp_path: Path) -> None:
    torch.save({"first": official(1), "second": official(2)}, tmp_path / "model.pt")
    assert "this checkpoint holds several transformers: first., second." in refusal(tmp_path / "model.pt")


def test_missing_and_extra_keys_are_listed(tmp_path: Path) -> None:
    tensors = official()
    del tensors["blocks.1.norm3.bias"]
    torch.save({"generator": prefixed(tensors, "model.") | {"more": torch.zeros(1)}}, tmp_path / "model.pt")
    message = refusal(tmp_path / "model.pt")
    assert "1 missing: blocks.1.norm3.bias; 1 unexpected: generator.more" in message


def test_a_pickle_of_anything_else_is_refused(tmp_path: Path) -> None:
    torch.save({"generator": prefixed(official(), "model."), "slice": slice(1)}, tmp_path / "model.pt")
    assert "not a pickle of tensors only" in refusal(tmp_path / "model.pt")
    with pytest.raises(FileNotFoundError, match="there is no checkpoint at"):
        loaded(tmp_path / "nowhere.safetensors")


def unwrapped(state_dict: dict[str, Any]) -> dict[str, Tensor]:
    """The transform of a plugin that knows its file: a training checkpoint with two nested networks."""
    for name in ("generator_ema", "generator"):
        if name in state_dict:
            state_dict = state_dict[name]
            break
    return {key.removeprefix("model.").removeprefix("_fsdp_wrapped_module."): each for key, each in state_dict.items()}


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_transform_of_a_plugin_sees_the_nested_dicts_of_the_file(wrapped: bool, tmp_path: Path) -> None:
    ema = {f"model._fsdp_wrapped_module.{key}": each for key, each in official(1).items()}
    torch.save({"generator": {"model.x": torch.zeros(1)}, "generator_ema": ema} if wrapped else ema, tmp_path / "a.pt")
    config = Wan21TransformerConfig(
        network=network(), dtype=torch.float32, checkpoint_path=str(tmp_path / "a.pt"), state_dict_transform=unwrapped
    )
    loaded = config.setup().network.state_dict()
    assert torch.equal(loaded["time_projection.1.weight"], official(1)["time_projection.1.weight"])
