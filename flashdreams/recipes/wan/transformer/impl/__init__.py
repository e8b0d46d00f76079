"""The network of the Wan transformers and its layers."""
