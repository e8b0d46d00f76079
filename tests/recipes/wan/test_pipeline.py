"""The Wan pipeline: prompts and pictures to video, encoders freed and loaded again, refusals before any loading."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from flashdreams.infra.encoder.text.umt5 import UMT5TextEncoderConfig
from flashdreams.infra.pipeline.base import StreamInferencePipelineConfig
from flashdreams.recipes.wan import (
    NEGATIVE_PROMPT,
    Wan22TransformerConfig,
    WanInferencePipelineCache,
    WanInferencePipelineConfig,
)
from tests.infra.replayed import Replayed
from tests.recipes.tiny_wan import (
    CHANNELS,
    LOADED,
    SIZE,
    PictureEncoderConfig,
    WordEncoder,
    WordEncoderConfig,
    config,
    generate,
    picture,
    pipeline,
    same,
    transformer,
)


@pytest.fixture(autouse=True)
def nothing_loaded(one_thread: None) -> None:
    LOADED.clear()


def test_a_prompt_becomes_video_in_chunks() -> None:
    made = pipeline()
    videos = generate(made, made.initialize_cache(["a lake"], **SIZE), range(4))
    assert [tuple(video.shape) for video in videos] == [(1, 5, 3, 32, 48)] + [(1, 8, 3, 32, 48)] * 3
    assert all(video.isfinite().all() and video.abs().max() <= 1 for video in videos)
    assert same(generate(made, made.initialize_cache(["a lake"], **SIZE), range(4)), videos)
    assert not same(generate(made, made.initialize_cache(["a lake"], **SIZE, seed=1), range(4)), videos)
    assert not same(generate(made, made.initialize_cache(["a hill"], **SIZE), range(4)), videos)


def test_a_picture_begins_a_rollout_and_decides_its_size() -> None:
    made = pipeline(image=True)
    cache = made.initialize_cache(["a lake"], picture())
    assert cache.image is not None and torch.equal(cache.image, picture())
    videos = generate(made, cache, range(4))
    assert videos[1].shape == (1, 8, 3, 32, 48)
    assert not same(generate(made, made.initialize_cache(["a lake"], picture(seed=1)), range(4)), videos)
    bytes_ = ((picture() + 1) * 127.5).round().to(torch.uint8)
    as_bytes = made.initialize_cache(["a lake"], bytes_, **SIZE)
    assert as_bytes.image is not None and (as_bytes.image - picture()).abs().max() < 0.01
    without_frames = made.initialize_cache(["a lake"], picture()[0].double())
    assert without_frames.image is not None and torch.equal(without_frames.image, picture().double())
    with pytest.raises(ValueError, match="must be multiples of 16 and 16, the image is 32 x 40 pixels"):
        made.initialize_cache(["a lake"], picture()[..., :40])


def test_a_batch_has_the_transformers_shape() -> None:
    made = pipeline(image=True, net=transformer(True, batch_shape=(2,)))
    cache = made.initialize_cache(["a lake", "a hill"], picture((2,)))
    assert made.generate(0, cache).shape == (2, 5, 3, 32, 48)


def test_interleaved_and_resumed_rollouts_are_bit_identical_to_rollouts_alone() -> None:
    made = pipeline(image=True)
    starts: list[tuple[list[str], Tensor]] = [(["a lake"], picture()), (["a hill"], picture(seed=1)[..., :16, :32])]
    alone = [generate(made, made.initialize_cache(*start, seed=i), range(5)) for i, start in enumerate(starts)]
    caches = [made.initialize_cache(*start, seed=i) for i, start in enumerate(starts)]
    for chunk in range(3):
        for cache, expected in zip(caches, alone, strict=True):
            assert torch.equal(generate(made, cache, range(chunk, chunk + 1))[0], expected[chunk])
    snapshot = caches[0].snapshot()
    assert same(generate(made, caches[0], range(3, 5)), alone[0][3:])
    caches[0].restore(snapshot)
    assert isinstance(snapshot, WanInferencePipelineCache)
    assert same(generate(made, caches[0], range(3, 5)), alone[0][3:])


def test_a_text_event_changes_what_comes_next() -> None:
    made = pipeline(image=True)
    cache, still = (made.initialize_cache(["a lake"], picture()) for _ in range(2))
    assert same(generate(made, cache, range(2)), generate(made, still, range(2)))
    made.replace_text(cache, ["a storm"])
    assert not same(generate(made, cache, range(2, 3)), generate(made, still, range(2, 3)))


def test_two_networks_and_a_pipeline_without_decoder() -> None:
    two = Wan22TransformerConfig(transformer_high_noise=transformer(), transformer_low_noise=transformer())
    made = pipeline(net=two, decoder=None)
    assert made.generate(0, made.initialize_cache(["a lake"], **SIZE)).shape == (1, 2, CHANNELS, 4, 6)


def test_encoders_are_freed_and_loaded_for_the_next_prompt() -> None:
    made = pipeline(image=True)
    assert LOADED == []
    made.initialize_cache(["a lake"], picture())
    assert LOADED == ["text", "image"] and made.text_encoder is None and made.image_encoder is None
    made.initialize_cache(["a lake"], picture(), release_oneshot_encoders=False)
    assert made.text_encoder is not None and made.image_encoder is not None
    made.initialize_cache(["a hill"], picture(), release_oneshot_encoders=False)
    assert LOADED == ["text", "image"] * 2
    made.release_oneshot_encoders()
    assert made.text_encoder is None and not [key for key in made.state_dict() if "text_encoder" in key]


def test_embeddings_need_no_encoder() -> None:
    made = pipeline()
    embeddings = WordEncoder(WordEncoderConfig())(["a lake"])
    LOADED.clear()
    videos = generate(made, made.initialize_cache(embeddings, **SIZE), range(2))
    assert LOADED == [] and same(videos, generate(made, made.initialize_cache(["a lake"], **SIZE), range(2)))


def test_guidance_takes_a_negative_prompt_from_the_call_or_the_config() -> None:
    made = pipeline(net=transformer(guidance_scale=3.0), negative_prompt=None)
    with pytest.raises(ValueError, match=r"guidance_scale 3\.0 needs negative_text or the config's negative_prompt"):
        made.initialize_cache(["a lake"], **SIZE)
    assert LOADED == []
    blurred = generate(made, made.initialize_cache(["a lake"], negative_text=["blurred"], **SIZE), range(2))
    usual = pipeline(net=transformer(guidance_scale=3.0), negative_prompt="blurred")
    assert same(generate(usual, usual.initialize_cache(["a lake"], **SIZE), range(2)), blurred)
    assert WanInferencePipelineConfig.__dataclass_fields__["negative_prompt"].default == NEGATIVE_PROMPT
    assert not same(generate(usual, usual.initialize_cache(["a lake"], negative_text=[""], **SIZE), range(2)), blurred)
    with pytest.raises(ValueError, match=r"negative_text has no use with guidance_scale 1\.0"):
        pipeline().initialize_cache(["a lake"], negative_text=["blurred"], **SIZE)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"text": ["  "]}, ValueError, r"text\[0\] is empty: say what to dream"),
        ({"text": "a lake"}, TypeError, "text must be a list of prompts or a tensor of embeddings, got 'a lake'"),
        ({"text": ["a", "b"]}, ValueError, "text must have 1 prompts, one per video, got 2"),
        ({"text": torch.zeros(1, 4, 8)}, ValueError, r"text_embeddings must be \[1, 3, 8\], got \[1, 4, 8\]"),
        ({"height": None}, ValueError, "height and width of the latent are needed without an image, got None and 6"),
        (
            {"height": 5},
            ValueError,
            "height and width of the latent must be multiples of 2 and 2, got 5 x 6",
        ),
        ({"image": picture()}, ValueError, "image must be None: this model dreams from text alone"),
    ],
)
def test_what_a_text_model_cannot_take_is_refused(given: dict[str, Any], error: type[Exception], message: str) -> None:
    made = pipeline()
    with pytest.raises(error, match=message):
        made.initialize_cache(**({"text": ["a lake"]} | SIZE | given))
    assert LOADED == []


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (None, ValueError, r"image \[1, 1, 3, H, W\] is needed: this model begins with a picture"),
        (picture()[0, 0], ValueError, r"image must be \[1, 1, 3, H, W\], got \[3, 32, 48\]"),
        (picture()[..., :1, :, :], ValueError, r"image must be \[1, 1, 3, H, W\], got \[1, 1, 1, 32, 48\]"),
        (picture()[..., :32], ValueError, "width must be that of the image's latent, 4, or left out, got 6"),
        (picture() * 255, ValueError, r"image must be in \[-1, 1\], got values from -25"),
        (picture() * float("nan"), ValueError, r"image must be in \[-1, 1\], got values from nan"),
        (picture().int(), TypeError, r"floats in \[-1, 1\] or bytes, got torch.int32"),
        ("lake.png", TypeError, r"image must be a tensor \[1, 1, 3, H, W\], got str"),
    ],
)
def test_what_an_image_model_cannot_take_is_refused(image: Any, error: type[Exception], message: str) -> None:
    made = pipeline(image=True)
    with pytest.raises(error, match=message):
        made.initialize_cache(["a lake"], image, **SIZE)
    assert LOADED == []


def test_parts_that_do_not_go_together_are_refused_before_loading() -> None:
    parts = config(image=True)
    with pytest.raises(ValueError, match="this network needs an image_encoder"):
        config(image=True, image_encoder=None)
    with pytest.raises(ValueError, match="this network takes no image_encoder"):
        config(image_encoder=PictureEncoderConfig())
    with pytest.raises(ValueError, match="a transformer with an image mode needs an encoder"):
        config(image=True, encoder=None)
    with pytest.raises(ValueError, match="the transformer has no image mode"):
        config(encoder=parts.encoder)
    with pytest.raises(ValueError, match="the network reads prompts of 3 x 8, text_encoder makes 512 x 4096"):
        config(text_encoder=UMT5TextEncoderConfig())
    with pytest.raises(TypeError, match="must be a Wan21TransformerConfig or a Wan22TransformerConfig, got str"):
        config(net="wan")
    assert isinstance(parts, StreamInferencePipelineConfig)
    assert WanInferencePipelineConfig.from_dict(config().to_dict()) == config()


@pytest.mark.parametrize("image", [False, True])
def test_a_new_rollout_takes_over_the_memory_of_one_that_is_over(image: bool) -> None:
    made, shown = pipeline(image=image), {"image": picture()} if image else {}
    old = made.initialize_cache(["a lake"], **shown, **SIZE)
    generate(made, old, range(5))
    held = old.transformer_cache
    new = made.initialize_cache(["a hill"], **shown, **SIZE, reuse=old)
    assert new.transformer_cache is held
    fresh = made.initialize_cache(["a hill"], **shown, **SIZE)
    assert same(generate(made, new, range(5)), generate(made, fresh, range(5)))
    with pytest.raises(RuntimeError, match="this rollout is over: another one reuses its memory"):
        made.generate(5, old)


def test_two_networks_take_over_the_memory_of_a_rollout_too() -> None:
    both = Wan22TransformerConfig(transformer_high_noise=transformer(), transformer_low_noise=transformer())
    made = pipeline(net=both, decoder=None)
    old = made.initialize_cache(["a lake"], **SIZE)
    generate(made, old, range(3))
    held = old.transformer_cache
    new = made.initialize_cache(["a hill"], **SIZE, reuse=old)
    assert (new.transformer_cache.high, new.transformer_cache.low) == (held.high, held.low)
    assert same(generate(made, new, range(3)), generate(made, made.initialize_cache(["a hill"], **SIZE), range(3)))


@pytest.mark.gpu
def test_finalize_beside_the_decoder_changes_nothing() -> None:
    videos = []
    for aside in (False, True):
        made = pipeline(net=transformer(compile_network=False), decoder=None, finalize_aside=aside).cuda()
        cache = made.initialize_cache(["a lake"], **SIZE)
        videos.append(generate(made, cache, range(8)))
        again = cache.snapshot()
        videos[-1] += generate(made, again, range(8, 10))
    for one, other in zip(*videos, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("relative", [False, True])
def test_a_restored_rollout_goes_on_with_the_steps_that_were_captured(
    relative: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flashdreams.recipes.wan.transformer.wan21.steady_step", lambda step, *_: Replayed(step))
    network = replace(transformer().network, apply_rope_before_kvcache=not relative)
    made = pipeline(net=transformer(network=network, sink_size_t=2 * relative), decoder=None)
    cache = made.initialize_cache(["a lake"], **SIZE)
    generate(made, cache, range(4))
    early = cache.snapshot()
    expected = generate(made, cache, range(4, 7))
    late, steady = cache.snapshot(), cache.transformer_cache.branches[0].steady
    for snapshot, chunks in ((early, range(4, 7)), (late, range(7, 8)), (early, range(4, 7))):
        cache.restore(snapshot)
        assert cache.transformer_cache.branches[0].steady is steady
        again = generate(made, cache, chunks)
        assert snapshot is late or same(again, expected)
