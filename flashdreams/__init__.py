"""flashdreams: real-time streaming video world models, as a library."""
