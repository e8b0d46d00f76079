"""The audience without a server: who gets which chunk."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel

from backend.engine.controls import Shaping
from backend.engine.history import Node
from backend.engine.rollout import Dreamed
from backend.media.encoder_thread import Encoded
from backend.media.fmp4 import Sample, VideoFormat
from backend.media.h264 import ChunkEncoder
from backend.session.chunk_messages import Parcel
from backend.session.viewers import MAX_UNSEEN_SECONDS, Audience
from backend.wire.server_messages import Chunk, PlayerName
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
    def chunks(self) -> list[Chunk]:
        return [message for message in self.messages if isinstance(message, Chunk)]


def parcel(index: int, *, key: bool) -> Parcel:
    controls = Controls(poses=np.repeat(np.eye(4)[None], 4, 0))
    node = Node(index, index - 1, None, controls, "meadow", 0.0)
    dreamed = Dreamed(node, np.zeros((4, 64, 64, 3), np.uint8), Shaping(controls, 9, 0.0, 0.0), 0.0, {}, 0.0, False)
    samples = [Sample(b"\0\0\0\1e", key and frame == 0) for frame in range(4)]
    return Parcel(dreamed, Encoded(samples, [], 1.0), False, False, 0.0)


def test_a_slow_watcher_is_left_out_until_a_key_frame_and_nobody_waits_for_it() -> None:
    audience, slow, quick = Audience(VIDEO), Screen(), Screen()
    audience.join(slow)
    swift = audience.join(quick)
    for index in range(60):
        audience.deliver(parcel(index, key=index % 8 == 0))
        swift.note_shown(index)
    assert [chunk.index for chunk in quick.chunks] == list(range(60))
    first = int(MAX_UNSEEN_SECONDS * FPS / 4) + 1
    again = -(-(first + 1) // 8) * 8
    assert [chunk.index for chunk in slow.chunks][: first + 3] == [*range(first), again, again + 1, again + 2]
    assert [chunk.pts for chunk in slow.chunks] == [4 * n / FPS for n in range(len(slow.chunks))], "media has no gap"


def test_a_watcher_begins_with_the_group_and_jumps_to_its_end() -> None:
    audience, late = Audience(VIDEO), Screen()
    for index in range(12):
        audience.deliver(parcel(index, key=index % 8 == 0))
    audience.catch_up(audience.join(late))
    assert [chunk.index for chunk in late.chunks] == [8, 9, 10, 11]
    assert [chunk.eager for chunk in late.chunks] == [False, False, False, True]
    assert late.chunks[0].pts == 0 and late.chunks[0].keys[0]


def test_nobody_gets_a_chunk_that_nothing_can_begin_with() -> None:
    audience, player = Audience(VIDEO), Screen()
    audience.take_seat(player)
    assert audience.deliver(parcel(0, key=False)) == 0
    assert audience.deliver(parcel(1, key=True)) > 0
    assert [(chunk.index, chunk.seq) for chunk in player.chunks] == [(1, 9)]
