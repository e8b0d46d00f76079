"""`flashdreams-run <slug> [--field value ...]`: run a model by name from the command line."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

import tyro

from flashdreams.configs.integrations import without_alias
from flashdreams.configs.nearest import with_nearest
from flashdreams.configs.runner_configs import all_runners
from flashdreams.core import distributed
from flashdreams.infra.runner import RunnerConfig, resolve_device
from flashdreams.scripts import dtypes
from flashdreams.terminal import tolerate_any_letter

_USAGE = """usage: flashdreams-run <slug> [--dry-run | --check-checkpoint] [--field value ...]

Runs a model by its slug; any field of its config can be set.
  flashdreams-run <slug> --help              the fields of a runner
  flashdreams-run <slug> --dry-run           print the config that would run and the memory it needs, and stop
  flashdreams-run <slug> --check-checkpoint  compare the files of weights with the model, and stop

runners:
{runners}"""


def main(config: RunnerConfig, no_instantiate: bool = False) -> None:
    """Set up the runner of `config` and run it; with `no_instantiate` print the config instead."""
    if no_instantiate:
        print(config)
    else:
        config.setup().run()


def entrypoint(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0 when it ran, 1 when it failed, 2 for bad arguments."""
    tolerate_any_letter()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    arguments = list(sys.argv[1:] if argv is None else argv)
    runners = all_runners()
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage(runners), file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else 2
    slug, *rest = arguments
    slug = without_alias(slug)
    if slug not in runners:
        print(with_nearest(f"flashdreams-run: unknown runner {slug!r}", slug, runners), file=sys.stderr)
        return 2
    actions = [argument for argument in rest if argument in _ACTIONS]
    config = _parse(slug, runners[slug], [argument for argument in rest if argument not in _ACTIONS])
    try:
        return _ACTIONS[actions[-1]](config) if actions else _run(config)
    except (ValueError, KeyError, OSError, ImportError) as error:  # a person's mistake; else a fault shows its trace
        message = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
        peers = distributed.peers()
        if peers is None or peers.failed(message):
            print(f"flashdreams-run: {message}", file=sys.stderr)
        return 1
    finally:
        distributed.shutdown()


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
        registry=dtypes.arguments,
    )
    return config


def _dry_run(config: RunnerConfig) -> int:
    """Print the config and the memory plan, where there is one."""
    print(config)
    plan = config.memory_plan()
    if plan is not None:
        print(f"\n{plan.table(resolve_device(config.device))}")
    return 0


def _print(config: RunnerConfig) -> int:
    main(config, no_instantiate=True)
    return 0


def _check(config: RunnerConfig) -> int:
    """Print a line for every file of weights; 1 where one of them cannot be used."""
    checked = list(config.check_checkpoints())
    for each in checked:
        told = "fits" if each.problem is None else f"cannot be used: {each.problem}"
        print(f"{each.part}: {each.file} {told}", file=sys.stderr if each.problem else sys.stdout)
    if not checked:
        print(f"{config.runner_name} names no file of weights")
    return int(any(each.problem for each in checked))


def _run(config: RunnerConfig) -> int:
    try:
        main(config)
    except (ValueError, KeyError, OSError, ImportError):
        raise
    except Exception:
        if (peers := distributed.peers()) is not None:
            peers.wait_for_failure()  # a process that is gone is the reason, not what its absence broke here
        raise
    return 0


_ACTIONS = {"--dry-run": _dry_run, "--no-instantiate": _print, "--check-checkpoint": _check}


if __name__ == "__main__":
    sys.exit(entrypoint())
