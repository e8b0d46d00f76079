"""`flashdreams-run <slug> [--field value ...]`: run a model by name from the command line."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

import tyro

from flashdreams.configs.nearest import with_nearest
from flashdreams.configs.runner_configs import all_runners
from flashdreams.core import distributed
from flashdreams.infra.runner import RunnerConfig

_USAGE = """usage: flashdreams-run <slug> [--dry-run] [--field value ...]

Runs a model by its slug; any field of its config can be set.
  flashdreams-run <slug> --help     the fields of a runner
  flashdreams-run <slug> --dry-run  print the config that would run, and stop

runners:
{runners}"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status: 0 when it ran, 1 when it failed, 2 for bad arguments."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    arguments = list(sys.argv[1:] if argv is None else argv)
    runners = all_runners()
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage(runners), file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else 2
    slug, *rest = arguments
    if slug not in runners:
        print(with_nearest(f"flashdreams-run: unknown runner {slug!r}", slug, runners), file=sys.stderr)
        return 2
    dry_run = "--dry-run" in rest
    config = _parse(slug, runners[slug], [argument for argument in rest if argument != "--dry-run"])
    if dry_run:
        print(config)
        return 0
    return _run(config)


def _usage(runners: dict[str, RunnerConfig]) -> str:
    width = max(map(len, runners), default=0)
    lines = [f"  {slug:<{width}}  {runner.description}".rstrip() for slug, runner in runners.items()]
    return _USAGE.format(runners="\n".join(lines) or "  none")


def _parse(slug: str, runner: RunnerConfig, arguments: list[str]) -> RunnerConfig:
    config: RunnerConfig = tyro.cli(
        type(runner),
        prog=f"flashdreams-run {slug}",
        description=runner.description,
        default=runner,
        args=arguments,
        config=(tyro.conf.AvoidSubcommands, tyro.conf.SuppressFixed),
    )
    return config


def _run(config: RunnerConfig) -> int:
    try:
        config.setup().run()
    except (ValueError, KeyError, OSError) as error:  # a person's mistake; anything else is a fault and shows its trace
        message = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
        peers = distributed.peers()
        if peers is None or peers.failed(message):
            print(f"flashdreams-run: {message}", file=sys.stderr)
        return 1
    except Exception:
        if (peers := distributed.peers()) is not None:
            peers.wait_for_news()  # a process that is gone is the reason, not what its absence broke here
        raise
    finally:
        distributed.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
