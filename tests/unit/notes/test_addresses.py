from __future__ import annotations

import ipaddress

import pytest

from bot.errors import ConfigInvalid
from bot.notes.addresses import AddressRefused, check_url, is_public, target_of


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1"),
        *("224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fd00::1", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::", "2001:db8::1", "fec0::1"),
        *("64:ff9b:1::1", "::ffff:169.254.169.254"),
    ],
)
def test_inner_addresses_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822", "::ffff:93.184.216.34"]
)
def test_outer_addresses_are(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        *("http://x.example/", "ftp://x.example", "https://", "https://u@x.example", "https://u:p@x.example", "x"),
        *("https://x.example/#f", "https://x.example:99999/", "https://x .example/", "https://x.example\\@y", ""),
        "https://x.example/" + "a" * 3000,
    ],
)
def test_what_can_never_be_called_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigInvalid) as raised:
        check_url(url)
    assert raised.value.detail.startswith("url: ")


async def test_the_judged_address_is_the_one_that_is_called() -> None:
    asked = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["93.184.216.34"]

    target = await target_of("https://hooks.example/in?a=1", resolve)
    assert asked == [("hooks.example", 443)]
    assert (target.url, target.host, target.authority) == (
        "https://93.184.216.34:443/in?a=1",
        "hooks.example",
        "hooks.example",
    )
    target = await target_of("https://hooks.example:8443", resolve)
    assert (target.url, target.authority) == ("https://93.184.216.34:8443/", "hooks.example:8443")


@pytest.mark.parametrize("answers", [["10.0.0.1"], ["93.184.216.34", "127.0.0.1"], [], ["nonsense"], ["fe80::1%eth0"]])
async def test_one_inner_address_is_enough_to_refuse(answers: list[str]) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return answers

    with pytest.raises(AddressRefused):
        await target_of("https://hooks.example/", resolve)


async def test_a_name_that_is_not_found_is_refused() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        raise OSError

    with pytest.raises(AddressRefused, match="not-found"):
        await target_of("https://hooks.example/", resolve)


async def test_a_clinics_own_network_may_be_allowed() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["::1"]

    assert (await target_of("http://ehr.internal:9000/x", resolve, allow_private=True)).url == "http://[::1]:9000/x"
