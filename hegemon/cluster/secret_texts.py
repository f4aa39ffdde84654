"""The secrets among a node's settings as plain texts, for whoever must not write them: the log."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import unquote

from hegemon.cluster.setting_forms import Secret, Url
from hegemon.cluster.setting_group import Group
from hegemon.cluster.settings import Settings

# What stands between the parts of a secret that has several: names of keys, and the keys.
_BETWEEN: Final = re.compile(r"[,:\s]+")
_PART_MIN: Final = 16
_SECRET_PARAMETER: Final = re.compile(r"(?i)[?&][^=&]*(?:password|secret|token)[^=&]*=([^&]+)")


def secret_texts(settings: Settings, groups: Iterable[Group] | None = None) -> frozenset[str]:
    """Every secret that the settings hold, whole and, where it is a list, in parts; passwords inside URLs, too. With
    `groups` only those of these groups."""
    return frozenset(text for text in _texts(settings.groups() if groups is None else groups) if text)


def otel_secrets(otel: Mapping[str, str]) -> frozenset[str]:
    """The credentials for a collector: values of the headers that OTEL_EXPORTER_OTLP_HEADERS and its kind name."""
    headers = (pair for name, text in otel.items() if name.endswith("_HEADERS") for pair in text.split(","))
    values = (pair.partition("=")[2].strip() for pair in headers)
    return frozenset(form for value in values if value for form in (value, unquote(value)))


def _texts(groups: Iterable[Group]) -> Iterator[str]:
    for group in groups:
        for setting in group.settings():
            text = group.text(setting)
            if isinstance(setting.form, Secret):
                yield text
                yield from (part for part in _BETWEEN.split(text) if len(part) >= _PART_MIN)
            elif isinstance(setting.form, Url):
                for password in _inside(text):
                    yield password
                    yield unquote(password)


def _inside(url: str) -> Iterator[str]:
    """The password of a URL, and the values of parameters that stand for one."""
    # The last @ ends the credentials, also where a password holds an @ or a / that should have been escaped.
    credentials, at, rest = url.partition("://")[2].rpartition("@")
    if at:
        yield credentials.partition(":")[2]
    yield from _SECRET_PARAMETER.findall(rest)
