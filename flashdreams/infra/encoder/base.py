"""The contracts of encoders: one-shot, streaming, and streaming over video."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from torch import nn

from flashdreams.infra.config.base import InstantiateConfig
from flashdreams.infra.memory.tracker import on_meta, weight_bytes


@dataclass(kw_only=True)
class EncoderConfig(InstantiateConfig):
    """Config of an `Encoder` or a `StreamingEncoder`."""

    _target: type = field(default_factory=lambda: Encoder)

    def check_prompts(self, prompts: Sequence[str], name: str = "text") -> None:
        """Raise ValueError for prompts that the encoder cannot take, without loading it; `name` is in the message."""

    def weight_bytes(self) -> int:
        """Return bytes of the encoder's weights; nothing is loaded to know them."""
        return weight_bytes(on_meta(self))


class Encoder(ABC, nn.Module):
    """An encoder of a whole input at once, e.g. a prompt; a subclass defines `forward(input)`."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config: Any = config


@dataclass(kw_only=True, eq=False)
class StreamingEncoderCache:
    """A rollout's state in a streaming encoder."""


StreamingEncoderCacheT = TypeVar("StreamingEncoderCacheT", bound=StreamingEncoderCache)


class StreamingEncoder(ABC, nn.Module, Generic[StreamingEncoderCacheT]):
    """An encoder of one chunk after another, without rollout state.

    A subclass defines `forward(input, autoregressive_index=0, cache=None)`; `cache=None` is a one-shot call.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config: Any = config

    @abstractmethod
    def initialize_autoregressive_cache(self, **context: Any) -> StreamingEncoderCacheT:
        """Return the cache of a new rollout."""


class StreamingVideoEncoder(StreamingEncoder[StreamingEncoderCacheT]):
    """A streaming encoder of video `[..., T, C, H, W]`. `flashdreams.infra.temporal` has the rule for causal ones."""

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
        """Return latent frames that a chunk of pixel frames gives.

        Raises ValueError for a count that cannot be encoded.
        """

    @abstractmethod
    def get_input_temporal_size(self, autoregressive_index: int, output_temporal_size: int) -> int:
        """Return pixel frames that give a chunk of latent frames.

        Raises ValueError for a count that cannot be reached.
        """


@dataclass(kw_only=True)
class NullEncoderConfig(EncoderConfig):
    """Config of `NullEncoder`."""

    _target: type = field(default_factory=lambda: NullEncoder)


class NullEncoder(Encoder):
    """The identity, for models that are conditioned on their input as it is; works as a streaming encoder too."""

    def forward(self, input: Any, autoregressive_index: int = 0, cache: StreamingEncoderCache | None = None) -> Any:
        """Return `input` itself."""
        return input

    def initialize_autoregressive_cache(self, **context: Any) -> StreamingEncoderCache:
        """Return an empty cache; raises TypeError for any context."""
        if context:
            raise TypeError(f"NullEncoder takes no rollout context, got {', '.join(context)}")
        return StreamingEncoderCache()
