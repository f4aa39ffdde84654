"""What callers may cost a node: rates, connections, sizes and times, and whom it believes about who they are."""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

import msgspec
from pydantic import Field

from hegemon.cluster.setting_forms import Duration, Form, Size, Whole
from hegemon.cluster.setting_group import Conflict, Group

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_KIB, _MIB = 1 << 10, 1 << 20
_SECOND, _MINUTE, _HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
_UNITS_S = {"s": 1, "m": 60, "h": 3600}
_RATE = re.compile(r"([0-9]{1,9})/([smh])(?::([0-9]{1,9}))?")
_ORIGIN = re.compile(r"https?://(?:\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::[0-9]{1,5})?")
_PROXIES_MAX, _ORIGINS_MAX = 100, 100


class Rate(msgspec.Struct, frozen=True):
    """`count` requests in `unit` (s, m or h), of which `burst` can come at once after a pause. A count of 0 is no
    limit."""

    count: int
    unit: str
    burst: int

    def __bool__(self) -> bool:
        return self.count > 0

    @property
    def per_s(self) -> float:
        """Requests a second."""
        return self.count / _UNITS_S[self.unit]

    @property
    def window_s(self) -> float:
        """How long it takes from nothing to a whole burst."""
        return self.burst / self.per_s


@dataclass(frozen=True)
class RateForm(Form):
    """`100/s`, `600/m`, `100/s:500` with a burst, or 0."""

    @property
    def expects(self) -> str:
        return "requests per s, m or h such as 100/s, or 100/s:500 with a burst, or 0 for no limit"

    def read(self, text: str) -> Rate:
        text = text.strip()
        if text == "0":
            return Rate(0, "s", 0)
        found = _RATE.fullmatch(text)
        if found is None or int(found[1]) == 0 or found[3] == "0":
            raise self.refusal()
        return Rate(int(found[1]), found[2], int(found[3] or found[1]))

    def write(self, value: Rate) -> str:
        if not value:
            return "0"
        burst = "" if value.burst == value.count else f":{value.burst}"
        return f"{value.count}/{value.unit}{burst}"


@dataclass(frozen=True)
class Networks(Form):
    """Addresses and networks, separated by commas; blanks around them do not matter."""

    @property
    def expects(self) -> str:
        return "addresses or networks separated by commas, such as 10.0.0.5,192.168.7.0/24"

    def read(self, text: str) -> tuple[Network, ...]:
        try:
            found = tuple(ipaddress.ip_network(item.strip()) for item in text.split(","))
        except ValueError:
            raise self.refusal() from None
        return found

    def check(self, value: tuple[Network, ...]) -> None:
        if len(value) > _PROXIES_MAX:
            raise ValueError(f"must be at most {_PROXIES_MAX} networks")
        if any(network.prefixlen == 0 for network in value):
            raise ValueError("must not trust every address: whoever asks could then pass for anybody")

    def write(self, value: tuple[Network, ...]) -> str:
        return ",".join(map(str, value))


@dataclass(frozen=True)
class OriginList(Form):
    """Origins as browsers send them, separated by commas: scheme, host, and a port that is not the scheme's own."""

    @property
    def expects(self) -> str:
        return "origins separated by commas, such as https://jobs.example.com,http://localhost:3000, without a path"

    def read(self, text: str) -> tuple[str, ...]:
        return tuple(item.strip() for item in text.split(","))

    def check(self, value: tuple[str, ...]) -> None:
        if len(value) > _ORIGINS_MAX or not all(_ORIGIN.fullmatch(origin) for origin in value):
            raise self.refusal()

    def write(self, value: tuple[str, ...]) -> str:
        return ",".join(value)


RateLimit = Annotated[Rate | None, RateForm()]

PER_ADDRESS = Rate(5000, "s", 10_000)
PER_PRINCIPAL = Rate(2000, "s", 4000)
REFUSALS = Rate(5, "s", 200)


class LimitSettings(Group):
    """What callers may cost this node, and whom it believes about who they are."""

    rate_limit_per_address: RateLimit = Field(
        default=None,
        description="Requests from one address (one /64 of IPv6) to this node; more get 429 with Retry-After. The "
        "number after the colon may come at once. Unset: 5000/s:10000 while AUTH_ENABLED is on, else no limit.",
    )
    rate_limit_per_principal: RateLimit = Field(
        default=None,
        description="Requests of one user, API key or service to this node, wherever they come from. N nodes take N "
        "times as many. Unset: 2000/s:4000 while AUTH_ENABLED is on, else no limit.",
    )
    rate_limit_refusals: RateLimit = Field(
        default=None,
        description="Refused credentials from one address before further unknown ones get 429 unread; those that were "
        "accepted before go on. Failed logins have waiting times of their own. Unset: 5/s:200 while AUTH_ENABLED "
        "is on, else no limit.",
    )
    trusted_proxies: Annotated[tuple[Network, ...], Networks()] = Field(
        default=(),
        description="The proxies in front of this node. Only connections from them may say by X-Forwarded-For and "
        "X-Forwarded-Proto for whom they speak; everybody else is taken for the address that he comes from.",
    )
    cors_origins: Annotated[tuple[str, ...], OriginList()] = Field(
        default=(),
        description="The sites whose pages may use this API in a browser. Unset: none.",
    )
    max_connections: Annotated[int, Whole(1, 1_000_000)] = Field(
        default=10_000,
        description="Connections to the API at once; more get 503 with Retry-After. An idle one takes about 10 KiB of "
        "memory. The limit of open files of the process may leave room for fewer; the log says so then.",
    )
    max_requests: Annotated[int, Whole(1, 1_000_000)] = Field(
        default=256,
        description="Requests under way at once, each 16 KiB of a body counting as one more; further ones get 503 with "
        "Retry-After at once. Requests that wait for a job's end do not count. More gives a little throughput and "
        "makes everybody wait longer when there is too much to do.",
    )
    max_activity_streams: Annotated[int, Whole(0, 100_000)] = Field(
        default=1024,
        description="Streams of events at once; more get 503 with Retry-After. Each is a connection, too, and holds "
        "up to 16 KiB while its client reads slowly. 0: none; the dashboard then asks again and again.",
    )
    max_header_size: Annotated[int, Size(_KIB, _MIB)] = Field(
        default=32 * _KIB,
        description="The largest head of a request: its line and its headers; a larger one gets 431.",
    )
    header_timeout: Annotated[timedelta, Duration(_SECOND, _HOUR)] = Field(
        default=10 * _SECOND,
        description="How long the head of a request may take to come; then 408, and the connection is closed. Also for "
        "the first request of a connection, and for the handshake of TLS.",
    )
    body_timeout: Annotated[timedelta, Duration(_SECOND, _HOUR)] = Field(
        default=30 * _SECOND,
        description="How long the body of a request may take to come, and a second more for each 8 KiB that have come; "
        "then 408, and the connection is closed.",
    )
    write_timeout: Annotated[timedelta, Duration(_SECOND, _HOUR)] = Field(
        default=30 * _SECOND,
        description="How long a caller may read nothing of an answer before the connection is cut.",
    )
    request_timeout: Annotated[timedelta, Duration(_SECOND, _HOUR)] = Field(
        default=3 * _MINUTE,
        description="How long a request may take once it has come: the last resort after the timeouts of the stores. "
        "Longer than the 2m that a caller may wait for a job.",
    )
    keep_alive_timeout: Annotated[timedelta, Duration(_SECOND, _HOUR)] = Field(
        default=75 * _SECOND,
        description="How long a connection stays open without a request. Longer than that of the proxy in front.",
    )

    def conflicts(self) -> Iterator[Conflict]:
        if self.request_timeout <= 2 * _MINUTE:
            yield Conflict(("REQUEST_TIMEOUT",), "REQUEST_TIMEOUT must be longer than the 2m of the longest wait")
