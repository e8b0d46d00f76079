"""Many machines: world servers as Ray actors, front doors as a Ray Serve deployment. Needs the extra `cluster`."""
