"""Prometheus metrics of the streams of changes."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

STREAMS = Gauge(
    "presenter_changes_streams", "Streams of changes that are open.", registry=None, multiprocess_mode="livesum"
)
EVENTS = Counter("presenter_changes_events", "Changes that streams were told of.", ["type"], registry=None)
ENDED = Counter("presenter_changes_streams_ended", "Streams of changes that have ended.", ["reason"], registry=None)
BATCHES = Counter(
    "presenter_changes_batches",
    "Batches of changes that were read from the database: one for all streams, or for those that were behind.",
    ["for"],
    registry=None,
)
for _reason in ("limit", "caller", "slow"):
    ENDED.labels(_reason)  # so that the first one is an increase, too
OF_CHANGES = (STREAMS, EVENTS, ENDED, BATCHES)
