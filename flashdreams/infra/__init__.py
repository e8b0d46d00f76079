"""Contracts of streaming models: config, pipeline, diffusion model, scheduler, encoder, decoder, runner."""
