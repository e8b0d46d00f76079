"""Colours along a ramp."""

from flashdreams.integrations.pocket.land.kinds import ramp


def test_ramp_goes_through_its_colours() -> None:
    colors = ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (1.0, 1.0, 0.0))
    assert ramp(colors, 0.5) == (1.0, 0.0, 0.0)
    assert ramp(colors, 0.25) == (0.5, 0.0, 0.0)
    assert ramp(colors, 9.0) == (1.0, 1.0, 0.0)
