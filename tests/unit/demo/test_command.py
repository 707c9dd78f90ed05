from __future__ import annotations

import pytest

from bot.demo.command import port_for


@pytest.mark.parametrize("leave", [False, True])
@pytest.mark.parametrize("asked", [0, 9_123])
def test_a_port_that_was_asked_for_is_taken(asked: int, leave: bool) -> None:
    assert port_for("127.0.0.1", asked, leave=leave) == asked


def test_pages_that_go_with_the_call_take_any_port() -> None:
    assert port_for("127.0.0.1", None, leave=True) == 0
