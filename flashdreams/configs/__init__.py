"""What can be run and played by name."""
