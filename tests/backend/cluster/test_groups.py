"""Groups of processes that share a world, without Ray: bundles, environments, room, and flags that cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from backend.cluster.groups import RankPlace, RankSpec, missing_resources, rank_environments

FOUR = RankSpec(ranks=4, cpus=8, gpus=1)


def test_a_group_has_a_bundle_for_each_rank_on_one_node_unless_told() -> None:
    assert FOUR.bundles == [{"CPU": 8, "GPU": 1}] * 4 and FOUR.strategy == "STRICT_PACK"
    assert RankSpec(ranks=2, cpus=1).bundles == [{"CPU": 1}] * 2
    assert RankSpec(ranks=2, across_nodes=True).strategy == "PACK"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"ranks": 0}, "--ranks"),
        ({"ranks": 65}, "--ranks"),
        ({"ranks": 2, "gpus": 2}, "--gpus"),
        ({"ranks": 2, "gpus": 0.5}, "--gpus"),
        ({"ranks": 2, "cpus": 0}, "--cpus"),
        ({"across_nodes": True}, "--across-nodes"),
    ],
)
def test_a_group_that_cannot_be_is_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        RankSpec(**changes)


def place(node: str, *gpus: str) -> RankPlace:
    return RankPlace(node, f"10.0.0.{node}", gpus, 100)


def test_ranks_of_a_node_see_its_gpus_at_the_numbers_of_their_local_ranks() -> None:
    places = [place("1", "6"), place("1", "2"), place("2", "0"), place("1", "7"), place("2", "5")]
    made = rank_environments(places, "10.0.0.1", 4000)
    assert [each["LOCAL_RANK"] for each in made] == ["0", "1", "0", "2", "1"]
    assert [each["RANK"] for each in made] == ["0", "1", "2", "3", "4"]
    for environment, own in zip(made, places, strict=True):
        assert environment["CUDA_VISIBLE_DEVICES"].split(",")[int(environment["LOCAL_RANK"])] == own.gpus[0]
        assert {environment[name] for name in ("WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")} == {"5", "10.0.0.1", "4000"}
    assert [each["LOCAL_WORLD_SIZE"] for each in made] == ["3", "3", "2", "3", "2"]


def test_ranks_without_gpus_see_none() -> None:
    assert [each["CUDA_VISIBLE_DEVICES"] for each in rank_environments([place("1"), place("1")], "a", 1)] == ["", ""]


NODES = {"a": {"CPU": 64.0, "GPU": 8.0}, "b": {"CPU": 64.0, "GPU": 2.0}}


def test_what_no_node_has_is_told_with_what_there_is() -> None:
    said = missing_resources(RankSpec(ranks=16, cpus=1, gpus=1), NODES, NODES)
    assert "16 x 1 GPU and 1 CPU on one node" in said and "room for 8, free or not" in said and "8 GPU" in said
    said = missing_resources(RankSpec(ranks=16, cpus=1, gpus=1, across_nodes=True), NODES, NODES)
    assert "room for 10, free or not" in said and "10 GPU" in said
    said = missing_resources(RankSpec(ranks=9, cpus=8, gpus=1), {"a": {"CPU": 32.0, "GPU": 16.0}}, {})
    assert "room for 4, free or not" in said and "32 CPU" in said


def test_what_others_have_taken_is_told_with_what_is_free() -> None:
    free = {"a": {"CPU": 40.0, "GPU": 3.0}, "b": {"CPU": 60.0, "GPU": 2.0}}
    said = missing_resources(FOUR, NODES, free)
    assert "room for 3 now" in said and "3 GPU" in said
    assert "being placed" in missing_resources(FOUR, NODES, NODES)
    assert "no node" in missing_resources(FOUR, {}, {})
