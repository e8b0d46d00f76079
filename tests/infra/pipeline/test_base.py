"""One loaded pipeline serves many rollouts, each bit-identical to running alone, in order, and rewindable."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from flashdreams.infra.encoder import NullEncoderConfig
from flashdreams.infra.pipeline.base import StreamInferencePipeline, StreamInferencePipelineCache
from tests.infra.toy import ToyDecoderConfig, ToyEncoderConfig, toy_model, toy_pipeline

Cache = StreamInferencePipelineCache


def full_pipeline(**changes: object) -> StreamInferencePipeline:
    parts = {"encoder": ToyEncoderConfig(), "decoder": ToyDecoderConfig()}
    model = toy_model(seed=1, context_noise=100)
    return toy_pipeline(diffusion_model=model, **parts | changes).setup()


def step(pipeline: StreamInferencePipeline, cache: Cache, index: int) -> Tensor:
    output = pipeline.generate(index, cache, torch.tensor(float(index)))
    pipeline.finalize(index, cache)
    return output


def test_rollouts_of_different_sizes_interleave_bit_for_bit() -> None:
    pipeline = toy_pipeline(diffusion_model=toy_model(seed=1, context_noise=100)).setup()
    contexts = [{"height": 2, "width": 3}, {"height": 4, "width": 5}]

    def run(cache: Cache, index: int) -> Tensor:
        output = pipeline.generate(index, cache)
        pipeline.finalize(index, cache)
        return output

    alone = []
    for number, context in enumerate(contexts):
        cache = pipeline.initialize_cache(context, seed=number)
        alone.append([run(cache, index) for index in range(4)])
    caches = [pipeline.initialize_cache(context, seed=number) for number, context in enumerate(contexts)]
    for index in range(4):
        for number in reversed(range(2)):
            assert torch.equal(run(caches[number], index), alone[number][index])


def test_a_restored_rollout_continues_bit_for_bit() -> None:
    pipeline = full_pipeline()
    cache = pipeline.initialize_cache()
    for index in range(2):
        step(pipeline, cache, index)
    saved = cache.snapshot()
    expected = [step(pipeline, cache, index) for index in range(2, 5)]
    for _ in range(2):
        cache.restore(saved)
        assert cache.autoregressive_index == 1
        assert all(torch.equal(step(pipeline, cache, index), expected[index - 2]) for index in range(2, 5))


def test_a_branch_does_not_disturb_the_rollout_that_it_left() -> None:
    pipeline = full_pipeline()
    undisturbed = pipeline.initialize_cache()
    expected = [step(pipeline, undisturbed, index) for index in range(3)]

    cache = pipeline.initialize_cache()
    step(pipeline, cache, 0)
    branch = cache.snapshot()
    other = pipeline.generate(1, branch, torch.tensor(9.0))
    pipeline.finalize(1, branch)
    assert not torch.equal(other, expected[1])
    assert torch.equal(step(pipeline, cache, 1), expected[1])
    assert torch.equal(step(pipeline, cache, 2), expected[2])


def test_a_snapshot_between_generate_and_finalize_can_be_finalized() -> None:
    pipeline = full_pipeline()
    cache = pipeline.initialize_cache()
    pipeline.generate(0, cache, torch.tensor(0.0))
    saved = cache.snapshot()
    pipeline.finalize(0, cache)
    expected = step(pipeline, cache, 1)
    pipeline.finalize(0, saved)
    assert torch.equal(step(pipeline, saved, 1), expected)


def test_a_snapshot_before_the_first_chunk_holds_the_randomness_even_without_a_seed() -> None:
    pipeline = toy_pipeline(diffusion_model=toy_model(seed=None)).setup()
    cache = pipeline.initialize_cache()
    saved = cache.snapshot()
    assert torch.equal(pipeline.generate(0, cache), pipeline.generate(0, saved))


def test_a_snapshot_shares_the_weights_and_copies_the_state() -> None:
    pipeline = full_pipeline()
    cache = pipeline.initialize_cache()
    cache.transformer_cache.network = pipeline.diffusion_model.transformer
    saved = cache.snapshot()
    assert saved.transformer_cache.network is pipeline.diffusion_model.transformer
    assert saved.transformer_cache.context is not cache.transformer_cache.context


def test_restore_refuses_anything_but_a_snapshot() -> None:
    cache = full_pipeline().initialize_cache()
    with pytest.raises(TypeError, match="got int"):
        cache.restore(3)  # type: ignore[arg-type]


def test_without_a_decoder_the_clean_latent_comes_out() -> None:
    pipeline = toy_pipeline().setup()
    cache = pipeline.initialize_cache()
    output = pipeline.generate(0, cache)
    assert torch.equal(output, pipeline.diffusion_model.generate(0, pipeline.initialize_cache().transformer_cache)[0])
    assert (pipeline.encoder, pipeline.decoder) == (None, None)
    assert pipeline.device == torch.device("cpu")


def test_encoder_and_decoder_get_their_own_caches() -> None:
    pipeline = full_pipeline()
    cache = pipeline.initialize_cache()
    for index in range(3):
        step(pipeline, cache, index)
    assert cache.encoder_cache.total.item() == 0 + 1 + 2
    latent = pipeline.diffusion_model.transformer.unpatchify_of(cache.final_state.clean_latent, cache.transformer_cache)
    torch.testing.assert_close(cache.decoder_cache.total, latent.mean())


def test_the_null_encoder_hands_its_input_to_the_model() -> None:
    pipeline = toy_pipeline(encoder=NullEncoderConfig()).setup()
    cache = pipeline.initialize_cache()
    given = torch.ones(1, 4, 2, 3)
    pipeline.generate(0, cache, given)
    assert torch.equal(cache.final_state.input, torch.ones(1, 6, 4))


@pytest.mark.parametrize("index", [1, -1, 5])
def test_the_first_index_is_zero(index: int) -> None:
    pipeline = toy_pipeline().setup()
    with pytest.raises(ValueError, match=f"must be 0 now, got {index}"):
        pipeline.generate(index, pipeline.initialize_cache())


@pytest.mark.parametrize("index", [0, 2])
def test_the_index_goes_up_by_one(index: int) -> None:
    pipeline = toy_pipeline().setup()
    cache = pipeline.initialize_cache()
    pipeline.generate(0, cache)
    pipeline.finalize(0, cache)
    with pytest.raises(ValueError, match=f"must be 1 now, got {index}"):
        pipeline.generate(index, cache)


def test_finalize_wants_the_newest_chunk_once() -> None:
    pipeline = toy_pipeline().setup()
    cache = pipeline.initialize_cache()
    with pytest.raises(RuntimeError, match=r"needs a generate\(0\)"):
        pipeline.finalize(0, cache)
    pipeline.generate(0, cache)
    with pytest.raises(ValueError, match="only chunk 0 can be finalized, got 1"):
        pipeline.finalize(1, cache)
    pipeline.finalize(0, cache)
    with pytest.raises(RuntimeError, match=r"needs a generate\(0\)"):
        pipeline.finalize(0, cache)


def test_input_must_match_the_encoder() -> None:
    without = toy_pipeline().setup()
    with pytest.raises(ValueError, match="no encoder"):
        without.generate(0, without.initialize_cache(), torch.zeros(()))
    with_encoder = full_pipeline()
    cache = with_encoder.initialize_cache()
    with pytest.raises(ValueError, match="has an encoder"):
        with_encoder.generate(0, cache)
    step(with_encoder, cache, 0)  # the refused call changed nothing


@pytest.mark.parametrize("role", ["encoder", "decoder"])
def test_a_context_without_its_part_is_ignored(role: str) -> None:
    cache = toy_pipeline().setup().initialize_cache(**{f"{role}_context": {"size": 1}})
    assert getattr(cache, f"{role}_cache") is None


def test_nothing_on_the_way_keeps_gradients() -> None:
    pipeline = full_pipeline()
    cache = pipeline.initialize_cache()
    assert not step(pipeline, cache, 0).requires_grad
    assert not cache.transformer_cache.context.requires_grad


def test_finalize_reports_times_only_when_asked() -> None:
    quiet, loud = full_pipeline(), full_pipeline(enable_sync_and_profile=True)
    cache = quiet.initialize_cache()
    quiet.generate(0, cache, torch.zeros(()))
    assert quiet.finalize(0, cache) is None
    assert list(cache.event_profiler.elapsed_ms()) == ["encode", "diffuse", "decode", "finalize"]

    cache = loud.initialize_cache()
    for index in range(2):
        loud.generate(index, cache, torch.zeros(()))
        times = loud.finalize(index, cache)
        stages = ("encode_ms", "diffuse_ms", "decode_ms", "finalize_ms")
        assert set(times) == {*stages, "total_ms", "total_ms_wo_finalize"}
        assert all(times[stage] > 0 for stage in stages)
        assert times["total_ms"] == pytest.approx(sum(times[stage] for stage in stages))
        assert times["total_ms_wo_finalize"] == pytest.approx(times["total_ms"] - times["finalize_ms"])
