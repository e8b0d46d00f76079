"""The WebSocket's address of a page's address."""

from __future__ import annotations

import pytest

from flashdreams.client.address import socket_address


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:8000", "ws://127.0.0.1:8000/ws/play"),
        ("localhost:8000/", "ws://localhost:8000/ws/play"),
        ("https://dream.example.org/world/?access=a%20b", "wss://dream.example.org/world/ws/play?access=a+b"),
        ("wss://dream.example.org/ws/play", "wss://dream.example.org/ws/play"),
    ],
)
def test_a_page_s_address_leads_to_its_socket(url: str, address: str) -> None:
    assert socket_address(url, None) == address


def test_what_is_no_address_is_told() -> None:
    with pytest.raises(ValueError, match="url must be an address like"):
        socket_address("ftp://somewhere", None)
