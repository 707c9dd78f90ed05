"""Which addresses a process takes calls on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aioice import ice

from bot.media import loopback
from bot.media.loopback import ADDRESS, Choice, choose, offered
from bot.settings import Settings

NETWORK = ["192.0.2.7", "2001:db8::7"]


@pytest.fixture(params=[[], NETWORK], ids=["no network", "network"])
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A machine with these addresses."""
    found: list[str] = request.param

    def addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        return [one for one in found if (use_ipv6 if ":" in one else use_ipv4)]

    monkeypatch.setattr(loopback, "_of_the_machine", addresses)
    yield found
    monkeypatch.undo()
    choose("auto")


def test_only_a_machine_without_a_network_needs_loopback(machine: list[str]) -> None:
    choose("auto")
    assert offered() == (machine or [ADDRESS])


@pytest.mark.parametrize(("choice", "own_machine"), [("auto", True), ("on", False)])
def test_loopback_stands_beside_the_network(machine: list[str], choice: Choice, own_machine: bool) -> None:
    choose(choice, own_machine=own_machine)
    assert offered() == [*machine, ADDRESS]


def test_off_means_never(machine: list[str]) -> None:
    choose("on")
    choose("off", own_machine=True)
    assert offered() == machine


def test_it_is_an_ipv4_address(machine: list[str]) -> None:
    choose("on")
    assert ADDRESS not in ice.get_host_addresses(use_ipv4=False, use_ipv6=True)


@pytest.mark.parametrize(
    ("host", "public_url", "own"),
    [
        ("127.0.0.1", "", True),
        ("localhost", "", True),
        ("127.0.0.1", "https://calls.example", False),
        ("0.0.0.0", "", False),
    ],
)
def test_behind_a_proxy_people_are_elsewhere(host: str, public_url: str, own: bool) -> None:
    assert Settings(host=host, public_url=public_url).own_machine is own
