"""Run by `helm test`: the service is ready, and gives a page to who may see it; to nobody without a token."""

import http.client
import json
import os
import subprocess
import sys
from urllib.parse import urlsplit

URL = os.environ["URL"]
PAGE = "/resources?group=rbac.authorization.k8s.io&resource=clusterroles&limit=1"


def get(path: str, token: str = "") -> tuple[int, str]:
    """The status and the body of an answer."""
    connection = http.client.HTTPConnection(urlsplit(URL).netloc, timeout=30)
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


status, body = get("/readyz")
assert status == 200, f"not ready: {body}"
status, body = get(PAGE)
assert status == 401, f"a page without a token: {status} {body}"
if "SIGN_KEY" in os.environ:
    command = ["presenter", "token", "--user", "helm-test", "--group", "system:masters", "--ttl", "1m"]
    token = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    status, body = get(PAGE, token)
    assert status == 200, f"no page: {status} {body}"
    sys.stdout.write(f"{URL} is ready, and gives pages: {json.loads(body)['count']} object in this one.\n")
else:
    sys.stdout.write(f"{URL} is ready. Its tokens are made elsewhere: no page was asked for.\n")
