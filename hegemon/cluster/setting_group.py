"""The base of the settings' groups: frozen values that know their environment names, their rules and what to hide.

An attribute's environment name is its own name in upper case. A description gives the trade-off and the neighbours; it
is also the text of `.env.example`. Rules between settings stand in `conflicts`, in the group that holds all of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationInfo, model_validator
from pydantic.fields import FieldInfo

from hegemon.cluster.setting_forms import Form


@dataclass(frozen=True)
class Conflict:
    """A rule that some settings break together: their environment names, and what is wrong in one sentence."""

    names: tuple[str, ...]
    sentence: str


@dataclass(frozen=True)
class Setting:
    """One setting as the loader, the printer and `.env.example` see it."""

    name: str
    attribute: str
    form: Form
    field: FieldInfo


class Group(BaseModel):
    """Base of the groups: frozen, unknown names refused, secrets hidden when printed, rules checked when built."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True)
    # The loader passes this context so that it can report a broken rule beside all the other wrong values.
    RULES_LATER: ClassVar[str] = "rules later"

    @classmethod
    def settings(cls) -> Iterator[Setting]:
        """The group's settings, in the order of their definition."""
        for attribute, field in cls.model_fields.items():
            extra = field.json_schema_extra
            name = str(extra["env"]) if isinstance(extra, dict) and "env" in extra else attribute.upper()
            form = next(item for item in field.metadata if isinstance(item, Form))
            yield Setting(name, attribute, form, field)

    def conflicts(self) -> Iterator[Conflict]:
        """The rules between this group's settings that do not hold."""
        return iter(())

    def text(self, setting: Setting) -> str:
        """The setting's value as one would write it in the environment, secrets included; empty if it is unset."""
        value = getattr(self, setting.attribute)
        return "" if value is None else setting.form.write(value)

    def shown(self, setting: Setting) -> str:
        """As `text`, with secrets hidden."""
        text = self.text(setting)
        return setting.form.hide(text) if text else ""

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for setting in self.settings():
            yield setting.attribute, self.shown(setting)

    @model_validator(mode="after")
    def _keep_rules(self, info: ValidationInfo) -> Self:
        if info.context != self.RULES_LATER:
            broken = [conflict.sentence for conflict in self.conflicts()]
            if broken:
                raise ValueError("; ".join(broken))
        return self
