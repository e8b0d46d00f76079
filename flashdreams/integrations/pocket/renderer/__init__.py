"""The renderer that draws training and evaluation frames; never used in play."""
