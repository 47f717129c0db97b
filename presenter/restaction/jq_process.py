"""The process that evaluates jq programs for `presenter.restaction.jq`, and for nothing else.

A request on standard input is a line `OPERATION PROGRAM-BYTES VALUE-BYTES OUTPUT-LIMIT`, the program and the value, as
JSON; the answer a line `STATUS BYTES`, and a JSON array or a message. This process opens no file and writes nowhere
else, whatever a program tries: nothing can be opened once the limits are set.
"""

from __future__ import annotations

import os
import resource
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import jq

_PRELUDE = Path(__file__).with_name("gojq.jq").read_text(encoding="utf-8")
_PROGRAMS = 256
_LONGEST_MESSAGE = 4096


class _TooMuch(Exception):
    """More output than is allowed."""


def main() -> None:
    """Say `ready`, and answer requests until standard input ends.

    Arguments: the CPU time in seconds that each may take, and the memory in bytes.
    """
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    seconds, memory = map(int, sys.argv[1:])
    jq.compile(".").input_text("null").first()  # whatever it reads at first, it reads now
    _confine(memory)
    answers.write(b"ready\n")
    answers.flush()
    while header := requests.readline():
        operation, program, value, limit = header.split()
        _grant(seconds)
        _serve(operation, requests.read(int(program)), requests.read(int(value)), int(limit), answers)


def _confine(memory: int) -> None:
    os.unsetenv("LC_CTYPE")  # Python sets it where the environment is empty (PEP 538)
    for what, limit in [
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 0),  # what is open stays open, and nothing else can be opened
        (resource.RLIMIT_AS, memory),
    ]:
        _, most = resource.getrlimit(what)
        least = limit if most == resource.RLIM_INFINITY else min(limit, most)
        resource.setrlimit(what, (least, least))


def _grant(seconds: int) -> None:
    """CPU time, after which the kernel ends this process even if nobody is left who would."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = int(used.ru_utime + used.ru_stime) + seconds + 1
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (until if most == resource.RLIM_INFINITY else min(until, most), most))


def _serve(operation: bytes, program: bytes, value: bytes, limit: int, answers: BinaryIO) -> None:
    try:
        status, body = b"ok", _answer(operation, program.decode(), value.decode(), limit)
    except (ValueError, _TooMuch) as error:
        status, body = b"error", str(error)[:_LONGEST_MESSAGE].encode(errors="replace")
    answers.write(b"%s %d\n" % (status, len(body)))
    answers.write(body)
    answers.flush()


def _answer(operation: bytes, program: str, value: str, limit: int) -> bytes:
    if operation == b"check":
        jq.compile(program)
        return b"[]"
    outputs: list[bytes] = []
    size = 0
    for text in _compiled(program).input_text(value):
        outputs.append(text.encode(errors="replace"))
        size += len(outputs[-1]) + 1
        if size > limit:
            raise _TooMuch(f"gives more than {limit} bytes")
        if operation == b"first":
            break
    return b"[" + b",".join(outputs) + b"]"


@lru_cache(_PROGRAMS)
def _compiled(program: str) -> Any:
    """The program behind the prelude, with JSON texts as its outputs: so jq writes its numbers as it read them."""
    return jq.compile(f"{_PRELUDE}({program}\n)|_gojq_json")


if __name__ == "__main__":
    main()
