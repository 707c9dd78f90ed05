"""Calls without a network: 127.0.0.1 among the addresses on which this process takes calls.

ICE leaves loopback out, so that a machine without a network (a container started with none, a laptop on a train) has
no address to offer, not even to its own browsers. aioice asks one function for the addresses of the machine; here that
function is given another answer. The choice holds for the whole process.
"""

from __future__ import annotations

from typing import Literal

from aioice import ice

ADDRESS = "127.0.0.1"

Choice = Literal["auto", "on", "off"]

_of_the_machine = ice.get_host_addresses


def choose(choice: Choice, *, own_machine: bool = False) -> None:
    """Decide when loopback is offered: always, never, or (``auto``) where the machine has no other address.

    ``own_machine`` says that everybody who calls sits at this machine; ``auto`` then offers loopback beside the rest,
    so that their calls outlive the network.
    """
    always = choice == "on" or (choice == "auto" and own_machine)

    def addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        found = _of_the_machine(use_ipv4, use_ipv6)
        return [*found, ADDRESS] if use_ipv4 and (always or not found) else found

    ice.get_host_addresses = _of_the_machine if choice == "off" else addresses


def offered() -> list[str]:
    """The addresses on which this process takes calls right now, by what was chosen last."""
    return list(ice.get_host_addresses(use_ipv4=True, use_ipv6=True))
