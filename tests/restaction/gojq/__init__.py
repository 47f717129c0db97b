"""gojq itself, as snowplow has it: built with Go, where there is Go."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ANSWERS = HERE / "answers.jsonl"
"""Programs with their input, and what gojq 0.12.17 gives: the texts of its outputs, or null where it fails."""


class Gojq:
    """Asks it, one program after the other."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Gojq:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def __call__(self, program: str, value: Any) -> list[str] | None:
        """The texts of its outputs, None when it fails."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"program": program, "input": value}).encode() + b"\n")
        self._process.stdin.flush()
        outputs: list[str] | None = json.loads(self._process.stdout.readline())
        return outputs


def build(home: Path) -> Path:
    """Build it, or skip the test where it cannot be built."""
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        pytest.skip("needs Go")
    built = subprocess.run(
        [go, "build", "-o", home / "ask", "."], cwd=HERE, env=os.environ | {"CGO_ENABLED": "0"}, capture_output=True
    )
    if built.returncode:
        pytest.skip(f"gojq cannot be built: {built.stderr.decode()[-200:]}")
    return home / "ask"
