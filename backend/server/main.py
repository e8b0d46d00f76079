"""The command `flashdreams-play`: reads the settings, listens, opens the page, and serves until it is stopped."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import secrets
import sys
import threading
import webbrowser
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import ValidationError

from backend.kiosk.browser import has_browser
from backend.server.log_limits import limit_log
from backend.settings import ACCESS_QUERY, DRAWN_TOKEN_BYTES, Settings, describe_error, settings_from, world_config
from flashdreams.terminal import tolerate_any_letter

if TYPE_CHECKING:  # torch is imported by `main`, without garbage collection
    from flashdreams.infra.world.base import WorldConfig

USAGE_ERROR = 2
LOG_FORMAT = "%(levelname)s %(name)s: %(message)s"


def main(arguments: list[str] | None = None) -> int:
    """Run the server; returns the exit status: 0 after a stop, 2 after a mistake in the settings."""
    tolerate_any_letter()
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    limit_log()
    gc.disable()  # modules are never garbage: looking through them while they are imported takes a tenth of the start
    try:
        return _run(sys.argv[1:] if arguments is None else arguments)
    finally:
        gc.enable()


def serve(config: WorldConfig, settings: Settings) -> int:
    """Serve one world until it is stopped; returns the exit status."""
    from backend.server.app import create_app  # imported late so that a mistake in the settings is told at once
    from backend.server.http_server import bind, make_server

    if settings.access_token is None and not settings.is_local:
        settings = settings.model_copy(update={"access_token": secrets.token_urlsafe(DRAWN_TOKEN_BYTES)})
    try:
        app = create_app(config, settings)
        listening = bind(settings.host, settings.port)
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        return _refuse(str(error.args[0] if isinstance(error, KeyError) else error))
    address = _address(settings, listening.getsockname()[1])
    _print_settings(config, settings, app.state.manager.capacity)

    def on_listening() -> None:
        opens = settings.browser and has_browser(sys.platform, os.environ)
        print(f"\n  Open {address}{' (your browser is being opened)' if opens else ''}\n  Ctrl-C stops.\n", flush=True)
        if opens:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    gc.freeze()  # what was imported stays: collecting after every session need not look through it
    app.state.engine.world.add_done_callback(lambda _: leave_out_what_is_there())
    gc.enable()
    with listening, contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again once all is closed
        make_server(app, on_listening, settings).run(sockets=[listening])
    return 0


def leave_out_what_is_there() -> None:
    """Leave a loaded world, and what was imported for it, out of garbage collection.

    With a published model's text encoder that is 0.13 s at the end of each session, in which nobody else is served.
    """
    gc.collect()
    gc.freeze()


def _run(arguments: list[str]) -> int:
    try:
        settings = settings_from(arguments)
        config = world_config(settings)
    except ValidationError as error:
        return _refuse(describe_error(error, arguments))
    except (KeyError, ValueError) as error:
        return _refuse(str(error.args[0]))
    return _play(config, settings)


def _play(config: WorldConfig, settings: Settings) -> int:
    """Serve the world; of several processes, which torchrun starts, the first one serves and the others work for it."""
    from flashdreams.core import distributed
    from flashdreams.infra.world.distributed_world import follow, lead

    try:
        several = distributed.init()
    except (RuntimeError, ValueError) as error:
        return _refuse(str(error))
    if not several:
        return serve(config, settings)
    config = replace(config, adapts=False)  # all must do the same
    try:
        if distributed.is_rank_zero():
            return serve(lead(config), settings)
        gc.enable()
        with contextlib.suppress(KeyboardInterrupt):
            follow(config)
        return 0
    except (ValueError, KeyError, OSError) as error:
        sentence, peers = str(error.args[0] if isinstance(error, KeyError) else error), distributed.peers()
        if peers is None or peers.failed(sentence):
            return _refuse(sentence)
        return USAGE_ERROR
    except Exception:
        if (peers := distributed.peers()) is not None:
            peers.wait_for_failure()  # a process that is gone is the reason, not what its absence broke here
        raise
    finally:
        distributed.shutdown()


def _address(settings: Settings, port: int) -> str:
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host.strip("[]")
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/" + (f"?{ACCESS_QUERY}={settings.access_token}" if settings.access_token else "")


def _print_settings(config: WorldConfig, settings: Settings, capacity: int) -> None:
    from backend.media.h264 import has_encoder

    shown = settings.model_dump(exclude={"access_token"}) | {"capacity": capacity}
    print(f"flashdreams plays {config.title} ({config.slug}): {config.width} x {config.height} at {config.fps} fps")
    for name, value in shown.items():
        print(f"  {name.replace('_', '-'):<16} {value if value != '' else 'none'}")
    if not has_encoder():
        print("  This build of FFmpeg has no H.264 encoder: the page gets JPEG pictures, and no video can be kept.")
    if settings.access_token == "" and not settings.is_local:
        print("  Everybody who reaches this address may play: the access token is empty.")
    if not settings.is_local and settings.session_minutes == 0:
        print("  A visitor may keep a place for ever: --session-minutes 30 passes it on after half an hour.")
    if settings.access_token:
        print("  Visitors need the access token in the address below; from elsewhere use this machine's own address.")
    sys.stdout.flush()


def _refuse(sentence: str) -> int:
    print(f"flashdreams-play: {sentence}", file=sys.stderr)
    return USAGE_ERROR


if __name__ == "__main__":
    sys.exit(main())
