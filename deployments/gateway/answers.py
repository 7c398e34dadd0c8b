"""What a sender is told: the statuses, and for each refusal what is wrong and what to do, in words that leak nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from contender.errors import Terminal

RETRY_SECONDS = 5  # what a sender is asked to wait where nothing better is known


class Refused(Terminal):
    """A delivery that is not taken: the status, why, and one word for the counters."""

    def __init__(
        self,
        status: int,
        what: str,
        fix: str,
        result: str,
        headers: Mapping[str, str] | None = None,
        run: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(what, fix)
        self.args = (status, what, fix, result, headers, run)
        self.status = status
        self.result = result
        self.headers = headers or {}
        self.run = run or {}

    def response(self) -> JSONResponse:
        return failure(self.status, self.what, self.fix, self.headers, self.run)


class Accepted(BaseModel):
    """202: a run will look at the data."""

    outcome: Literal["accepted"] = "accepted"
    pipeline: str
    delivery: Annotated[str, Field(description="its id in the gateway's journal")]
    flow_run_id: str
    flow_run_url: Annotated[str, Field(description="the run in Prefect's UI")]
    joined: Annotated[bool, Field(description="whether the run waited already, for another delivery or a schedule")]
    replay: Annotated[bool, Field(description="whether the same delivery was taken before; it never starts a run")]


class Done(BaseModel):
    """200: understood, and no run is needed."""

    outcome: Literal["ignored", "confirmed"]
    pipeline: str


class Fault(BaseModel):
    """What is wrong, and what to do."""

    what: str
    fix: str


class Failure(BaseModel):
    """Every other status."""

    error: Fault
    flow_run_id: Annotated[str | None, Field(description="with 409: the run that the same delivery led to")] = None
    flow_run_url: str | None = None


def failure(
    status: int, what: str, fix: str, headers: Mapping[str, str] | None = None, run: Mapping[str, str] | None = None
) -> JSONResponse:
    body: dict[str, Any] = {"error": {"what": what, "fix": fix}, **(run or {})}
    return JSONResponse(body, status, {"cache-control": "no-store", **(headers or {})})


def unknown() -> Refused:
    return Refused(
        404,
        "no pipeline of this name takes webhooks",
        "Check the name in the URL. A pipeline takes them once it is deployed with triggers.webhook.",
        "unknown",
    )


def unauthenticated(challenge: str) -> Refused:
    return Refused(
        401,
        "the delivery does not show that its sender knows the secret",
        "Check the secret at the sender, its clock, and that it sends by the scheme of the pipeline's triggers.webhook.",
        "unauthenticated",
        {"www-authenticate": challenge},
    )


def unresolved() -> Refused:
    return Refused(
        503,
        "the gateway cannot read the secrets of this pipeline",
        "Send it again later. The gateway's log tells its operator which one is missing.",
        "unresolved",
        {"retry-after": "60"},
    )


def too_many(seconds: float) -> Refused:
    return Refused(
        429,
        "this pipeline is sent more deliveries than it takes in a minute",
        "Wait as long as Retry-After says. A run looks at all data that there is: fewer deliveries lose nothing.",
        "rate_limited",
        {"retry-after": str(max(1, round(seconds + 0.5)))},
    )


def too_large(most: int) -> Refused:
    return Refused(
        413, f"the body is larger than {most} bytes", "Send less; the data itself is read from its source.", "too_large"
    )


def too_slow(seconds: float) -> Refused:
    return Refused(
        408,
        f"the body did not arrive within {seconds:.0f} s",
        "Send it again.",
        "too_slow",
        {"connection": "close"},
    )


def malformed(what: str, fix: str) -> Refused:
    return Refused(422, what, fix, "malformed")


def busy() -> Refused:
    return Refused(
        503,
        "the gateway has its hands full",
        "Send it again in a few seconds.",
        "busy",
        {"retry-after": str(RETRY_SECONDS)},
    )


def unavailable(what: str = "Prefect does not answer, so no run can be started") -> Refused:
    return Refused(503, what, "Send it again in a few seconds.", "unavailable", {"retry-after": str(RETRY_SECONDS)})


def other_parameters() -> Refused:
    return Refused(
        409,
        "a run of this pipeline with other parameters has not begun yet, and one at a time waits",
        "Send it again when that run has begun.",
        "conflict",
        {"retry-after": "60"},
    )


def replayed(run: Mapping[str, str]) -> Refused:
    return Refused(
        409,
        "the same delivery was taken within the last 24 hours, and its run has begun",
        "Nothing is left to do for a repeated delivery. For a new one, send another body, such as one with the time in it.",
        "replayed",
        run=run,
    )


def internal() -> Refused:
    return Refused(500, "the gateway failed", "Its log tells its operator why. Send it again later.", "failed")


_RUN = "7f2b8f0e-5f60-4f0e-9a43-0c8a3f1c9a11"
_URL = f"http://127.0.0.1:4200/runs/flow-run/{_RUN}"
ACCEPTED_EXAMPLE = Accepted(
    pipeline="support-intents",
    delivery="d-4f1c0a9be2d7713a",
    flow_run_id=_RUN,
    flow_run_url=_URL,
    joined=False,
    replay=False,
)


def documented() -> dict[int | str, dict[str, Any]]:
    """OpenAPI's `responses` of a delivery: every status, with an example of each refusal."""
    refusals = [
        ("the body is slow", too_slow(10)),
        ("no pipeline of this name", unknown()),
        ("not authenticated", unauthenticated("Basic")),
        ("the same delivery again", replayed({"flow_run_id": _RUN, "flow_run_url": _URL})),
        ("other parameters", other_parameters()),
        ("too large", too_large(1_048_576)),
        ("a parameter", malformed("train.epochs: Input should be greater than 0", "Correct what the body says.")),
        ("too many", too_many(3)),
        ("failed", internal()),
        ("Prefect is away", unavailable()),
        ("a secret is missing", unresolved()),
        ("busy", busy()),
    ]
    found: dict[int | str, dict[str, Any]] = {
        200: {"model": Done, "description": "Understood; no run is needed (a ping, a subscription)"},
        202: {
            "model": Accepted,
            "description": "A run will look at the data",
            "content": {"application/json": {"example": ACCEPTED_EXAMPLE.model_dump()}},
        },
    }
    for name, refused in refusals:
        entry = found.setdefault(
            refused.status,
            {"model": Failure, "description": refused.what, "content": {"application/json": {"examples": {}}}},
        )
        value = {"error": {"what": refused.what, "fix": refused.fix}, **refused.run}
        entry["content"]["application/json"]["examples"][name] = {"value": value}
    found[400] = {"model": Failure, "description": "not HTTP as it should be"}
    found[421] = {"model": Failure, "description": "the Host header names another server"}
    found[403] = {"model": Failure, "description": "a page of another origin sent it"}
    return found
