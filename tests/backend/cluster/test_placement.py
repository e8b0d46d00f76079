"""Placement of visits and the number of servers, from load reports."""

from __future__ import annotations

from backend.cluster.placement import Load, ScalingDecision, ScalingPolicy, choose_server, scale, spare_server

POLICY = ScalingPolicy(min_servers=1, max_servers=3, spare_places=1, max_lag=0.9, idle_rounds=5)


def load(sessions: int = 0, capacity: int = 4, waiting: int = 0, lag: float = 0.0, status: str = "ok") -> Load:
    return Load(sessions=sessions, capacity=capacity, waiting=waiting, lag=lag, status=status)


def test_a_visit_goes_where_chunks_are_least_late_then_where_most_places_are_free() -> None:
    assert choose_server({"a": load(3), "b": load(1), "c": load(2)}) == "b"
    assert choose_server({"a": load(1, lag=0.95), "b": load(3, lag=0.4)}) == "b"
    assert choose_server({"b": load(), "a": load()}) == "a"


def test_without_a_free_place_it_waits_in_the_shortest_queue() -> None:
    assert choose_server({"a": load(4, waiting=2), "b": load(2, 2, waiting=2)}) == "a"


def test_draining_and_failed_servers_get_no_visits_and_loading_ones_come_last() -> None:
    assert choose_server({"a": load(status="draining"), "b": load(4), "c": load(status="failed")}) == "b"
    assert choose_server({"a": load(status="draining"), "b": load(status="loading")}) == "b"
    assert choose_server({"a": load(status="draining")}) is None
    assert choose_server({}) is None


def test_a_health_report_with_more_or_fewer_fields_is_read() -> None:
    assert Load.of({"status": "ok", "sessions": 2, "stage": "warm"}) == Load(sessions=2)


def test_a_server_is_added_for_places_a_queue_or_lag_and_never_for_one_that_loads() -> None:
    assert scale({}, POLICY, 0) == ScalingDecision("add")
    assert scale({"a": load(4)}, POLICY, 0).action == "add"
    assert scale({"a": load(4, waiting=1)}, POLICY, 0).action == "add"
    assert scale({"a": load(1, lag=1.2)}, POLICY, 0).action == "add"
    assert scale({"a": load(1, lag=0.5)}, POLICY, 0).action == "none"
    assert scale({"a": load(4, waiting=3), "b": load(status="loading")}, POLICY, 0).action == "none"
    assert scale({name: load(4, waiting=1) for name in "abc"}, POLICY, 0).action == "none", "the most there may be"


def test_a_failed_server_does_not_count_for_the_least() -> None:
    assert scale({"a": load(status="failed")}, POLICY, 0).action == "add"


def test_a_spare_server_is_drained_after_some_rounds_and_the_emptiest_one() -> None:
    loads = {"a": load(2), "b": load(1)}
    assert spare_server(loads, POLICY) == "b"
    assert scale(loads, POLICY, 4).action == "none"
    assert scale(loads, POLICY, 5) == ScalingDecision("drain", "b")
    assert spare_server({"a": load(3), "b": load(1)}, POLICY) is None, "the others have no place for its session"
    assert spare_server({"a": load()}, POLICY) is None, "the least there must be"
