"""The contracts of streaming decoders, in general and of video."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from torch import nn

from flashdreams.infra.config.base import InstantiateConfig
from flashdreams.infra.temporal import causal_latent_frames, causal_pixel_frames


@dataclass(kw_only=True)
class DecoderConfig(InstantiateConfig):
    """Config of a `StreamingDecoder`."""

    _target: type = field(default_factory=lambda: StreamingDecoder)


@dataclass(kw_only=True, eq=False)
class StreamingDecoderCache:
    """A rollout's state in a streaming decoder."""


StreamingDecoderCacheT = TypeVar("StreamingDecoderCacheT", bound=StreamingDecoderCache)


class StreamingDecoder(ABC, nn.Module, Generic[StreamingDecoderCacheT]):
    """A decoder of one chunk's latent after another, without rollout state.

    A subclass defines `forward(input, autoregressive_index=0, cache=None)`; `cache=None` is a one-shot call.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config: Any = config

    @abstractmethod
    def initialize_autoregressive_cache(self, **context: Any) -> StreamingDecoderCacheT:
        """Return the cache of a new rollout."""


class StreamingVideoDecoder(StreamingDecoder[StreamingDecoderCacheT]):
    """A streaming decoder to video `[..., T, C, H, W]`."""

    @property
    @abstractmethod
    def spatial_compression_ratio(self) -> int:
        """Pixels to a latent position, along each side."""

    @property
    @abstractmethod
    def temporal_compression_ratio(self) -> int:
        """Pixel frames to a latent frame, the first of a rollout aside."""

    @abstractmethod
    def get_output_temporal_size(self, autoregressive_index: int, input_temporal_size: int) -> int:
        """Return pixel frames that a chunk of latent frames gives.

        Raises ValueError for a count that cannot be decoded.
        """

    @abstractmethod
    def get_input_temporal_size(self, autoregressive_index: int, output_temporal_size: int) -> int:
        """Return latent frames that give a chunk of pixel frames.

        Raises ValueError for a count that cannot be reached.
        """


class CausalVideoDecoder(StreamingVideoDecoder[StreamingDecoderCacheT]):
    """A streaming decoder to video that keeps to the rule of `flashdreams.infra.temporal`."""

    def get_output_temporal_size(self, autoregressive_index: int, input_temporal_size: int) -> int:
        return causal_pixel_frames(autoregressive_index, input_temporal_size, self.temporal_compression_ratio)

    def get_input_temporal_size(self, autoregressive_index: int, output_temporal_size: int) -> int:
        return causal_latent_frames(autoregressive_index, output_temporal_size, self.temporal_compression_ratio)
