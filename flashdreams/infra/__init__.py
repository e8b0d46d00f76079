"""What every streaming model shares: config, pipeline, diffusion model, scheduler, encoder, decoder, runner."""
