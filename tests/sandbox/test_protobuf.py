"""The protocol buffer encoding, by bytes made by hand; kubectl and helm prove the rest."""

from __future__ import annotations

import pytest

from presenter.sandbox import protobuf
from tests.sandbox.harness import Client


def field(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2, len(value)]) + value


def envelope(kind: str, raw: bytes) -> bytes:
    return b"k8s\x00" + field(1, field(1, b"v1") + field(2, kind.encode())) + field(2, raw)


CONFIG_MAP = field(1, field(1, b"cm") + field(11, field(1, b"a") + field(2, "ü".encode()))) + field(
    2, field(1, b"key") + field(2, b"value")
)


def test_decoding() -> None:
    assert protobuf.decode(envelope("ConfigMap", CONFIG_MAP + b"\x20\x01")) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "cm", "labels": {"a": "ü"}},
        "data": {"key": "value"},
        "immutable": True,
    }
    assert protobuf.decode(envelope("Secret", field(2, field(1, b"k") + field(2, b"\x00\xff")))) == {
        "apiVersion": "v1",
        "kind": "Secret",
        "data": {"k": "AP8="},
    }
    assert protobuf.decode(envelope("Deployment", b"")) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        envelope("ConfigMap", b"\x0a\x7f"),
        envelope("ConfigMap", b"\x80"),
        envelope("ConfigMap", b"\x0d"),
        envelope("ConfigMap", b"\x08\x01"),
    ],
)
def test_what_cannot_be_decoded(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a Kubernetes|cut short|wire type|a number where"):
        protobuf.decode(body)


async def test_bodies_in_protocol_buffers(client: Client) -> None:
    path, headers = "/api/v1/namespaces/default/configmaps", {"Content-Type": protobuf.MEDIA_TYPE}
    created = await client.send("POST", path, envelope("ConfigMap", CONFIG_MAP), headers)
    assert (created.status, created.json["data"]) == (201, {"key": "value"})
    assert (await client.send("POST", path, b"k8s\x00\x80", headers)).status == 400
    assert (await client.send("POST", path, envelope("Deployment", b""), headers)).status == 415
