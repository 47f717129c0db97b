"""A `presenter` that has loaded its modules and waits: those that are forked from it need no second to import them.

They are processes as any other, with a process id, an environment and an end of their own. This is the program, which
imports nothing of the tests; `Forkserver` is the side of who asks it for processes.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

REQUEST = 2**17
"""Bytes that a request may have, at most."""
_PR_SET_CHILD_SUBREAPER = 36


class Forkserver:
    """Starts `presenter` by forking one that has it loaded."""

    def __init__(self) -> None:
        import ctypes

        # What is forked twice becomes a child of the nearest that will have it: of this process, which waits for it.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._turn = threading.Lock()
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={"PATH": os.defpath},
                cwd="/",
            )

    def start(
        self,
        command: Sequence[str],
        directory: Path,
        variables: Mapping[str, str],
        standard: tuple[int, int, int],
        *,
        afresh: bool,
    ) -> int:
        """Start `presenter …` there, with these variables alone, and these as its standard streams. Returns its pid.

        It is a child of this process, which has to wait for it. `afresh`: it loads its modules itself.
        """
        request = json.dumps([command, str(directory), variables, afresh]).encode()
        assert len(request) <= REQUEST
        with self._turn:
            socket.send_fds(self._connection, [request], standard)
            answer = self._connection.recv(64)
        assert answer, "the process that presenter is forked from has ended"
        return int(answer)


def _load() -> None:
    """Import all that `presenter` ever imports."""
    import presenter

    for module in pkgutil.walk_packages(presenter.__path__, "presenter."):
        importlib.import_module(module.name)


def _serve(connection: socket.socket) -> None:
    """Fork for each request; returns in the processes that were forked, and ends when nobody is there to ask."""
    gc.collect()
    gc.freeze()
    while True:
        request, descriptors, _, _ = socket.recv_fds(connection, REQUEST, 3)
        if not request:
            sys.exit()
        told, telling = os.pipe()
        between = os.fork()
        if not between:
            pid = os.fork()
            if not pid:
                os.close(told)
                os.close(telling)
                connection.close()
                _become(descriptors, *json.loads(request))
                return
            os.write(telling, str(pid).encode())
            os._exit(0)
        os.waitpid(between, 0)
        connection.send(os.read(told, 64))
        for descriptor in (told, telling, *descriptors):
            os.close(descriptor)


def _become(
    descriptors: Sequence[int], command: Sequence[str], directory: str, variables: dict[str, str], afresh: bool
) -> None:
    """Be as if the command had just been given so."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(directory)
    if afresh:
        os.execve(command[0], list(command), variables)
    locale = {name: value for name, value in os.environ.items() if name == "LC_CTYPE"}  # Python itself has set it
    os.environ.clear()
    os.environ.update(locale | variables)
    sys.argv[:] = command


if __name__ == "__main__":
    from importlib.metadata import entry_points

    [script] = entry_points(group="console_scripts", name="presenter")
    main = script.load()
    _load()
    _serve(socket.socket(fileno=int(sys.argv[1])))
    main()
