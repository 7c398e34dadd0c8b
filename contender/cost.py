"""What a model took of its devices, and what that cost."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from contender.records import Record


class Cost(Record):
    """Device-hours of one model, and their price where the pipeline names one."""

    training_seconds: float = Field(description="in the training loop, over all attempts")
    devices: int = Field(description="that trained at once")
    evaluation_seconds: float = Field(default=0.0, description="of both models on the held-out sets, on one device")
    price_per_hour: float | None = Field(default=None, description="of one device, in whatever currency")

    @property
    def device_hours(self) -> float:
        return (self.training_seconds * self.devices + self.evaluation_seconds) / 3600

    @property
    def amount(self) -> float | None:
        """In the currency of the price."""
        return None if self.price_per_hour is None else self.device_hours * self.price_per_hour

    def figures(self) -> dict[str, Any]:
        """What a run's document says of it, beside the figures of its training."""
        return {"device_hours": self.device_hours, "price_per_hour": self.price_per_hour, "cost": self.amount}
