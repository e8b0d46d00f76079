"""Tiny checkpoints in the formats in which models are published, with random weights, and configs that fit them.

`tiny_changes(pipeline, folder)` writes a file for every part of a pipeline that has a checkpoint, and answers changes
for `derive_config`; `flags` makes arguments for `flashdreams-run` of them.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from flashdreams.infra.config.base import derive_config
from flashdreams.infra.encoder.image.clip import CLIPImageEncoderConfig
from flashdreams.infra.encoder.text.cosmos_reason1 import CosmosReason1TextEncoderConfig
from flashdreams.infra.encoder.text.umt5 import UMT5TextEncoderConfig
from flashdreams.integrations.matrix_game2 import MatrixGameNetworkConfig
from flashdreams.recipes.cosmos import CosmosTransformerConfig
from flashdreams.recipes.taehv import TeahvVAEDecoderConfig
from flashdreams.recipes.wan import (
    Wan21TransformerConfig,
    WanDiTNetworkConfig,
    WanVAEDecoderConfig,
    WanVAEEncoderConfig,
)

Changes = dict[str, Any]
Tensors = dict[str, Tensor]
Layout = Callable[[Wan21TransformerConfig, Path], Path]
"""Writes a tiny transformer's file for the config into a folder; answers its path."""

TEXT_LEN, TEXT_DIM = 64, 16
CLIP_DIM = 1280
CHAT_WORDS = ["system", "user", "You", "are", "helpful", "prompts"]
WORDS = ["<pad>", "</s>", "<unk>", "a", "lake", "storm", "at", "night", "dog", "runs", "home"]

UMT5_NAMES: tuple[tuple[str, Any], ...] = (
    (r"^shared\.", "token_embedding."),
    (r"^encoder\.block\.(\d)\.layer\.0\.SelfAttention\.relative_attention_bias", r"blocks.\1.pos_embedding.embedding"),
    (r"^encoder\.block\.(\d)\.layer\.0\.SelfAttention\.", r"blocks.\1.attn."),
    (r"^encoder\.block\.(\d)\.layer\.(\d)\.layer_norm", lambda m: f"blocks.{m[1]}.norm{int(m[2]) + 1}"),
    (r"^encoder\.block\.(\d)\.layer\.1\.DenseReluDense\.wi_0", r"blocks.\1.ffn.gate.0"),
    (r"^encoder\.block\.(\d)\.layer\.1\.DenseReluDense\.wi_1", r"blocks.\1.ffn.fc1"),
    (r"^encoder\.block\.(\d)\.layer\.1\.DenseReluDense\.wo", r"blocks.\1.ffn.fc2"),
    (r"^encoder\.final_layer_norm", "norm"),
)
CLIP_NAMES = (
    (r"^embeddings\.class_embedding", "cls_embedding"),
    (r"^embeddings\.position_embedding\.weight", "pos_embedding"),
    (r"^embeddings\.", ""),
    (r"^pre_layrnorm", "pre_norm"),
    (r"^post_layernorm", "post_norm"),
    (r"^encoder\.layers\.", "transformer."),
    (r"layer_norm(\d)", r"norm\1"),
    (r"self_attn\.out_proj", "attn.proj"),
    (r"mlp\.fc1", "mlp.0"),
    (r"mlp\.fc2", "mlp.2"),
)


def umt5_tensors(reference: Any) -> Tensors:
    """The weights of transformers' UMT5 under the keys of Wan's file."""
    tensors = {}
    for key, value in reference.state_dict().items():
        if key != "encoder.embed_tokens.weight":
            tensors[_renamed(key, UMT5_NAMES)] = value
    return tensors


def clip_tensors(reference: Any) -> Tensors:
    """The weights of transformers' CLIP under the keys of Wan's file, text tower and head included."""
    tensors = {"textual.head.0.weight": torch.zeros(2), "log_scale": torch.zeros(()), "visual.head": torch.zeros(4, 2)}
    plain = {key.removeprefix("vision_model."): value.clone() for key, value in reference.state_dict().items()}
    for key, value in plain.items():
        if re.search(r"[kv]_proj", key):
            continue
        if "q_proj" in key:
            value = torch.cat([plain[key.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")])
            key = key.replace("self_attn.q_proj", "attn.to_qkv")
        tensors[f"visual.{_renamed(key, CLIP_NAMES)}"] = value
    tensors["visual.cls_embedding"] = tensors["visual.cls_embedding"].view(1, 1, -1)
    tensors["visual.pos_embedding"] = tensors["visual.pos_embedding"].unsqueeze(0)
    return tensors


def save_tokenizer(folder: Path, words: list[str] = WORDS) -> None:
    """A tokenizer that knows `words`, as transformers reads it."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    known = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    known.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    known.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=known, **names).save_pretrained(folder)


def official(config: Wan21TransformerConfig, folder: Path) -> Path:
    """One safetensors file with the official keys, as Wan 2.1 1.3B has."""
    save_file(network_tensors(config.network), path := folder / "diffusion_pytorch_model.safetensors")
    return path


def flat(config: Wan21TransformerConfig, folder: Path) -> Path:
    """One safetensors file with the official keys below `model.`, as Krea Realtime has."""
    tensors = {f"model.{key}": value for key, value in network_tensors(config.network).items()}
    save_file(tensors, path := folder / "krea-realtime-video-14b.safetensors")
    return path


def sharded(config: Wan21TransformerConfig, folder: Path) -> Path:
    """Two safetensors files with the official keys and their index, as Wan's larger models have."""
    return _save_sharded(network_tensors(config.network), folder / "diffusion_pytorch_model.safetensors.index.json")


def self_forcing(config: Wan21TransformerConfig, folder: Path) -> Path:
    """A training checkpoint with the averaged network and the network, as Self-Forcing and Causal-Forcing have."""
    networks = {
        "generator_ema": {f"model._fsdp_wrapped_module.{key}": value for key, value in _network(config, 0).items()},
        "generator": {f"model.{key}": value for key, value in _network(config, 1).items()},
    }
    torch.save(networks, path := folder / "self_forcing_dmd.pt")
    return path


def diffusers(config: Wan21TransformerConfig, folder: Path) -> Path:
    """One safetensors file of a `WanTransformer3DModel`, made by diffusers itself."""
    from diffusers import WanTransformer3DModel

    n = config.network
    torch.manual_seed(0)
    model = WanTransformer3DModel(
        num_attention_heads=n.num_heads,
        attention_head_dim=n.dim // n.num_heads,
        in_channels=n.in_dim,
        out_channels=n.out_dim,
        text_dim=n.text_dim,
        freq_dim=n.freq_dim,
        ffn_dim=n.ffn_dim,
        num_layers=n.num_layers,
    )
    save_file(randomized(model), path := folder / "diffusion_pytorch_model.safetensors")
    return path


def _save_sharded(tensors: Tensors, index: Path) -> Path:
    """In two safetensors files with their index, `<name>.safetensors.index.json`."""
    keys, weight_map = sorted(tensors), {}
    for number, some in enumerate((keys[::2], keys[1::2]), 1):
        name = f"{index.name.split('.')[0]}-{number:05}-of-00002.safetensors"
        save_file({key: tensors[key] for key in some}, index.parent / name)
        weight_map |= dict.fromkeys(some, name)
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return index


def network_tensors(config: WanDiTNetworkConfig, seed: int = 0) -> Tensors:
    """Random weights of a network under the official keys."""
    torch.manual_seed(seed)
    return randomized(config.setup())


def tiny_changes(config: Any, folder: Path, layout: Layout = official) -> Changes:
    """Changes for `derive_config` that make every part of `config` tiny and give it a file, written into `folder`."""
    changes: Changes = {}
    for each in dataclasses.fields(config):
        part = getattr(config, each.name)
        if not dataclasses.is_dataclass(part) or isinstance(part, type):
            continue
        writer = next((writer for kind, writer in _WRITERS.items() if isinstance(part, kind)), None)
        inside = folder / each.name
        inside.mkdir(parents=True, exist_ok=True)
        found = writer(part, inside, layout) if writer else tiny_changes(part, inside, layout)
        if found:
            changes[each.name] = found
    return changes


def flags(changes: Mapping[str, Any], prefix: str = "-") -> list[str]:
    """`changes` as arguments of `flashdreams-run`: `{"pipeline": {"name": "x"}}` is `--pipeline.name x`."""
    arguments = []
    for name, value in changes.items():
        flag = f"{prefix}{'.' if prefix != '-' else '-'}{name.replace('_', '-')}"
        if isinstance(value, Mapping):
            arguments += flags(value, flag)
        else:
            arguments += [flag, *map(str, value if isinstance(value, tuple | list) else (value,))]
    return arguments


def _transformer(config: Wan21TransformerConfig, folder: Path, layout: Layout) -> Changes:
    network: Changes = {
        "text_len": TEXT_LEN,
        "text_dim": TEXT_DIM,
        "dim": 24,
        "ffn_dim": 40,
        "freq_dim": 16,
        "num_heads": 2,
        "num_layers": 2,
    }
    if isinstance(config.network, MatrixGameNetworkConfig):  # CLIP features are in the place of its prompt
        network = {name: size for name, size in network.items() if not name.startswith("text_")} | {
            "action_blocks": 1,
            "action_dim": 32,
            "action_heads": 2,
            "action_rope_dims": (8, 4, 4),
            "keyboard_embed_dim": 6,
        }
    path = layout(derive_config(config, network=network), folder)
    return {"network": network, "checkpoint_path": str(path)}


def _umt5(config: UMT5TextEncoderConfig, folder: Path, layout: Layout) -> Changes:
    from transformers import UMT5Config, UMT5EncoderModel

    sizes = {"vocab_size": len(WORDS), "num_layers": 2, "num_heads": 4}
    torch.manual_seed(0)
    model = UMT5EncoderModel(
        UMT5Config(d_model=TEXT_DIM, d_kv=4, d_ff=24, feed_forward_proj="gated-gelu", **sizes)  # type: ignore[arg-type]
    )
    randomized(model)
    torch.save(umt5_tensors(model), folder / "models_t5_umt5-xxl-enc-bf16.pth")
    save_tokenizer(folder / "umt5-xxl")
    return {
        "checkpoint_path": str(folder / "models_t5_umt5-xxl-enc-bf16.pth"),
        "tokenizer_path": str(folder / "umt5-xxl"),
        "text_len": TEXT_LEN,
        "dim": TEXT_DIM,
        "ffn_dim": 24,
        "head_dim": 4,
        **sizes,
    }


def _cosmos(config: CosmosTransformerConfig, folder: Path, layout: Layout) -> Changes:
    """A training checkpoint's pickle with `net.` before every key, as OmniDreams has."""
    network = {"crossattn_proj_in_channels": 2 * TEXT_DIM, "crossattn_emb_channels": 8, "model_channels": 32}
    network |= {"num_heads": 2, "num_blocks": 2, "adaln_lora_dim": 6, "mlp_ratio": 2.0}
    torch.manual_seed(0)
    tensors = randomized(derive_config(config, network=network).network.setup())
    path = folder / "2b_res720p_30fps_i2v_hdmap_distilled.pt"
    torch.save({f"net.{key}": value for key, value in tensors.items()}, path)
    return {"network": network, "checkpoint_path": str(path)}


def cosmos_reason1(config: CosmosReason1TextEncoderConfig, folder: Path, layout: Layout = official) -> Changes:
    """A sharded Qwen2.5-VL with its vision tower, as Cosmos-Reason1 is, made by transformers itself."""
    model = qwen_vl(vocab_size=len(WORDS) + len(CHAT_WORDS), dim=TEXT_DIM)
    tensors = {reason1_key(key): value for key, value in randomized(model).items()}
    path = _save_sharded(tensors, folder / "model.safetensors.index.json")
    save_tokenizer(folder / "tokenizer", [*WORDS, *CHAT_WORDS])
    template = "{% for m in messages %}{{ m.role }} {{ m.content[0].text }} {% endfor %}"
    (folder / "tokenizer" / "chat_template.jinja").write_text(template)
    return {
        "checkpoint_path": str(path),
        "model_name": str(folder / "tokenizer"),
        "revision": None,
        "max_length": 32,
        "vocab_size": len(WORDS) + len(CHAT_WORDS),
        "dim": TEXT_DIM,
        "ffn_dim": 24,
        "num_heads": 2,
        "num_key_heads": 1,
        "num_hidden_layers": 2,
        "rotary_sections": (2, 1, 1),
    }


def qwen_vl(vocab_size: int, dim: int) -> Any:
    """A small Qwen2.5-VL of transformers, with two layers and heads of 8 features."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    torch.manual_seed(0)
    text = {
        "vocab_size": vocab_size,
        "hidden_size": dim,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 1, 1]},
    }
    vision = {"depth": 1, "hidden_size": 8, "intermediate_size": 8, "num_heads": 2, "out_hidden_size": dim}
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision)).eval()


def reason1_key(key: str) -> str:
    """A key of transformers' Qwen2.5-VL as the published files have it."""
    return key.replace("model.language_model.", "model.").replace("model.visual.", "visual.")


def _clip(config: CLIPImageEncoderConfig, folder: Path, layout: Layout) -> Changes:
    """As many features and tokens as the real one has, since Wan's networks know them; all else is small."""
    path = folder / "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth"
    torch.save(_tiny_clip(), path)
    return {"checkpoint_path": str(path), **CLIP_SIZES}


CLIP_SIZES = {"ffn_dim": 8, "num_layers": 2, "image_size": 32, "patch_size": 2}


@cache
def _tiny_clip() -> Tensors:
    """Weights that are drawn once in a process: they are millions of numbers."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    sizes = CLIPVisionConfig(
        hidden_size=CLIP_DIM,
        num_attention_heads=16,
        intermediate_size=CLIP_SIZES["ffn_dim"],
        num_hidden_layers=CLIP_SIZES["num_layers"],
        image_size=CLIP_SIZES["image_size"],
        patch_size=CLIP_SIZES["patch_size"],
        hidden_act="gelu",
    )
    torch.manual_seed(0)
    return clip_tensors(CLIPVisionModel(sizes))


def _vae(config: WanVAEEncoderConfig | WanVAEDecoderConfig, folder: Path, layout: Layout) -> Changes:
    """Both halves in one file: Wan 2.1's with the official keys, that of TI2V 5B from diffusers itself."""
    widths = {
        "base_dim": 2,
        **({"decoder_base_dim": 2} if getattr(config, "decoder_base_dim", None) is not None else {}),
    }
    if config.is_residual:
        from diffusers import AutoencoderKLWan

        torch.manual_seed(0)
        model = AutoencoderKLWan(
            z_dim=config.z_dim,
            is_residual=True,
            patch_size=2,
            in_channels=12,
            out_channels=12,
            latents_mean=list(config.latent_mean),
            latents_std=list(config.latent_std),
            **widths,
        )
        save_file(randomized(model), path := folder / "diffusion_pytorch_model.safetensors")
    else:
        sizes = {**widths, "z_dim": config.z_dim, "latent_mean": config.latent_mean, "latent_std": config.latent_std}
        torch.manual_seed(0)
        halves = [kind(checkpoint_path=None, **sizes).setup() for kind in (WanVAEEncoderConfig, WanVAEDecoderConfig)]
        torch.save({k: v for half in halves for k, v in randomized(half).items()}, path := folder / "Wan2.1_VAE.pth")
    return {"checkpoint_path": str(path), **widths}


def _taehv(config: TeahvVAEDecoderConfig, folder: Path, layout: Layout) -> Changes:
    """With the encoder and the first growing layer's frame too many that the published file has."""
    widths = (8, 8, 8, 8)
    torch.manual_seed(0)
    model = derive_config(config, checkpoint_path=None, widths=widths, dtype=torch.float32).setup()
    tensors = randomized(model)
    tensors["encoder.0.weight"] = torch.zeros(8, 3, 3, 3)
    tensors["decoder.7.conv.weight"] = torch.cat([torch.zeros(8, 8, 1, 1), tensors["decoder.7.conv.weight"]])
    save_file(tensors, folder / "lighttaew2_1.safetensors")
    return {"checkpoint_path": str(folder / "lighttaew2_1.safetensors"), "widths": widths}


_WRITERS: dict[type, Callable[[Any, Path, Layout], Changes]] = {
    Wan21TransformerConfig: _transformer,
    UMT5TextEncoderConfig: _umt5,
    CLIPImageEncoderConfig: _clip,
    WanVAEEncoderConfig: _vae,
    WanVAEDecoderConfig: _vae,
    TeahvVAEDecoderConfig: _taehv,
    CosmosTransformerConfig: _cosmos,
    CosmosReason1TextEncoderConfig: cosmos_reason1,
}


def _network(config: Wan21TransformerConfig, seed: int) -> Tensors:
    return network_tensors(config.network, seed)


def _renamed(key: str, names: tuple[tuple[str, Any], ...]) -> str:
    for expression, replacement in names:
        key = re.sub(expression, replacement, key)
    return key


def randomized(module: torch.nn.Module) -> Tensors:
    """Every weight away from its neutral value; a state dict that can be saved."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.dim() > 1 and not name.endswith("gamma"):
                torch.nn.init.normal_(parameter, std=0.5 / parameter[0].numel() ** 0.5)
            else:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return {key: value.detach().clone().contiguous() for key, value in module.state_dict().items()}
