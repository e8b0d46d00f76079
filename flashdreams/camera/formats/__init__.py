"""Trajectory file formats, one module each: text or a parsed document in, a `Trajectory` out."""
