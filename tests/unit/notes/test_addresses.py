from __future__ import annotations

import ipaddress
import threading

import pytest

from bot.errors import ConfigInvalid
from bot.notes.addresses import AddressRefused, Resolver, check_url, is_public, target_of


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1"),
        *("224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fd00::1", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::", "2001:db8::1", "fec0::1"),
        *("64:ff9b:1::1", "::ffff:169.254.169.254", "64:ff9b::169.254.169.254", "2001:0:a9fe:a9fe::1", "::127.0.0.1"),
        *("2001:0:102:304:0:0:80ff:fffe", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "240.0.0.1"),
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
        *("https://@x.example/", "https://x.example:0/", "https://x.example:22/", "https://x.example:80/"),
        *("https://x.example:6379x/", "https://x.example:-1/", "https://x..example/", "https://-x.example/"),
        *("https://127.0.0.1/", "https://[::1]/", "https://[::ffff:7f00:1]/", "https://169.254.169.254/latest"),
        *("https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/", "https://127.1/", "https://1.2.3.0x4/"),
        *("https://localhost/", "https://LOCALHOST./", "https://a.localhost/", "https://ehr/", "https://[fe80::1%25e]/"),
        *("https://b\u00fccher.example/", "https://x.example/\u00fc", "https://\uff11\uff12\uff17.0.0.1/"),
        *("https://x\u3002example/", "https://x.example%2f@y.example/", "https://x.example\t/", "https:///x.example"),
        *("https://[1.2.3.4]/", "https://[::1/", "javascript:alert(1)", "//x.example/", "HTTPS:x.example", "https://%31/"),
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


@pytest.mark.parametrize(
    "url",
    [
        *("https://hooks.example/", "https://HOOKS.example./a?b=c", "https://hooks.example:443/", "https://h.example:8443/"),
        *("https://xn--bcher-kva.example/", "https://93.184.216.34/", "https://[2606:2800:220:1::1]:8443/", "https://4.x.ex/"),
    ],
)
def test_what_may_be_called_is_taken(url: str) -> None:
    check_url(url)


async def resolved(url: str, *answers: str, allow_private: bool = False) -> str:
    async def resolve(host: str, port: int) -> list[str]:
        return list(answers)

    try:
        return (await target_of(url, resolve, allow_private=allow_private)).url
    except AddressRefused as refused:
        return refused.reason


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "fd00:ec2::254", "100.100.100.200", "0.0.0.0"])
@pytest.mark.parametrize("address_too", ["224.0.0.1", "64:ff9b::a9fe:a9fe", "::ffff:169.254.169.254", "2002:7f00:1::"])
async def test_no_operator_can_allow_where_a_cloud_tells_its_secrets(address: str, address_too: str) -> None:
    for one in (address, address_too):
        assert await resolved("http://ehr.internal/", one, allow_private=True) == "private"
    with pytest.raises(ConfigInvalid):
        check_url("http://169.254.169.254/", allow_private=True)


@pytest.mark.parametrize("address", ["10.0.0.7", "192.168.1.7", "172.31.0.1", "100.64.0.9", "fd12::1", "127.0.0.1"])
async def test_plain_http_is_for_ones_own_network_only(address: str) -> None:
    at = f"[{address}]" if ":" in address else address
    assert await resolved("http://ehr.internal:8080/", address, allow_private=True) == f"http://{at}:8080/"
    assert await resolved("http://hooks.example/", "93.184.216.34", allow_private=True) == "scheme"
    assert await resolved("http://hooks.example/", address) == "scheme"
    assert await resolved("https://hooks.example/", "93.184.216.34", allow_private=True) == "https://93.184.216.34:443/"
    check_url(f"http://{at}:8080/hooks", allow_private=True)
    with pytest.raises(ConfigInvalid, match="https"):
        check_url("http://93.184.216.34/", allow_private=True)


async def test_a_name_with_several_addresses_is_tried_at_each_and_at_no_more_than_three() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["2606:2800:220:1::1", *(f"93.184.216.{n}" for n in range(30, 40))]

    target = await target_of("https://hooks.example./", resolve)
    assert target.urls == ("https://[2606:2800:220:1::1]:443/", "https://93.184.216.30:443/", "https://93.184.216.31:443/")
    assert (target.host, target.authority) == ("hooks.example", "hooks.example")


async def test_names_are_looked_up_in_threads_of_their_own() -> None:
    resolver = Resolver()
    try:
        assert await resolver("127.0.0.1", 443) == ["127.0.0.1"]
        names = [thread.name for thread in threading.enumerate()]
        assert any(name.startswith("webhook-names") for name in names)
    finally:
        resolver.close()
        resolver.close()
