"""A model of your own: a small network that paints what a camera sees."""
