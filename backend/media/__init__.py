"""Frames to H.264 to one self-contained MP4 fragment per chunk."""
