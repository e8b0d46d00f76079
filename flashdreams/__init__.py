"""flashdreams: real-time streaming video world models, as a library."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("flashdreams-play")
except PackageNotFoundError:  # a source tree that is not installed
    __version__ = "0.1.0"

__all__ = ["__version__"]
