"""What starts a run beside the clock and people: the spec's section `triggers`. Light to import: the spec holds it."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from contender import specrules
from contender.secretref import check_reference
from contender.section import Metric, Seconds, SecondsOrNone, Section

SHORTEST_LOOK = 10.0  # a look is a flow run, which takes some seconds to start
LONGEST_LOOK = 366 * 86400.0
# What a message from outside may set: how a run computes. Never what it reads, where it writes, or what it takes to be promoted.
MAPPABLE = ("train.", "resources.", "concurrency")
MOST_SECRETS = 10
TOPIC = re.compile(r"arn:[a-z-]+:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_.-]{1,256}")


class NewData(Section):
    """Looks at the source, and starts a run when enough of it is new since the last snapshot that has a decision."""

    every: Annotated[Seconds, Field(ge=SHORTEST_LOOK, le=LONGEST_LOOK)] = Field(
        default=300.0, description="between two looks: 30s, 5m, 1h"
    )
    settle: SecondsOrNone = Field(
        default=30.0, description="a file that changed less than this ago is left to a later look"
    )
    min_rows: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="rows that must be new, replaced or gone; default: 1 where min_files is not given"
    )
    min_files: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="or so many files that are new, replaced or gone"
    )


class Degradation(Section):
    """Starts a run when the champion is worse than a bound on labelled rows that are new to it."""

    metric: Metric | None = Field(default=None, description="default: the first of evaluate.metrics")
    bound: Annotated[float, Field(ge=0)] = Field(
        description="the lowest value that is good enough; of log_loss, perplexity and calibration_error the highest"
    )
    min_rows: Annotated[int, Field(ge=1)] = Field(default=100, description="new labelled rows, before it is asked")


def some(references: tuple[str, ...]) -> tuple[str, ...]:
    """The references themselves; not pydantic's own check of a length, which would quote what may be a secret."""
    if not 1 <= len(references) <= MOST_SECRETS:
        raise ValueError(f"must name 1 to {MOST_SECRETS} secrets")
    return references


class Webhook(Section):
    """What `POST /hooks/<name>` must show to be believed. A delivery says no more than: look now."""

    scheme: Literal["standard", "github", "huggingface", "basic", "token"] = Field(
        description="standard: Standard Webhooks; github: X-Hub-Signature-256; huggingface: X-Webhook-Secret; basic: user and password; "
        "token: the last part of the path"
    )
    secrets: Annotated[tuple[Annotated[str, AfterValidator(check_reference)], ...], AfterValidator(some)] = Field(
        description="where the secrets are: env:NAME or file:/path; each of them opens, so that they can be rotated"
    )
    map: dict[str, Annotated[str, Field(min_length=1, max_length=1000)]] = Field(
        default={}, description="key below train, resources or concurrency → JMESPath expression on the JSON body"
    )
    topic: Annotated[str, Field(max_length=400)] | None = Field(
        default=None, description="ARN of the SNS topic whose subscription may be confirmed; with scheme basic or token"
    )
    per_minute: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=600, description="deliveries that are taken; above it the sender is asked to wait"
    )
    max_bytes: Annotated[int, Field(ge=1, le=26_214_400)] = Field(default=1_048_576, description="of a body")

    @field_validator("map")
    @classmethod
    def _harmless(cls, value: dict[str, str]) -> dict[str, str]:
        import jmespath
        from jmespath.exceptions import JMESPathError

        for key, expression in value.items():
            if not any(key == allowed or (allowed.endswith(".") and key.startswith(allowed)) for allowed in MAPPABLE):
                raise ValueError(
                    f"{key!r} may not be set from outside: keys below train and resources may, and concurrency"
                )
            try:
                jmespath.compile(expression)
            except JMESPathError as error:
                raise ValueError(f"{key}: {expression!r} is no JMESPath expression: {error}") from None
        return value

    @model_validator(mode="after")
    def _topic_fits(self) -> Webhook:
        if self.topic is not None and self.scheme not in ("basic", "token"):
            raise ValueError("topic goes with scheme: basic or token, the ones that SNS can send")
        if self.topic is not None and not TOPIC.fullmatch(self.topic):
            raise ValueError("topic must be an ARN such as arn:aws:sns:eu-central-1:123456789012:uploads")
        return self


class Triggers(Section):
    """What starts a run beside the clock and people."""

    new_data: NewData | None = None
    degradation: Degradation | None = None
    webhook: Webhook | None = None

    @model_validator(mode="after")
    def _somebody_looks(self) -> Triggers:
        if self.degradation is not None and self.new_data is None:
            raise specrules.misfits([(("degradation",), "needs triggers.new_data, which looks for the rows")])
        return self
