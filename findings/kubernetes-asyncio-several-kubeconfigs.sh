#!/usr/bin/env bash
# kubernetes_asyncio merges the files of KUBECONFIG otherwise than kubectl where they disagree: the last current-context
# wins, even an empty one, and an empty certificate-authority-data hides the file named beside it.
#
# Seen with kubernetes_asyncio 36.1.0:
#   two contexts: second
#   the last is empty: ''
#   data is empty, and a file is named: no certificate authority
# kubectl takes the first file that sets a value, and does not count an empty one
# (https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/#merging-kubeconfig-files): the
# guess was that the library does as that page says, as it reads the same variable. A process that is given two files so
# talks to another cluster than kubectl beside it, without a word.

set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check kubernetes-asyncio==36.1.0
cat >"$work/try.py" <<'PY'
import asyncio
from pathlib import Path

from kubernetes_asyncio.client import Configuration
from kubernetes_asyncio.config.kube_config import KubeConfigLoader, KubeConfigMerger

FILE = """
apiVersion: v1
kind: Config
clusters: [{name: NAME, cluster: {server: "https://NAME.example.com", certificate-authority: ca.crt MORE}}]
users: [{name: NAME, user: {token: any}}]
contexts: [{name: NAME, context: {cluster: NAME, user: NAME}}]
current-context: "CURRENT"
"""


def merged(*files: tuple[str, str, str]) -> KubeConfigMerger:
    for name, current, more in files:
        Path(name).write_text(FILE.replace("NAME", name).replace("CURRENT", current).replace("MORE", more))
    return KubeConfigMerger(":".join(name for name, _, _ in files))


async def main() -> None:
    Path("ca.crt").write_text("a certificate")
    print("two contexts:", merged(("first", "first", ""), ("second", "second", "")).config.value["current-context"])
    print("the last is empty:", repr(merged(("first", "first", ""), ("second", "", "")).config.value["current-context"]))
    merger = merged(("first", "first", ', certificate-authority-data: ""'))
    configuration = Configuration()
    await KubeConfigLoader(config_dict=merger.config, config_base_path=".").load_and_set(configuration)
    print("data is empty, and a file is named:", configuration.ssl_ca_cert or "no certificate authority")


asyncio.run(main())
PY
cat >"$work/expected" <<'SEEN'
two contexts: second
the last is empty: ''
data is empty, and a file is named: no certificate authority
SEEN
cd "$work"
"$work/venv/bin/python" try.py >seen
cat seen
diff expected seen && echo "as described"
