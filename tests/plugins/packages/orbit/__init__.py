"""A plugin with parts of its own around Wan: a camera beside the picture, in encoder, network and pipeline."""
