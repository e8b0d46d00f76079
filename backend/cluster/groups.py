"""Groups of processes that share one world: their bundles, their environments, and the room they need. No Ray here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MAX_RANKS = 64
"""Processes of a world server at most."""
CPU, GPU = "CPU", "GPU"
"""Ray's names of these resources."""

Resources = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class RankSpec:
    """Processes of a world server, and what each of them gets."""

    ranks: int = 1
    """Processes that share the world by context parallelism."""
    cpus: float = 2.0
    """CPU cores of each."""
    gpus: float = 0.0
    """GPUs of each."""
    across_nodes: bool = False
    """True if they may be on several nodes."""

    def __post_init__(self) -> None:
        """Raise ValueError for a field that cannot be."""
        if not 1 <= self.ranks <= MAX_RANKS:
            raise ValueError(f"--ranks must be 1 to {MAX_RANKS}, got {self.ranks}")
        if self.ranks > 1 and self.gpus not in (0, 1):
            raise ValueError(f"--gpus must be 0 or 1, of each process, with --ranks above 1, got {self.gpus:g}")
        if self.ranks > 1 and not self.cpus > 0:
            raise ValueError(f"--cpus must be above 0, of each process, with --ranks above 1, got {self.cpus:g}")
        if self.ranks == 1 and self.across_nodes:
            raise ValueError("--across-nodes needs --ranks above 1")

    @property
    def bundles(self) -> list[dict[str, float]]:
        """Bundles of the placement group, one for each rank."""
        return [{name: amount for name, amount in ((CPU, self.cpus), (GPU, self.gpus)) if amount}] * self.ranks

    @property
    def strategy(self) -> str:
        """Strategy of the placement group."""
        return "PACK" if self.across_nodes else "STRICT_PACK"


@dataclass(frozen=True)
class RankPlace:
    """Place that Ray has given to a rank."""

    node: str
    """Id of the node."""
    address: str
    """Address of the node."""
    gpus: tuple[str, ...]
    """Ids of the rank's GPUs on its node."""
    pid: int


def rank_environments(places: Sequence[RankPlace], address: str, port: int) -> list[dict[str, str]]:
    """Return the environment of each rank: what torchrun sets, and the GPUs that it sees.

    The ranks of a node see all GPUs of the group there, each at its local rank's number: so NCCL can copy from one to
    the other directly.

    Args:
        places: by rank.
        address: of the store at which they meet.
        port: of the store.
    """
    environments = []
    for rank, place in enumerate(places):
        here = [other for other, its in enumerate(places) if its.node == place.node]
        made = {
            "RANK": str(rank),
            "WORLD_SIZE": str(len(places)),
            "LOCAL_RANK": str(here.index(rank)),
            "LOCAL_WORLD_SIZE": str(len(here)),
            "MASTER_ADDR": address,
            "MASTER_PORT": str(port),
            "CUDA_VISIBLE_DEVICES": ",".join(gpu for other in here for gpu in places[other].gpus),
            # The first rank has begun the store already, as torchrun's agent has: none is to begin another one.
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            "TORCHELASTIC_RESTART_COUNT": "0",
        }
        environments.append(made)
    return environments


def missing_resources(spec: RankSpec, total: Mapping[str, Resources], free: Mapping[str, Resources]) -> str:
    """Return a sentence about the resources that a group waits for.

    Args:
        spec: the group.
        total: all resources of each node, by its id.
        free: those that nobody has taken.
    """
    (bundle, *_), count = spec.bundles, spec.ranks
    each = _described(bundle)
    where = "on any nodes" if spec.across_nodes else "on one node"
    wanted = f"needs {count} x {each} {where}"
    if not total:
        return f"{wanted}, and there is no node"
    fits_ever, fits_now = _rooms(bundle, total, spec), _rooms(bundle, free, spec)
    of = "all nodes together have" if spec.across_nodes else "no node has more than"
    if fits_ever < count:
        return f"{wanted}; {of} room for {fits_ever}, free or not ({_most(bundle, total, spec)})"
    if fits_now < count:
        return f"{wanted}; {of} room for {fits_now} now ({_most(bundle, free, spec)} free): others have the rest"
    return f"{wanted}, which are free: it is being placed"


def _rooms(bundle: Resources, nodes: Mapping[str, Resources], spec: RankSpec) -> int:
    """Return the number of bundles for which there is room: on all nodes, or on the node with most room."""
    rooms = [
        min((int(resources.get(name, 0.0) / amount + 1e-6) for name, amount in bundle.items()), default=spec.ranks)
        for resources in nodes.values()
    ]
    return sum(rooms) if spec.across_nodes else max(rooms, default=0)


def _most(bundle: Resources, nodes: Mapping[str, Resources], spec: RankSpec) -> str:
    """Return the amounts of the bundle's resources there are: in all, or at most on a node."""
    combine = sum if spec.across_nodes else max
    return _described({name: combine(node.get(name, 0.0) for node in nodes.values()) for name in bundle})


def _described(resources: Resources) -> str:
    return " and ".join(f"{amount:g} {name}" for name, amount in sorted(resources.items(), reverse=True)) or "nothing"
