"""Which addresses may be called: public ones, and what the operator allows; nothing hides in another."""

from __future__ import annotations

import pytest

from mq9_mcp.peers.reach import Reach, read_networks

PUBLIC = (
    "93.184.216.34",
    "8.8.8.8",
    "2606:2800:220:1:248:1893:25c8:1946",
    "64:ff9b::808:808",
    "::ffff:8.8.8.8",
)
CLOSED = (
    "127.0.0.1",
    "127.9.9.9",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2001:0:a9fe:a9fe::1",
    "fec0::1",
    "192.88.99.1",
    "2606:4700::5efe:7f00:1",
    "2606:4700::200:5efe:a00:1",
)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_called(address: str) -> None:
    assert Reach().holds(address)


@pytest.mark.parametrize("address", CLOSED)
def test_another_may_not(address: str) -> None:
    assert not Reach().holds(address)


def test_the_operator_allows_networks_one_by_one() -> None:
    reach = Reach(read_networks(["10.2.0.0/16", "127.0.0.1", "fd00::/8"]))
    assert all(map(reach.holds, ("10.2.3.4", "127.0.0.1", "::ffff:10.2.0.1", "fd00:ec2::254", "8.8.8.8")))
    assert not any(map(reach.holds, ("10.3.0.1", "127.0.0.2", "::1", "169.254.169.254", "192.168.0.1")))


@pytest.mark.parametrize("text", ["10.0.0.1/8", "intranet", "10.0.0.0/33", ""])
def test_what_is_no_network_is_said(text: str) -> None:
    with pytest.raises(ValueError, match=r"network|host bits"):
        read_networks([text])
