"""Procedural lands: a grammar of worlds by seed, their state in cells, and true views of them, for training and evaluation."""
