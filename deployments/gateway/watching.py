"""What an operator is told: a line of JSON for each delivery, and the counters that Prometheus collects.

No path, header or token stands in either. A pipeline that is not known has no name here: whoever mistypes a URL may have put the
token in its place, and names from outside would make counters without end.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from deployments.gateway.limits import Bucket

log = logging.getLogger("contender.gateway")

FROM_ANYBODY = {"unknown", "unauthenticated", "rate_limited", "too_large", "too_slow", "busy", "cut_off"}
LINES_PER_MINUTE = 300  # of those: a flood must not fill the disk
NOBODY = ""  # the pipeline of a delivery that named none
BUCKETS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10)


def prepare_logs() -> None:
    """Lines on stderr, where nobody set up anything else; and never an access log: it would hold the tokens of paths."""
    logging.getLogger("uvicorn.access").disabled = True
    if not log.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False


def line(level: int, event: str, **fields: Any) -> None:
    """One JSON object in a line; json escapes every control character."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    log.log(level, "%s", json.dumps({"time": at, "event": event, **fields}))


def tell_operator(event: str, **fields: Any) -> None:
    """Something that only the operator can set right."""
    line(logging.WARNING, event, **fields)


class Metrics:
    """The counters of one gateway."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._lines = Bucket(LINES_PER_MINUTE)
        self._deliveries = Counter(
            "contender_gateway_deliveries",
            "Deliveries by pipeline and result; without a pipeline where none of that name takes webhooks",
            ["pipeline", "result"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "contender_gateway_delivery_seconds",
            "From the first byte of a delivery's headers to its answer",
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.waiting = Gauge(
            "contender_gateway_waiting_runs",
            "Runs of the pipelines with webhooks that have not begun",
            registry=self.registry,
        )
        self.pipelines = Gauge("contender_gateway_pipelines", "Pipelines that take webhooks", registry=self.registry)
        self.journal_bytes = Gauge(
            "contender_gateway_journal_bytes", "Size of the journal on disk", registry=self.registry
        )

    def answered(self, pipeline: str, scheme: str, result: str, status: int, seconds: float, **more: str) -> None:
        """Counts a delivery, and writes its line; of those that anybody can send, so many a minute."""
        self._deliveries.labels(pipeline, result).inc()
        self._seconds.observe(seconds)
        if result in FROM_ANYBODY and self._lines.take():
            return
        ms = round(seconds * 1000, 1)
        line(logging.INFO, "delivery", pipeline=pipeline, scheme=scheme, result=result, status=status, ms=ms, **more)
