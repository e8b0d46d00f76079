"""Every figure the README states, each printed as JSON by one command: `python -m benchmarks.chunk`, and so on."""
