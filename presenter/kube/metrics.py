"""Prometheus metrics of what this process receives from the API server."""

from __future__ import annotations

from prometheus_client import Gauge

WAITING_EVENTS = Gauge(
    "presenter_ingest_waiting_events", "Events that were received and are not yet written.", registry=None
)
WAITING_BYTES = Gauge("presenter_ingest_waiting_bytes", "How large those events are.", registry=None)
OF_INGEST = (WAITING_EVENTS, WAITING_BYTES)
