"""What every section of the spec has in common: frozen, unknown keys refused, no flags where numbers belong."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema, field_validator

from contender import specrules
from contender.canonical import Record

Metric = Annotated[str, AfterValidator(specrules.metric)]
DURATION_SCHEMA = WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string"}]})
Seconds = Annotated[float, BeforeValidator(specrules.duration), Field(gt=0, allow_inf_nan=False), DURATION_SCHEMA]
SecondsOrNone = Annotated[float, BeforeValidator(specrules.duration), Field(ge=0, allow_inf_nan=False), DURATION_SCHEMA]


def listed(value: Any) -> Any:
    """A list, from one section or one text where several may stand."""
    return [value] if isinstance(value, dict | Section | str) else value


class Section(Record):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_flag_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        field = cls.model_fields[info.field_name] if info.field_name else None
        return specrules.no_flag(value) if field is not None and specrules.takes_number(field.annotation) else value
