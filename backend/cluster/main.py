"""The command `flashdreams-cluster`: serves one world from many machines at one address."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backend.cluster.groups import RankSpec
from backend.server.http_server import PortTaken, bind
from backend.settings import Settings, settings_from

USAGE_ERROR = 2
RAY_TOKEN = Path("~/.ray/auth_token")
"""File in which Ray keeps the token of its clusters."""
SECRET_BYTES = 24
KEY = b"flashdreams-secret"
"""Key in Ray's internal store under which every process of the cluster finds the servers' access token."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns the exit status: 0, or 2 after a mistake."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    options, rest = parser().parse_known_args(sys.argv[1:] if arguments is None else list(arguments))
    if options.command == "serve":
        try:
            RankSpec(ranks=options.ranks, cpus=options.cpus, gpus=options.gpus, across_nodes=options.across_nodes)
        except ValueError as error:
            return _refuse(str(error))
    if options.command == "serve" and not options.ray:
        # Whoever reaches Ray's ports can run anything. Ray reads this when it is imported, on every system in spite of
        # the name: a cluster of one machine listens on the loopback address alone.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    if RAY_TOKEN.expanduser().is_file():  # a cluster that Ray 2.60 starts asks for it, and its clients show it if told
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray
    except ImportError:
        return _refuse("Ray is not installed: pip install 'flashdreams-play[cluster]'")
    try:
        _connect(ray, options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        return _refuse(f"no Ray cluster: {error}")
    if options.command == "serve":
        return _serve(options, settings_from(rest))
    if rest:
        return _refuse(f"unknown options: {' '.join(rest)}")
    return {"status": _status, "drain": _drain, "move": _move, "stop": _stop}[options.command](options)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line, without the options of `flashdreams-play`."""
    found = argparse.ArgumentParser(
        prog="flashdreams-cluster",
        allow_abbrev=False,  # `--world` is an option of the servers, and no short form of `--world-module`
        description="Serve one world from many machines at one address. Options of `flashdreams-play` apply to every "
        "world server: --world, --checkpoint, --capacity, --access-token, ...",
    )
    found.add_argument("--ray", default=None, metavar="ADDRESS", help="Ray cluster to join; none: start one here")
    commands = found.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", allow_abbrev=False, help="start front doors and world servers, and wait")
    serve.add_argument("--servers", type=_count, default=1, help="world servers to begin with, and at least")
    serve.add_argument("--max-servers", type=_count, default=None, help="at most; none: as many as --servers")
    serve.add_argument(
        "--front-doors", type=_count, default=2, help="replicas of the front door: where one ends, pages use another"
    )
    serve.add_argument("--cpus", type=float, default=2.0, help="CPU cores of each process of a world server")
    serve.add_argument("--gpus", type=float, default=0.0, help="GPUs of each process of a world server")
    serve.add_argument(
        "--ranks", type=int, default=1, help="processes of a world server, which share its model (context parallelism)"
    )
    serve.add_argument("--across-nodes", action="store_true", help="let the processes of a server be on several nodes")
    serve.add_argument("--spare-places", type=_count, default=1, help="free places to keep")
    serve.add_argument(
        "--replicate", type=float, default=5.0, help="seconds between copies of sessions outside their server; 0: none"
    )
    serve.add_argument("--world-module", default=None, help=argparse.SUPPRESS)
    commands.add_parser("status", help="print the servers with their load")
    drain = commands.add_parser("drain", help="give a server no new visits, and stop it when its sessions are over")
    drain.add_argument("server", help="name of a world server, as `status` prints it")
    move = commands.add_parser("move", help="move a session to another server; its page goes on by itself")
    move.add_argument("token", help="the session's token")
    move.add_argument("--to", default=None, metavar="SERVER", help="the server; none: the best one")
    commands.add_parser("stop", help="stop the front doors and all world servers")
    return found


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1000:
        raise argparse.ArgumentTypeError(f"must be 1 to 1000, got {number}")
    return number


def _connect(ray: Any, options: argparse.Namespace) -> None:
    from backend.cluster.ray_fleet import NAMESPACE

    address = options.ray or ("local" if options.command == "serve" else "auto")
    local = {} if address != "local" else {"include_dashboard": False}
    ray.init(address=address, namespace=NAMESPACE, log_to_driver=True, logging_level=logging.WARNING, **local)


def _serve(options: argparse.Namespace, settings: Settings) -> int:

    from backend.cluster.controller import ServerSpec, start_controller
    from backend.cluster.front_door import deploy, is_deployed
    from backend.cluster.placement import ScalingPolicy
    from backend.cluster.vault import start_vaults

    most = options.max_servers or options.servers
    if most < options.servers:
        return _refuse(f"--max-servers must be at least --servers ({options.servers}), got {most}")
    if not is_deployed():  # front doors share the port, which would hide a stranger's cluster that has it already
        try:
            bind(settings.host, settings.port).close()
        except (PortTaken, OSError) as error:
            return _refuse(str(error))
    secret = cluster_secret()
    host = "127.0.0.1" if settings.is_local and not options.ray else ""  # then every server takes its node's
    inner = settings.model_dump(exclude={"host", "port", "browser", "access_token"}) | {"access_token": secret}
    spec = ServerSpec(
        settings=inner,
        cpus=options.cpus,
        gpus=options.gpus,
        ranks=options.ranks,
        across_nodes=options.across_nodes,
        host=host,
        module=options.world_module,
        replicate=options.replicate,
    )
    policy = ScalingPolicy(min_servers=options.servers, max_servers=most, spare_places=options.spare_places)
    if settings.access_token is None and not settings.is_local:
        settings = settings.model_copy(update={"access_token": secrets.token_urlsafe(12)})
    if options.replicate > 0:
        start_vaults()
    start_controller(spec, policy, secret)
    try:
        deploy(settings, secret, options.front_doors)
    except RuntimeError as error:
        return _refuse(f"the front door could not be started: {error}")
    token = f"?access={settings.access_token}" if settings.access_token else ""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    print(f"\n  Open http://{host}:{settings.port}/{token}\n  Ctrl-C stops.\n", flush=True)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        return 0 if options.ray else _stop(options)


def cluster_secret() -> str:
    """Return the cluster's secret: the one in Ray's store, or a new one that is put there."""
    from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_put

    # The first process of the cluster draws it; all others find it there.
    _internal_kv_put(KEY, secrets.token_urlsafe(SECRET_BYTES).encode(), overwrite=False)
    found: bytes = _internal_kv_get(KEY)
    return found.decode()


def _status(_options: argparse.Namespace) -> int:
    import asyncio

    from backend.cluster.ray_fleet import RayFleet, ranks_of, server_names
    from backend.cluster.ray_group import group_waits
    from backend.cluster.relay import Relay
    from backend.cluster.status import status_lines

    async def loads() -> dict[str, Any]:
        relay = Relay(RayFleet(), cluster_secret())
        try:
            return dict(await relay.loads())
        finally:
            await relay.close()

    found, names = asyncio.run(loads()), server_names()
    waits = group_waits(name for name in names if name not in found)
    print("\n".join(status_lines(names, found, ranks_of(found), waits)))
    return 0


def _drain(options: argparse.Namespace) -> int:
    import ray

    from backend.cluster.controller import NAME
    from backend.cluster.ray_fleet import NAMESPACE, server_names

    names = server_names()
    if options.server not in names:
        return _refuse(f"no world server {options.server!r}: there are {', '.join(names) or 'none'}")
    ray.get(ray.get_actor(NAME, NAMESPACE).drain.remote(options.server))
    print(f"{options.server} takes no new visits and stops when its sessions are over.")
    return 0


def _move(options: argparse.Namespace) -> int:
    import ray

    from backend.cluster.controller import NAME
    from backend.cluster.ray_fleet import NAMESPACE

    try:
        controller: Any = ray.get_actor(NAME, NAMESPACE)
        server: str = ray.get(controller.move.remote(options.token, options.to))
    except ray.exceptions.RayTaskError as error:
        return _refuse(str(error.cause))
    print(f"The session goes on at {server}.")
    return 0


def _stop(_options: argparse.Namespace) -> int:
    import ray
    from ray import serve

    from backend.cluster.controller import NAME
    from backend.cluster.ray_fleet import NAMESPACE, server_names, stop_server
    from backend.cluster.vault import NAMES as VAULTS

    serve.shutdown()
    for name in (NAME, *VAULTS):
        with contextlib.suppress(ValueError):
            ray.kill(ray.get_actor(name, NAMESPACE), no_restart=True)
    for name in server_names():
        stop_server(name)
    return 0


def _refuse(sentence: str) -> int:
    print(f"flashdreams-cluster: {sentence}", file=sys.stderr)
    return USAGE_ERROR


if __name__ == "__main__":
    sys.exit(main())
