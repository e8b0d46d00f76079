"""Changes as text: bit for bit the same when read, and checked field by field."""

from __future__ import annotations

import base64
import json
import math
import zlib
from dataclasses import replace
from typing import Any

import pytest
import torch

from flashdreams.infra.world.changes import MAX_CHANGE_CHARACTERS, WorldChange
from flashdreams.integrations.pocket.tiles.edit_text import edit_text, read_edit
from flashdreams.integrations.pocket.tiles.edits import MAX_EDITS, MAX_THING_BYTES, SIDE, Edit, Edits, bits, pack_thing
from flashdreams.integrations.pocket.tiles.edits import stamp as stamp_of


def each_kind() -> list[Edit]:
    cells = torch.rand(16, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) > 0.5
    thing = pack_thing(stamp_of(Edit("rock", 0.25, 0.25), 5))
    return [
        Edit("tree", math.pi, -1e-9, "forest", chunk=3),
        Edit("removal", 1.25, 2.75, cells=bits(cells), chunk=4),
        Edit("opening", 1.25, 2.75, cells=bits(cells & False), chunk=5),
        Edit("moved", -1234.5, 0.5, thing=thing, chunk=6),
        Edit("darkness", 0.1 + 0.2, 1 / 3),
    ]


@pytest.mark.parametrize("edit", each_kind(), ids=lambda edit: edit.kind)
def test_a_change_is_read_as_it_was_written(edit: Edit) -> None:
    text = edit_text(edit)
    assert read_edit(text) == edit and edit_text(read_edit(text)) == text
    assert len(text) < MAX_CHANGE_CHARACTERS and WorldChange(text=text, at=0).text == text
    assert 4 / 3 * MAX_THING_BYTES + 200 < MAX_CHANGE_CHARACTERS


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("a change", "[]"),
        ("a change", "{"),
        ("a change", {"more": 1}),
        ("kind", {"kind": "castle"}),
        ("kind", {"kind": 3}),
        ("x", {"x": None}),
        ("x", {"x": math.inf}),
        ("z", {"z": "1"}),
        ("land", {"land": "moon"}),
        ("chunk", {"chunk": True}),
        ("cells", {"kind": "removal"}),
        ("cells", {"kind": "removal", "cells": "!"}),
        ("cells", {"kind": "removal", "cells": base64.b64encode(zlib.compress(b"\0" * 10**6)).decode()}),
        ("thing", {"kind": "moved", "thing": base64.b64encode(b"no").decode()}),
        ("thing", {"kind": "moved", "thing": 7}),
    ],
    ids=str,
)
def test_text_that_is_no_change_is_refused_by_the_name_of_its_field(field: str, told: Any) -> None:
    good = {"kind": "tree", "x": 0.5, "z": 1.0, "land": "meadow", "chunk": 0}
    text = told if isinstance(told, str) else json.dumps({**good, **told})
    with pytest.raises(ValueError, match=f"^{field}"):
        read_edit(text)


@pytest.mark.parametrize(("field", "values"), [("text", {"text": ""}), ("at", {"at": -1}), ("by", {"by": -1})])
def test_a_change_of_a_chunk_names_what_is_wrong(field: str, values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{field} must"):
        WorldChange(**{"text": "x", **values})
    with pytest.raises(ValueError, match=r"^text must"):
        WorldChange(text="x" * (MAX_CHANGE_CHARACTERS + 1))


def test_changes_by_others_are_put_in_their_place_and_taken_out() -> None:
    first, second, third = (Edit("rock", float(x), 0.0) for x in range(3))
    edits = Edits(5, (first, third))
    assert edits.followed([(replace(second, by=2), 1)]).records == (first, second, third)
    assert edits.followed([(replace(second, by=2), 1)]).records[1].by == 2
    assert edits.followed([(first, None), (second, None)]).records == (third,)
    assert edits.followed([(first, 1)]).records == (third, first), "moved, never doubled"


def test_beyond_the_bound_the_visitor_with_most_changes_loses_the_oldest() -> None:
    mine = tuple(Edit("rock", float(x), 0.0) for x in range(10))
    theirs = tuple(Edit("rock", float(x), 9.0, by=2) for x in range(MAX_EDITS - 10))
    edits = Edits(5, (*mine, *theirs)).with_one_more(Edit("rock", 99.0, 0.0))
    assert len(edits.records) == MAX_EDITS and edits.records[:10] == mine and theirs[0] not in edits.records
