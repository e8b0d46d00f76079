"""The networks of the pocket world and the geometry that they share."""
