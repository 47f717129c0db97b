#!/usr/bin/env bash
# gojq, the jq in Go that programs embed, does not read Go's own zero time, and has other answers than jq where a text is
# empty, a cut is no whole number, or a text is indexed. All of them are silent, but for the first.
#
# Seen with gojq 0.12.17 and jq 1.8 (of jq for Python 1.13.0):
#   "0001-01-01T00:00:00Z" | fromdate   gojq: fails   jq: -62135596800
#   "" | split(",")                     gojq: [""]    jq: []
#   [1, 2, 3] | .[:1.5]                 gojq: [1]     jq: [1,2]
#   "abc" | .[0]                        gojq: "a"     jq: fails
#   {b: 1, a: 2} | [.[]]                gojq: [2,1]   jq: [1,2]
# A guess was that a program that runs in both gives the same. creationTimestamp 0001-01-01T00:00:00Z is what some API
# servers send, and an annotation of "" is nothing special.

set -euo pipefail
command -v go >/dev/null || { echo "needs Go" >&2 && exit 2; }
work=$(mktemp -d)
trap 'chmod -R u+w "$work" && rm -rf "$work"' EXIT
export GOFLAGS=-mod=mod GOPATH=$work/go GOBIN=$work/bin
go install github.com/itchyny/gojq/cmd/gojq@v0.12.17 2>/dev/null
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check jq==1.13.0
cat >"$work/try.py" <<'PY'
import subprocess
import sys

import jq


def in_gojq(program: str) -> str:
    done = subprocess.run([sys.argv[1], "-nc", program], capture_output=True, text=True)
    return "fails" if done.returncode else done.stdout.strip()


def in_jq(program: str) -> str:
    try:
        return jq.compile(program).input_text("null").text().replace(" ", "")
    except ValueError:
        return "fails"


for program in (
    '"0001-01-01T00:00:00Z" | fromdate',
    '"" | split(",")',
    "[1, 2, 3] | .[:1.5]",
    '"abc" | .[0]',
    "{b: 1, a: 2} | [.[]]",
):
    print(f"{program:<35} gojq: {in_gojq(program):<7} jq: {in_jq(program)}")
PY
"$work/venv/bin/python" "$work/try.py" "$work/bin/gojq" | tee "$work/seen"
diff - "$work/seen" <<'SEEN' && echo "as described"
"0001-01-01T00:00:00Z" | fromdate   gojq: fails   jq: -62135596800
"" | split(",")                     gojq: [""]    jq: []
[1, 2, 3] | .[:1.5]                 gojq: [1]     jq: [1,2]
"abc" | .[0]                        gojq: "a"     jq: fails
{b: 1, a: 2} | [.[]]                gojq: [2,1]   jq: [1,2]
SEEN
