"""What moves in worlds without end: people and animals, birds, boats."""
