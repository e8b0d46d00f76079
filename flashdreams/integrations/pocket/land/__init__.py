"""Procedural lands: worlds by seed, their state in cells, and true views of them."""
