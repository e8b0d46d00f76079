"""Worlds without end, dreamed tile by tile: each tile is a function of the seed, the words and its coordinates."""
