"""The six scenes of the pocket world: geometry, movement in them, and their maps."""
