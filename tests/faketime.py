"""A PostgreSQL whose clock can be set while it runs, by Debian's libfaketime: a test is skipped where that is not."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from presenter.cache import migration
from tests.servers import Postgres, postgres_embedded


@dataclass(frozen=True)
class Clock:
    """The server's: every process of it reads this file each time it asks what time it is."""

    file: Path

    def set(self, seconds: int) -> None:
        """Let it be so many seconds ahead of the right time from now on, or (below zero) behind."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.replace(self.file)


@contextmanager
def postgres_with_clock() -> Iterator[tuple[Postgres, Clock]]:
    """A server of its own, with a migrated database `template`."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None:
        pytest.skip("there is no libfaketime on this machine")
    with tempfile.TemporaryDirectory(prefix="clock-") as directory:
        Path(directory).chmod(0o755)  # the server is another user where this one is root
        clock = Clock(Path(directory) / "offset")
        clock.set(0)
        variables = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(clock.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        with postgres_embedded(variables) as server:
            server.run(lambda address: migration.migrate(address), server.create("template"))
            yield server, clock
