"""Diffusion models that dream one chunk per autoregressive step: transformer contract, schedulers, and their union."""
