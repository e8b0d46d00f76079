"""Movers of worlds without end: people and animals, birds, boats."""
