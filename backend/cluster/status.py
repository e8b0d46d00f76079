"""The table of `flashdreams-cluster status`: servers, their load, their ranks, and what they wait for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from backend.cluster.groups import RankPlace
from backend.cluster.placement import Load


def status_lines(
    names: Iterable[str],
    loads: Mapping[str, Load],
    ranks: Mapping[str, Sequence[RankPlace]],
    waits: Mapping[str, str],
) -> list[str]:
    """Return the lines of the table.

    Args:
        names: all world servers.
        loads: loads of those that answer.
        ranks: places of their processes, of those that told them.
        waits: reasons of those that have no place.
    """
    lines = [f"{'server':<12} {'status':<9} {'sessions':>8} {'places':>6} {'waiting':>7} {'lag':>5} {'ranks':>5}"]
    for name in sorted({*names, *loads}):
        places, load = ranks.get(name, ()), loads.get(name)
        count = f"{len(places) or '-':>5}"
        if load is None:
            status = "no place" if name in waits else "starting"
            lines.append(f"{name:<12} {status:<9} {'-':>8} {'-':>6} {'-':>7} {'-':>5} {count}")
        else:
            numbers = f"{load.sessions:>8} {load.capacity:>6} {load.waiting:>7} {load.lag:>5.2f}"
            lines.append(f"{name:<12} {load.status:<9} {numbers} {count}")
        if name in waits:
            lines.append(f"  it {waits[name]}")
        if len(places) > 1:
            lines += [_rank_line(rank, place) for rank, place in enumerate(places)]
    return lines


def _rank_line(rank: int, place: RankPlace) -> str:
    gpus = f"GPU {' '.join(place.gpus)}" if place.gpus else "no GPU"
    return f"  rank {rank:<3} {place.address:<15} {gpus:<7} process {place.pid}"
