"""The shortest whole model: encoder, transformer, decoder and runners to start your own from, on a CPU too."""
