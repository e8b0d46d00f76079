"""Cameras: poses, intrinsics, rays, keys to motion, and trajectory files; knows nothing of models."""
