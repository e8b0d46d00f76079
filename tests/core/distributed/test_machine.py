"""Lists of processors, as the system writes them, and devices that are not there."""

from __future__ import annotations

import pytest
import torch

from flashdreams.core.distributed.machine import Device, numbers_in


@pytest.mark.parametrize(("ranges", "numbers"), [("0", [0]), ("0-3,8,10-11\n", [0, 1, 2, 3, 8, 10, 11]), ("5-5", [5])])
def test_ranges_are_all_their_numbers(ranges: str, numbers: list[int]) -> None:
    assert numbers_in(ranges) == numbers


@pytest.mark.parametrize("number", [-1, torch.cuda.device_count()], ids=["below", "above"])
def test_a_device_that_is_not_there_is_named(number: int) -> None:
    with pytest.raises(ValueError, match="device_idx"):
        Device(number)
