"""The audience without a server: who gets which chunk."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel

from backend.engine.controls import ControlSnapshot
from backend.engine.history import Node
from backend.engine.rollout import GeneratedChunk
from backend.media.encoder_thread import EncodedFrames
from backend.media.fmp4 import Sample, VideoFormat
from backend.media.h264 import ChunkEncoder
from backend.session.chunk_messages import EncodedChunk
from backend.session.viewers import MAX_UNSEEN_SECONDS, Viewers
from backend.wire.server_messages import ChunkMessage, PlayerName
from flashdreams.infra.world.base import Controls

FPS = 24
VIDEO = VideoFormat(ChunkEncoder(64, 64, FPS).parameter_sets, 64, 64, FPS)


class Screen:
    """A client that keeps what it is sent."""

    player: PlayerName = "mse"

    def __init__(self) -> None:
        self.messages: list[BaseModel] = []

    def send(self, message: BaseModel, media: bytes | None = None) -> None:
        self.messages.append(message)

    def close(self, code: int, reason: str) -> None:
        self.messages.clear()

    @property
    def chunks(self) -> list[ChunkMessage]:
        return [message for message in self.messages if isinstance(message, ChunkMessage)]


def encoded_chunk(index: int, *, key: bool) -> EncodedChunk:
    controls = Controls(poses=np.repeat(np.eye(4)[None], 4, 0))
    node = Node(index, index - 1, None, controls, "meadow", 0.0)
    generated = GeneratedChunk(
        node, np.zeros((4, 64, 64, 3), np.uint8), ControlSnapshot(controls, 9, 0.0, 0.0), 0.0, {}, 0.0, False
    )
    samples = [Sample(b"\0\0\0\1e", key and frame == 0) for frame in range(4)]
    return EncodedChunk(generated, EncodedFrames(samples, [], 1.0), False, False, 0.0)


def test_a_slow_watcher_is_left_out_until_a_key_frame_and_nobody_waits_for_it() -> None:
    viewers, slow, quick = Viewers(VIDEO), Screen(), Screen()
    viewers.add(slow)
    swift = viewers.add(quick)
    for index in range(60):
        viewers.deliver(encoded_chunk(index, key=index % 8 == 0))
        swift.note_shown(index)
    assert [chunk.index for chunk in quick.chunks] == list(range(60))
    first = int(MAX_UNSEEN_SECONDS * FPS / 4) + 1
    again = -(-(first + 1) // 8) * 8
    assert [chunk.index for chunk in slow.chunks][: first + 3] == [*range(first), again, again + 1, again + 2]
    assert [chunk.pts for chunk in slow.chunks] == [4 * n / FPS for n in range(len(slow.chunks))], "media has no gap"


def test_a_watcher_begins_with_the_group_and_jumps_to_its_end() -> None:
    viewers, late = Viewers(VIDEO), Screen()
    for index in range(12):
        viewers.deliver(encoded_chunk(index, key=index % 8 == 0))
    viewers.catch_up(viewers.add(late))
    assert [chunk.index for chunk in late.chunks] == [8, 9, 10, 11]
    assert [chunk.eager for chunk in late.chunks] == [False, False, False, True]
    assert late.chunks[0].pts == 0 and late.chunks[0].keys[0]


def test_nobody_gets_a_chunk_that_nothing_can_begin_with() -> None:
    viewers, player = Viewers(VIDEO), Screen()
    viewers.set_player(player)
    assert viewers.deliver(encoded_chunk(0, key=False)) == 0
    assert viewers.deliver(encoded_chunk(1, key=True)) > 0
    assert [(chunk.index, chunk.seq) for chunk in player.chunks] == [(1, 9)]
