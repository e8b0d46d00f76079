"""The diffusion model keeps each rollout's randomness in its cache and feeds the KV cache what the config says."""

from __future__ import annotations

import pytest
import torch

from flashdreams.infra.diffusion.model.base import DiffusionModel
from tests.infra.toy import ToyCache, toy_model


def test_rng_is_there_only_with_a_seed() -> None:
    assert toy_model().setup().rng is None
    rng = toy_model(seed=7).setup().rng
    assert isinstance(rng, torch.Generator)
    assert rng.initial_seed() == 7


def test_generate_returns_the_picture_and_keeps_the_tokens() -> None:
    model, cache = toy_model(seed=1).setup(), ToyCache(2, 5)
    latent, state = model.generate(0, cache)
    assert latent.shape == (1, 4, 2, 5)
    assert state.clean_latent.shape == (1, 10, 4)
    assert torch.equal(model.transformer.unpatchify_of(state.clean_latent, cache), latent)
    assert (state.autoregressive_index, state.cache, state.input) == (0, cache, None)
    assert not latent.requires_grad


def test_the_network_sees_the_schedule_and_then_the_clean_chunk() -> None:
    model, cache = toy_model(seed=1).setup(), ToyCache(2, 3)
    _, state = model.generate(0, cache)
    model.finalize(state)
    assert cache.timesteps == [*model.scheduler.timesteps.tolist(), 0.0]
    assert cache.calls == [("start", 0), ("finalize", 0)]
    torch.testing.assert_close(cache.context, state.clean_latent.mean(dim=(0, 1)))


def test_context_noise_corrupts_what_enters_the_cache() -> None:
    model, cache = toy_model(seed=1, context_noise=500).setup(), ToyCache(2, 3)
    _, state = model.generate(0, cache)
    rng = model.rng.clone_state()
    model.finalize(state)
    assert cache.timesteps[-1] == 500.0
    noisy = model.scheduler.add_noise(state.clean_latent, 500.0, rng=rng)
    assert torch.equal(cache.context, noisy.mean(dim=(0, 1)))
    assert not torch.allclose(cache.context, state.clean_latent.mean(dim=(0, 1)))


def test_the_same_seed_dreams_the_same_and_another_does_not() -> None:
    model = toy_model(seed=3).setup()
    first, second, other = ToyCache(2, 3), ToyCache(2, 3), ToyCache(2, 3)
    model.seed_rollout(first)
    model.seed_rollout(second)
    model.seed_rollout(other, seed=4)
    dream = model.generate(0, first)[0]
    assert torch.equal(model.generate(0, second)[0], dream)
    assert not torch.equal(model.generate(0, other)[0], dream)


def test_without_a_seed_each_rollout_dreams_something_else_but_torch_can_seed_it() -> None:
    model = toy_model().setup()
    torch.manual_seed(0)
    first, second = (model.generate(0, ToyCache(2, 3))[0] for _ in range(2))
    assert not torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(model.generate(0, ToyCache(2, 3))[0], first)


def test_noise_can_be_drawn_in_the_shape_of_the_picture() -> None:
    def first_noise(unpatchified: bool) -> torch.Tensor:
        model = toy_model(seed=1, noise_in_unpatchified_shape=unpatchified).setup()
        cache, seen = ToyCache(2, 5), []
        model.scheduler.sample = lambda noise, predict_flow, rng=None: seen.append(noise) or noise
        model.generate(0, cache)
        return seen[0]

    picture = torch.randn(1, 4, 2, 5, generator=torch.Generator().manual_seed(1))
    assert torch.equal(first_noise(True), picture)
    assert torch.equal(first_noise(False), torch.randn(1, 10, 4, generator=torch.Generator().manual_seed(1)))


def test_in_the_shape_of_the_picture_all_noise_of_a_rollout_is_one_sequence() -> None:
    model = toy_model(seed=1, noise_in_unpatchified_shape=True, context_noise=300).setup()
    cache, rng = ToyCache(2, 5), torch.Generator().manual_seed(1)
    levels, mix = model.scheduler.denoising_sigmas.tolist(), model.transformer.mix
    latent, state = model.generate(0, cache)
    x = torch.randn(1, 4, 2, 5, generator=rng)
    for i, level in enumerate(levels):  # the same loop, written for a network that works on pictures
        if i > 0:
            x = (1 - level) * x + level * torch.randn(1, 4, 2, 5, generator=rng)
        flow = torch.nn.functional.conv2d(x, mix.weight[:, :, None, None], mix.bias)
        x = x - level * flow
    torch.testing.assert_close(latent, x, rtol=0, atol=1e-5)
    model.finalize(state)
    noisy = model.scheduler.add_noise(latent, 300.0, rng=rng)
    torch.testing.assert_close(cache.context, noisy.mean(dim=(0, 2, 3)), rtol=0, atol=1e-6)


def test_called_directly_the_model_draws_from_its_rng_which_goes_on() -> None:
    model = toy_model(seed=3).setup()
    first, second = (model.generate(0, ToyCache(2, 3))[0] for _ in range(2))
    assert not torch.equal(first, second)
    model.rng.manual_seed(3)
    assert torch.equal(model.generate(0, ToyCache(2, 3))[0], first)


def test_a_rollout_of_its_own_generator_starts_where_rng_stands_and_leaves_it_there() -> None:
    model, cache = toy_model(seed=3).setup(), ToyCache(2, 3)
    model.seed_rollout(cache)
    before = model.rng.get_state()
    own = model.generate(0, cache)[0]
    assert torch.equal(model.rng.get_state(), before)
    assert torch.equal(model.generate(0, ToyCache(2, 3))[0], own)


def test_without_a_seed_noise_is_torchs_own() -> None:
    model, seen = toy_model().setup(), []
    model.scheduler.sample = lambda noise, predict_flow, rng=None: seen.append(noise) or noise
    torch.manual_seed(5)
    model.generate(0, ToyCache(2, 3))
    torch.manual_seed(5)
    assert torch.equal(seen[0], torch.randn(1, 6, 4))


def test_generics_can_be_subscripted() -> None:
    assert DiffusionModel[ToyCache].__origin__ is DiffusionModel
    assert DiffusionModel.FinalState[ToyCache].__origin__ is DiffusionModel.FinalState


def test_latents_have_the_dtype_of_the_weights_and_the_schedule_stays_exact() -> None:
    model = toy_model(seed=1).setup().to(torch.bfloat16)
    assert model.dtype == torch.bfloat16
    cache = ToyCache(2, 3)
    latent, _ = model.generate(0, cache)
    assert latent.dtype == torch.bfloat16
    assert cache.timesteps == model.scheduler.timesteps.tolist()
    assert cache.timesteps[2] == pytest.approx(888.88892, abs=1e-5)


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, True])
def test_a_bad_seed_is_named(seed: object) -> None:
    with pytest.raises(ValueError, match="seed must be"):
        toy_model(seed=seed).setup()


def test_a_bad_context_noise_is_named() -> None:
    with pytest.raises(ValueError, match=r"context_noise .* got -3"):
        toy_model(context_noise=-3).setup()


def test_final_state_takes_keywords_only() -> None:
    with pytest.raises(TypeError):
        DiffusionModel.FinalState(torch.zeros(1), 0, ToyCache(1, 1))  # type: ignore[misc]
