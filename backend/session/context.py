"""Parts that all sessions of a server share, and the meaning of a start message."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from backend.clock import Clock, monotonic
from backend.engine.engine import Engine
from backend.engine.history import Beginning
from backend.session.lag import LagMeter
from backend.session.metrics import Metrics
from backend.session.quality_guard import QualityFailures, QualityGuard
from backend.session.replay import Replay, ReplayStore
from backend.session.shared_worlds import SharedWorlds
from backend.session.workers import Workers
from backend.session.world_info import check_scene
from backend.settings import Settings
from backend.store.camera_paths import CameraPathStore
from backend.store.images import ImageStore
from backend.wire import client_messages, server_messages
from flashdreams.infra.world.base import WorldConfig


class ClientSocket(Protocol):
    """A client's connection, as the server's end sees it."""

    def say_shutdown(self) -> None:
        """Tell a client without a session that the server shuts down."""


@dataclass
class NewestInput:
    """When a visitor last pressed a key or looked around, on the server's clock; None before the first time."""

    at: float | None = None


@dataclass(frozen=True)
class Context:
    """The parts that live as long as the server."""

    engine: Engine
    settings: Settings
    camera_path_store: CameraPathStore
    image_store: ImageStore
    replay_store: ReplayStore
    metrics: Metrics
    clock: Clock = monotonic
    workers: Workers = field(default_factory=Workers)
    """Threads for CPU-heavy requests."""
    sockets: set[ClientSocket] = field(default_factory=set)
    """Open sockets of players, viewers and those who wait."""
    newest_input: NewestInput = field(default_factory=NewestInput)

    @property
    def config(self) -> WorldConfig:
        """The world that is played."""
        return self.engine.config

    @cached_property
    def quality_failures(self) -> QualityFailures:
        """Times at which the frames of rollouts went bad."""
        return QualityFailures(self.clock)

    @cached_property
    def lag(self) -> LagMeter:
        """Time that recent chunks took, of all sessions."""
        return LagMeter(self.clock)

    @cached_property
    def shared_worlds(self) -> SharedWorlds | None:
        """Worlds that visitors are in together; None where each visitor has a world alone."""
        return SharedWorlds(self.clock) if self.settings.shared_worlds and self.config.shares_changes else None

    def quality_guard(self) -> QualityGuard | None:
        """Return a guard of a session's frames if one is configured, as in every kiosk."""
        wanted = self.settings.guard or self.settings.kiosk is not None
        return QualityGuard(self.config.fps) if wanted else None

    @cached_property
    def fingerprint(self) -> str:
        """Fingerprint of the loaded model; waits until it is loaded, and reads all weights the first time."""
        return self.engine.world.result().fingerprint()

    def check(self, start: client_messages.StartMessage) -> None:
        """Check a start message without reading files. Raises ProtocolError if this server cannot begin it."""
        config, seq = self.config, start.seq
        if start.world is not None and start.world != config.slug:
            raise client_messages.ProtocolError(
                "unknown_world",
                f"unknown world {start.world[:60]!r}: this server plays {config.slug}, another one after --world",
                seq,
            )
        if start.scene is not None:
            check_scene(config, start.scene, seq)
        if start.text and "text" not in config.controls:
            raise client_messages.ProtocolError("unsupported", f"world {config.slug} takes no text", seq)
        if start.image is not None:
            if "image" not in config.controls:
                raise client_messages.ProtocolError("unsupported", f"world {config.slug} takes no start picture", seq)
            try:
                self.image_store.file(start.image)
            except LookupError as error:
                raise client_messages.ProtocolError("unknown_image", str(error.args[0]), seq) from None

    async def prepare(
        self, beginning: Beginning, notify: Callable[[server_messages.LoadingMessage], None] | None = None
    ) -> None:
        """Let the world get ready to begin there; may take seconds, of which the engine's thread takes none.

        `notify` is told what is done.
        """
        image = None if beginning.image is None else self.image_store.file(beginning.image)
        loop = asyncio.get_running_loop()

        def progress(stage: str, share: float) -> None:
            if notify is not None:
                message = server_messages.LoadingMessage(of="place", stage=stage, fraction=share)
                loop.call_soon_threadsafe(notify, message)

        prepare = self.engine.world.result().prepare
        await asyncio.to_thread(prepare, beginning.scene, beginning.seed, beginning.text, image, progress)

    def rollout_start(
        self, start: client_messages.StartMessage, *, scene: str | None = None, seed: int | None = None
    ) -> tuple[Beginning, Replay | None]:
        """Return what a rollout begins with; `scene` and `seed` apply if the message names none.

        Reads files of replays. Raises ProtocolError.
        """
        if start.replay is not None:
            return self._replayed(start.replay, start.seq)
        if start.seed is not None:
            seed = start.seed
        return Beginning(
            scene=start.scene or scene or self.config.scenes[0].name,
            seed=secrets.randbits(31) if seed is None else seed,
            text=start.text,
            image=start.image,
        ), None

    def _replayed(self, name: str, seq: int) -> tuple[Beginning, Replay]:
        try:
            saved = self.replay_store.get(name)
            image = saved.start_image()
            named = None if image is None else self.image_store.add(image)[0]
        except LookupError as error:
            raise client_messages.ProtocolError("unknown_replay", str(error.args[0]), seq) from None
        except ValueError as error:
            raise client_messages.ProtocolError("bad_replay", str(error), seq) from None
        beginning = Beginning(saved.scene, saved.seed, saved.text, named, replayed=True)
        return beginning, Replay(name, saved, saved.model == self.fingerprint)
