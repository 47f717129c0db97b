"""A stream of byte chunks, cut into lines."""

from __future__ import annotations


class LineSplitter:
    """Cuts chunks into lines of any length.

    Works on bytes, so a character split across two chunks is whole again in its line.
    """

    def __init__(self) -> None:
        self._begun: list[bytes] = []

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that this chunk completes, without their ends; empty lines are left out."""
        first, *rest = chunk.split(b"\n")
        self._begun.append(first)
        complete = []
        for piece in rest:
            # Joined once per line, so that a long line costs its length and not its square.
            complete.append(b"".join(self._begun))
            self._begun = [piece]
        return [line for line in complete if line]

    @property
    def unterminated(self) -> bool:
        """Whether a line has begun that has not ended."""
        return any(self._begun)
