"""Mechanisms that models are made of: attention with a KV cache, rotary embeddings, checkpoints, distribution."""
