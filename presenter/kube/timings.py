"""How long the Kubernetes edge waits for what."""

from __future__ import annotations

from dataclasses import dataclass, field

from presenter.kube.backoff import BackoffTimings


@dataclass(frozen=True, slots=True)
class Timings:
    """All in seconds. The defaults suit a real API server; most are those of client-go."""

    backoff: BackoffTimings = field(default_factory=BackoffTimings)
    watch: tuple[int, int] = (300, 600)
    """A watch is asked to last a random time between these, so that not all end together."""
    catching_up: int = 3
    """What a watch is asked to last that has yet to catch up."""
    instant: float = 1.0
    """A watch that ends sooner without any event is an error."""
    silence: float = 90.0
    """Without anything for so long a watch is opened anew; where bookmarks (one a minute) were seen, it was dead."""
    initial: float = 10.0
    """A streaming list that says nothing for so long before its end will have none: the server cannot stream lists."""
    lag: float = 10.0
    """An API server that is behind what was told before has so long to catch up; then etcd was restored."""
    grace: float = 8.0
    """What was received before the end is applied within this."""
    forbidden: float = 60.0
    """Between tries of what RBAC forbids."""
    discovery: float = 30.0
    """Between looks at discovery."""
    settling: float = 1.0
    """Between the looks that follow a changed CRD or APIService: discovery shows it a little later."""
