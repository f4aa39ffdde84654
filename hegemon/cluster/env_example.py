"""Writes `.env.example` out of the settings: `python -m hegemon.cluster.env_example > .env.example`."""

import sys
from textwrap import wrap

from hegemon.cluster.setting_group import Group, Setting
from hegemon.cluster.settings import Settings

_HEADING = """\
# Settings of a Hegemon node. Copy this file to .env and un-comment what you change; the environment wins over .env.
# An empty value counts as unset. Every line that begins with #NAME= shows the default.
# Durations have a unit: 500ms, 10s, 1m30s, 2h, 7d, or a bare 0. Sizes are bytes: 4096, 16kB, 1MB, 2MiB.
"""


def render() -> str:
    """The whole file: each setting with its trade-off, neighbours, form and default."""
    return "\n".join((_HEADING, *(_render_group(group) for group in Settings().groups())))


def _render_group(group: Group) -> str:
    title = (group.__doc__ or "").split("\n")[0]
    return "\n".join((f"# ==== {title}", "", *(_render_setting(group, setting) for setting in group.settings())))


def _render_setting(group: Group, setting: Setting) -> str:
    # NODE_ID's default differs from host to host, so it stands here as unset.
    default = "" if setting.field.default_factory else group.text(setting)
    text = f"{setting.field.description} Must be {setting.form.expects}. Default: {default or 'unset'}."
    comment = [f"# {line}" for line in wrap(text, 118, break_on_hyphens=False, break_long_words=False)]
    return "\n".join((*comment, f"#{setting.name}={default}", ""))


if __name__ == "__main__":
    sys.stdout.write(render())
