"""`scripts/audit` finds what is known, and says so when it cannot ask."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


@contextmanager
def osv(vulnerable: str | None, status: int = 200) -> Iterator[str]:
    """An OSV database that knows of one vulnerability, or that fails."""

    class Database(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = question["package"]["name"]
            ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.0"}]}]
            package = {"name": name, "ecosystem": "PyPI"}
            known = {"id": "PYSEC-1", "summary": "bad", "affected": [{"package": package, "ranges": ranges}]}
            body = json.dumps({"vulns": [known]} if name == vulnerable else {}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Database) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/query"
        finally:
            server.shutdown()


def audit(checkout: Path, url: str) -> tuple[int, str]:
    """The exit code of an audit that asks there, and what it says."""
    done = subprocess.run([checkout / "scripts" / "audit", "--osv-url", url], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("package", ["fastapi", "pytest"])
def test_a_known_vulnerability_fails(checkout: Path, package: str) -> None:
    with osv(package) as url:
        code, said = audit(checkout, url)
    assert code == 1, said
    assert re.search(rf"{package} \S+: PYSEC-1, fixed in 99\.0", said)


def test_all_is_well_when_every_package_was_asked_about(checkout: Path) -> None:
    with osv(None) as url:
        code, said = audit(checkout, url)
    assert code == 0, said
    asked, packages = map(int, re.findall(r"(\d+) of (\d+) packages asked about, 0 vulnerabilities", said)[0])
    assert asked == packages > 100


def test_who_cannot_ask_says_so(checkout: Path) -> None:
    with osv(None, status=500) as url:
        failing = audit(checkout, url)
    for code, said in (failing, audit(checkout, url)):  # and then nothing listens there any more
        assert code == 75, said
        assert "0 packages asked about" in said
