"""Trajectory file formats, one module each: text or a parsed document in, a `CameraPath` out."""
