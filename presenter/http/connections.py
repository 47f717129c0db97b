"""The connections of a server: which are idle, on which a request arrives, which has to go when they are too many."""

from __future__ import annotations

from typing import Protocol

MOST_ARRIVING = 32 * 2**20
"""Bytes of requests that have not come to their end, over all connections."""


class Guest(Protocol):
    """A connection, as far as it can be ended."""

    def leave(self) -> None:
        """It is idle, and its place is wanted."""

    def give_up(self) -> None:
        """Its request has been arriving for longest, and its place is wanted."""

    def turn_away(self) -> None:
        """It has just come, and there is no place for it."""


class Connections:
    """At most `most` of them, and at most `most_idle` on which nothing is asked: those go first that were idle longest.

    Then those go whose request has been arriving for longest. Where neither are left, who comes is turned away: whoever
    has asked is answered.
    """

    def __init__(self, most: int, most_idle: int) -> None:
        self._most = most
        self._most_idle = most_idle
        self._all: set[Guest] = set()
        self._idle: dict[Guest, None] = {}  # who has been for longest comes first
        self._arriving: dict[Guest, int] = {}
        self._bytes_arriving = 0

    def opened(self, guest: Guest) -> None:
        """One more, which is idle."""
        self._all.add(guest)
        while len(self._all) > self._most and self._idle:
            self._oldest(self._idle).leave()
        while len(self._all) > self._most and self._arriving:
            self._oldest(self._arriving).give_up()
        if len(self._all) > self._most:
            guest.turn_away()
        else:
            self.is_idle(guest)

    def is_leaving(self, guest: Guest) -> None:
        """It has had its last answer, and is kept for a moment, in which the caller may read it."""
        self._all.add(guest)
        self.is_idle(guest)
        while len(self._all) > self._most and self._idle:
            self._oldest(self._idle).leave()

    def closed(self, guest: Guest) -> None:
        """It counts no more."""
        self._all.discard(guest)
        self._forget(guest)

    def is_idle(self, guest: Guest) -> None:
        """Nothing is asked on it any more."""
        self._forget(guest)
        self._idle[guest] = None
        while len(self._idle) > self._most_idle:
            self._oldest(self._idle).leave()

    def is_arriving(self, guest: Guest, size: int) -> None:
        """So many bytes are held of a request that has not come to its end."""
        self._idle.pop(guest, None)
        self._bytes_arriving += size - self._arriving.get(guest, 0)
        self._arriving[guest] = size
        while self._bytes_arriving > MOST_ARRIVING:
            self._oldest(self._arriving).give_up()

    def is_asking(self, guest: Guest) -> None:
        """Its request has come, and is answered."""
        self._forget(guest)

    def _forget(self, guest: Guest) -> None:
        self._idle.pop(guest, None)
        self._bytes_arriving -= self._arriving.pop(guest, 0)

    def _oldest(self, guests: dict[Guest, None] | dict[Guest, int]) -> Guest:
        guest = next(iter(guests))
        self.closed(guest)
        return guest
