"""Programs that not every machine has: with `TEST_REQUIRE_TOOLS=1` their absence is a failure."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_OWN = Path(__file__).parents[2] / ".tools" / "bin"
_PATH = f"{_OWN}:{os.defpath}"


def require(name: str) -> None:
    """Skip the test when there is no such program."""
    if shutil.which(name, path=_PATH) is None:
        reason = f"no {name}: install it" + (", or run scripts/tools" if name == "kubectl" else "")
        if os.environ.get("TEST_REQUIRE_TOOLS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


@dataclass(frozen=True)
class Pasted:
    """What came of a line."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, which must be JSON."""
        assert self.code == 0, self
        return json.loads(self.out)


async def paste(line: str, home: Path, patience: float = 60) -> Pasted:
    """Run a line, or several, in a shell, as if pasted into a terminal. It must end within `patience` seconds."""
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        line,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": _PATH, "HOME": str(home)},
        cwd=home,
    )
    async with asyncio.timeout(patience):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Pasted(process.returncode, out.decode(), err.decode())
