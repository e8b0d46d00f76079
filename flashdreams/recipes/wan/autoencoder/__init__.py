"""The video autoencoders of Wan 2.1 and 2.2, streaming, and the image-to-video control encoder."""
