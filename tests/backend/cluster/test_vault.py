"""The vault keeps the state of the sessions of servers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("ray", reason="the extra `cluster` is not installed")

from backend.cluster import vault
from backend.cluster.vault import LOST_SECONDS, Vault, copy_of, has_copy


def test_the_newest_copy_of_a_session_is_kept_until_its_server_has_it_no_more() -> None:
    vault = Vault()
    vault.keep("world-0", {"a": b"1", "b": b"1"}, ["a", "b"])
    vault.keep("world-0", {"a": b"2"}, ["a", "b"])
    assert (vault.take("a"), vault.take("b"), vault.take("c")) == (b"2", b"1", None)
    vault.keep("world-0", {}, ["b"])
    assert not vault.has("a") and vault.has("b")
    vault.keep("world-1", {}, [])
    assert vault.has("b"), "another server says nothing of it"


def test_a_moved_session_belongs_to_its_new_server() -> None:
    vault = Vault()
    vault.keep("world-0", {"a": b"1"}, ["a"])
    vault.keep_moved("world-1", "a", b"2")
    vault.keep("world-0", {"a": b"1"}, [])  # copied before it was moved
    assert vault.take("a") == b"2"
    vault.keep("world-1", {}, [])
    assert not vault.has("a")


def test_the_oldest_copies_make_room() -> None:
    vault = Vault(max_bytes=10)
    vault.keep("world-0", {"a": b"1234"}, ["a"])
    vault.keep("world-0", {"b": b"1234"}, ["a", "b"])
    vault.keep("world-0", {"a": b"5678", "c": b"1234"}, ["a", "b", "c"])
    assert not vault.has("b") and vault.has("a") and vault.has("c")


def test_a_server_that_starts_again_drops_nothing_of_the_run_before() -> None:
    now = 0.0
    vault = Vault(clock=lambda: now)
    vault.keep("world-0 first", {"a": b"1"}, ["a"])
    vault.keep("world-0 second", {}, [])
    assert vault.has("a")
    now = LOST_SECONDS + 1
    vault.keep("world-0 second", {}, [])
    assert not vault.has("a"), "nobody has come for it"


def test_a_copy_is_given_without_waiting_for_a_vault_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(name: str, _ask: Any) -> Any:
        if name == "vault-0":
            await asyncio.Event().wait()
        return found

    monkeypatch.setattr(vault, "_answer", answer)
    found: Any = b"a copy"
    assert asyncio.run(copy_of("token")) == b"a copy"
    found = True
    assert asyncio.run(has_copy("token"))


def test_a_vault_that_does_not_answer_may_have_the_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(name: str, _ask: Any) -> Any:
        if name == silent:
            raise LookupError(name)
        return None

    monkeypatch.setattr(vault, "_answer", answer)
    for silent in vault.NAMES:
        with pytest.raises(LookupError, match=silent):
            asyncio.run(copy_of("token"))
        with pytest.raises(LookupError, match=silent):
            asyncio.run(has_copy("token"))
        asyncio.run(vault.keep_moved("run", "token", b"a copy"))  # the other one has it
    silent = "none"
    assert asyncio.run(copy_of("token")) is None and not asyncio.run(has_copy("token"))
