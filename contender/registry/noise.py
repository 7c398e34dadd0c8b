"""Noise records: how far seeds alone move a pipeline's metrics, written once and never changed."""

from __future__ import annotations

from contender.errors import AlreadyExists, Damaged, Missing
from contender.noise import NoiseReport
from contender.registry.layout import Layout, parsed, sealed
from contender.store import Store
from contender.store.transfer import at_once


class NoiseRecords:
    """The noise records of one pipeline."""

    def __init__(self, store: Store, layout: Layout) -> None:
        self._store = store
        self._layout = layout

    def keep(self, report: NoiseReport) -> NoiseReport:
        """The record that stands under this key: this one, or the one that was first."""
        key = self._layout.noise(report.key)
        try:
            self._store.create(key, sealed(report))
        except AlreadyExists:
            return parsed(NoiseReport, self._store.get(key), key)
        return report

    def newest(self) -> tuple[NoiseReport | None, list[str]]:
        """The newest record that can be read, and what is wrong with each other one: nothing is decided by them."""

        def one(key: str) -> NoiseReport | str:
            try:
                return parsed(NoiseReport, self._store.get(key), key)
            except (Damaged, Missing) as error:
                return error.what

        keys = [info.key for info in self._store.list(self._layout.noises()) if info.key.endswith(".json")]
        found = at_once(one, keys, threads=8)
        reports = [report for report in found if isinstance(report, NoiseReport)]
        newest = max(reports, key=lambda report: (report.at, report.key), default=None)
        return newest, [fault for fault in found if isinstance(fault, str)]
