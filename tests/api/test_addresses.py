import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hegemon.api.addresses import HOPS_MAX, UNKNOWN, Proxies, limit_key, read_address

PROXIES = Proxies([ipaddress.ip_network(text) for text in ("10.0.0.0/8", "fd00::/8")])


def asked(peer: str | None, forwarded: str | None = None, scheme: str = "http", **more: str) -> tuple[Any, Any]:
    headers = {name.replace("_", "-").encode(): value.encode("latin-1") for name, value in more.items()}
    if forwarded is not None:
        headers[b"x-forwarded-for"] = forwarded.encode("latin-1")
    return {"client": None if peer is None else (peer, 4711), "scheme": scheme}, headers


def test_without_trusted_proxies_only_the_connection_counts() -> None:
    assert Proxies().client(*asked("203.0.113.9", "198.51.100.1")) == "203.0.113.9"


def test_a_stranger_who_claims_to_be_a_proxy_stays_who_he_is() -> None:
    assert PROXIES.client(*asked("203.0.113.9", "198.51.100.1")) == "203.0.113.9"


def test_a_trusted_proxy_speaks_for_its_client() -> None:
    assert PROXIES.client(*asked("10.0.0.1", "198.51.100.1")) == "198.51.100.1"


def test_the_header_is_read_from_its_right_end_up_to_the_first_stranger() -> None:
    assert PROXIES.client(*asked("10.0.0.1", "192.0.2.66, 198.51.100.1, 10.9.9.9")) == "198.51.100.1"


def test_a_client_that_writes_a_trusted_address_in_front_gains_nothing() -> None:
    assert PROXIES.client(*asked("10.0.0.1", "10.1.1.1, 198.51.100.1")) == "198.51.100.1"


def test_proxies_alone_are_answered_by_the_farthest_of_them() -> None:
    assert PROXIES.client(*asked("10.0.0.1", "10.0.0.3, 10.0.0.2")) == "10.0.0.3"


def test_what_is_no_address_ends_the_reading_at_the_last_that_is_known() -> None:
    assert PROXIES.client(*asked("10.0.0.1", "198.51.100.1, nonsense, 10.0.0.2")) == "10.0.0.2"
    assert PROXIES.client(*asked("10.0.0.1", "")) == "10.0.0.1"


def test_more_hops_than_anybody_has_are_not_followed() -> None:
    chain = ", ".join(["198.51.100.1", *["10.0.0.2"] * HOPS_MAX])
    assert PROXIES.client(*asked("10.0.0.1", chain)) == "10.0.0.2"


def test_forwarded_is_ignored() -> None:
    scope, headers = asked("10.0.0.1")
    headers[b"forwarded"] = b"for=198.51.100.1"
    assert PROXIES.client(scope, headers) == "10.0.0.1"


def test_a_connection_without_an_address_is_unknown() -> None:
    assert PROXIES.client(*asked(None, "198.51.100.1")) == UNKNOWN
    assert limit_key(UNKNOWN) == UNKNOWN


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("198.51.100.1", "198.51.100.1"),
        (" 198.51.100.1:8080 ", "198.51.100.1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ('"[2001:db8::1]"', "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
        ("unknown", None),
        ("198.51.100.256", None),
        ("0x7f.1", None),
        ("", None),
    ],
)
def test_addresses_are_read_as_proxies_write_them(text: str, address: str | None) -> None:
    found = read_address(text)
    assert (None if found is None else str(found)) == address


def test_limits_count_an_ipv6_site_as_one_and_ipv4_addresses_each() -> None:
    assert limit_key("2001:db8:1:2:3:4:5:6") == limit_key("2001:db8:1:2::1") != limit_key("2001:db8:1:3::1")
    assert limit_key("198.51.100.1") != limit_key("198.51.100.2")
    assert limit_key("::ffff:198.51.100.1") == limit_key("198.51.100.1")


def test_https_is_what_the_connection_or_a_trusted_proxy_says() -> None:
    assert PROXIES.secure(*asked("203.0.113.9", scheme="https"))
    assert PROXIES.secure(*asked("10.0.0.1", x_forwarded_proto="https"))
    assert PROXIES.secure(*asked("10.0.0.1", x_forwarded_proto="http, HTTPS"))
    assert not PROXIES.secure(*asked("10.0.0.1", x_forwarded_proto="https, http"))
    assert not PROXIES.secure(*asked("10.0.0.1"))
    assert not PROXIES.secure(*asked("203.0.113.9", x_forwarded_proto="https"))
    assert not Proxies().secure(*asked("10.0.0.1", x_forwarded_proto="https"))


@given(peer=st.ip_addresses().map(str), header=st.text(st.characters(max_codepoint=255), max_size=200))
def test_whatever_the_header_holds_the_answer_is_an_address(peer: str, header: str) -> None:
    assert read_address(PROXIES.client(*asked(peer, header))) is not None


@given(tail=st.lists(st.ip_addresses().map(str), max_size=5), forged=st.lists(st.ip_addresses().map(str), max_size=5))
def test_what_a_client_puts_in_front_changes_nothing_behind_the_first_stranger(
    tail: list[str], forged: list[str]
) -> None:
    seen = ["198.51.100.1", *tail]
    honest = PROXIES.client(*asked("10.0.0.1", ", ".join(seen)))
    assert PROXIES.client(*asked("10.0.0.1", ", ".join([*forged, *seen]))) == honest
