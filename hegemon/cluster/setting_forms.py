"""The forms a setting can have: how its text is read, checked, written back and hidden, and how it is refused.

Each form stands in a field's `Annotated[...]`. A refusal is a ValueError whose sentence goes on after `NAME=value: `.
"""

import ipaddress
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler, SecretStr
from pydantic_core import CoreSchema, core_schema

from hegemon.cluster.durations import format_duration, format_size, parse_duration, parse_size

MASK = "********"
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*\.?")
_NODE_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_URL_HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:,@/?#\[\]]+)(?::[0-9]{1,5})?"
_URL_HOSTS = re.compile(rf"{_URL_HOST}(?:,{_URL_HOST})*")
_SECRET_PARAMETER = re.compile(r"(?i)([?&][^=&]*(?:password|secret|token|properties)[^=&]*=)[^&]*")


class Form:
    """Base of all forms. `read` turns text into a value, `check` refuses a value out of bounds, `write` gives text."""

    @property
    def expects(self) -> str:
        """What a right value is, as it goes on after "must be"."""
        raise NotImplementedError

    def read(self, text: str) -> object:
        return text.strip()

    def check(self, value: Any) -> None:
        """Raise ValueError if the value is of the right type but not allowed."""

    def write(self, value: Any) -> str:
        return str(value)

    def hide(self, text: str) -> str:
        """The text as it may be shown: in errors, logs and `Settings.public()`."""
        return text

    def refusal(self) -> ValueError:
        return ValueError(f"must be {self.expects}")

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner = core_schema.no_info_before_validator_function(self._read_text, handler(source))
        return core_schema.no_info_after_validator_function(self._checked, inner)

    def _read_text(self, value: object) -> object:
        return self.read(value) if isinstance(value, str) else value

    def _checked(self, value: object) -> object:
        if value is not None:
            self.check(value)
        return value


@dataclass(frozen=True)
class Whole(Form):
    """A whole number from `low` to `high`, both included."""

    low: int
    high: int

    @property
    def expects(self) -> str:
        return f"a whole number from {self.low} to {self.high}"

    def read(self, text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text.strip()):
            raise self.refusal()
        return int(text)

    def check(self, value: int) -> None:
        if not self.low <= value <= self.high:
            raise self.refusal()


@dataclass(frozen=True)
class Number(Form):
    """A number with or without a fraction, from `low` to `high`, both included."""

    low: float
    high: float

    @property
    def expects(self) -> str:
        return f"a number from {self.low:g} to {self.high:g}"

    def read(self, text: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise self.refusal() from None

    def check(self, value: float) -> None:
        if not self.low <= value <= self.high:  # written so that nan is refused too
            raise self.refusal()


@dataclass(frozen=True)
class Flag(Form):
    """true or false; yes/no, on/off and 1/0 are read too."""

    @property
    def expects(self) -> str:
        return "true or false"

    def read(self, text: str) -> bool:
        word = text.strip().lower()
        if word in {"true", "yes", "on", "1"}:
            return True
        if word in {"false", "no", "off", "0"}:
            return False
        raise self.refusal()

    def write(self, value: bool) -> str:
        return "true" if value else "false"


@dataclass(frozen=True)
class Choice(Form):
    """One of a few words, in any case."""

    options: tuple[str, ...]

    @property
    def expects(self) -> str:
        return f"one of {', '.join(self.options[:-1])} or {self.options[-1]}"

    def read(self, text: str) -> str:
        word = text.strip().lower()
        if word not in self.options:
            raise self.refusal()
        return word


@dataclass(frozen=True)
class Duration(Form):
    """A timedelta from `low` to `high`, both included."""

    low: timedelta
    high: timedelta

    @property
    def expects(self) -> str:
        return f"a duration from {format_duration(self.low)} to {format_duration(self.high)}"

    def read(self, text: str) -> timedelta:
        return parse_duration(text)

    def check(self, value: timedelta) -> None:
        if not self.low <= value <= self.high:
            raise self.refusal()

    def write(self, value: timedelta) -> str:
        return format_duration(value)


@dataclass(frozen=True)
class Size(Form):
    """A number of bytes from `low` to `high`, both included."""

    low: int
    high: int

    @property
    def expects(self) -> str:
        return f"a size from {format_size(self.low)} to {format_size(self.high)}, in bytes or with kB, MB, KiB or MiB"

    def read(self, text: str) -> int:
        return parse_size(text)

    def check(self, value: int) -> None:
        if not self.low <= value <= self.high:
            raise self.refusal()

    def write(self, value: int) -> str:
        return format_size(value)


@dataclass(frozen=True)
class Name(Form):
    """1 to `longest` characters out of `alphabet`, the inside of a regular expression's character class."""

    alphabet: str
    longest: int

    @property
    def expects(self) -> str:
        return f"1 to {self.longest} characters out of {self.alphabet}"

    def check(self, value: str) -> None:
        if not re.fullmatch(f"[{self.alphabet}]{{1,{self.longest}}}", value):
            raise self.refusal()


@dataclass(frozen=True)
class Host(Form):
    """An IP address without brackets, or a host name."""

    @property
    def expects(self) -> str:
        return "an IP address or a host name, without a port"

    def check(self, value: str) -> None:
        if not (_is_ip(value) or _HOST_NAME.fullmatch(value)):
            raise self.refusal()


@dataclass(frozen=True)
class Address(Form):
    """`host:port`; an IPv6 host stands in brackets."""

    @property
    def expects(self) -> str:
        return "host:port, such as 127.0.0.1:6379 or [::1]:6379"

    def check(self, value: str) -> None:
        host, _, port = value.rpartition(":")
        is_bracketed = host.startswith("[") and host.endswith("]")
        is_host = _is_ip(host[1:-1]) if is_bracketed else bool(_HOST_NAME.fullmatch(host))
        if not (is_host and re.fullmatch(r"[0-9]{1,5}", port) and 1 <= int(port) <= 65535):
            raise self.refusal()


@dataclass(frozen=True)
class Peer:
    """A node at an address; `id` is None where only the address is known."""

    id: str | None
    address: str

    def __str__(self) -> str:
        return self.address if self.id is None else f"{self.id}@{self.address}"


@dataclass(frozen=True)
class Peers(Form):
    """`[ID@]HOST:PORT`, separated by commas; blanks around them do not matter."""

    @property
    def expects(self) -> str:
        return "addresses of nodes separated by commas, such as n1@10.0.0.1:7946,n2@10.0.0.2:7946"

    def read(self, text: str) -> tuple[Peer, ...]:
        found = []
        for item in text.split(","):
            name, at, address = item.strip().rpartition("@")
            if at and not _NODE_ID.fullmatch(name):
                raise self.refusal()
            found.append(Peer(name if at else None, address))
        return tuple(found)

    def check(self, value: tuple[Peer, ...]) -> None:
        for peer in value:
            try:
                Address().check(peer.address)
            except ValueError:
                raise self.refusal() from None
        names = [peer.id for peer in value if peer.id is not None]
        if len(set(names)) < len(names):
            raise ValueError("names one node twice; each must stand there once")

    def write(self, value: tuple[Peer, ...]) -> str:
        return ",".join(map(str, value))


@dataclass(frozen=True)
class Url(Form):
    """A URL. The password in it, and any parameter that names one, is hidden wherever the URL is shown. `told`: others
    are told it as it stands, so that it may hold no credentials."""

    schemes: tuple[str, ...]
    told: bool = False

    @property
    def expects(self) -> str:
        begins = " or ".join(f"{scheme}://" for scheme in self.schemes)
        without = ", without a user or a password, since others are told it" if self.told else ""
        return f"a URL that begins with {begins} and names a host{without}"

    def check(self, value: str) -> None:
        scheme, mark, rest = value.partition("://")
        # Without credentials, the host ends where the path begins, wherever an @ may stand behind that.
        hosts = re.split("[/?]", rest if self.told else rest.rpartition("@")[2], maxsplit=1)[0]
        if not mark or scheme not in self.schemes or not _URL_HOSTS.fullmatch(hosts):
            raise self.refusal()

    def hide(self, text: str) -> str:
        return mask_url(text)


@dataclass(frozen=True)
class Secret(Form):
    """Text that is never shown. Blanks at its ends belong to it."""

    least_bytes: int = 1

    @property
    def expects(self) -> str:
        return "a secret" if self.least_bytes == 1 else f"a secret of at least {self.least_bytes} bytes"

    def read(self, text: str) -> str:
        return text

    def check(self, value: SecretStr) -> None:
        if len(value.get_secret_value().encode(errors="surrogateescape")) < self.least_bytes:
            raise self.refusal()

    def write(self, value: SecretStr) -> str:
        return value.get_secret_value()

    def hide(self, text: str) -> str:
        return MASK if text else ""


@dataclass(frozen=True)
class File(Form):
    """A path. Whether a file stands there is checked by whoever needs it, since the setting may be switched off."""

    @property
    def expects(self) -> str:
        return "the path of a file"

    def read(self, text: str) -> Path:
        return Path(text.strip())

    def check(self, value: Path) -> None:
        if "\0" in str(value):
            raise self.refusal()


@dataclass(frozen=True)
class Modules(Form):
    """Dotted names of Python modules, separated by commas; blanks around them do not matter."""

    @property
    def expects(self) -> str:
        return "names of Python modules separated by commas, such as shop.jobs,shop.mail"

    def read(self, text: str) -> tuple[str, ...]:
        return tuple(name.strip() for name in text.split(","))

    def check(self, value: tuple[str, ...]) -> None:
        if not all(part.isidentifier() for name in value for part in name.split(".")):
            raise self.refusal()

    def write(self, value: tuple[str, ...]) -> str:
        return ",".join(value)


def mask_url(url: str) -> str:
    """The URL with its password and secret parameters replaced by asterisks; what is no URL is hidden when in doubt."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        scheme, rest = "", url
    # The last @ ends the credentials: a password with an unescaped @ or / must not show its tail.
    credentials, at, place = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    if at:
        credentials = f"{user}:{MASK}" if mark and colon else credentials if mark else MASK
    hosts = re.split("[/?]", place, maxsplit=1)[0]
    tail = _SECRET_PARAMETER.sub(lambda found: found[1] + MASK, place[len(hosts) :])
    if not _URL_HOSTS.fullmatch(hosts):
        hosts = MASK  # perhaps `redis://:password` whose @host was forgotten
    return f"{scheme}{mark}{credentials}{at}{hosts}{tail}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on that host."""
    return host == "localhost" or (_is_ip(host) and ipaddress.ip_address(host).is_loopback)


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
