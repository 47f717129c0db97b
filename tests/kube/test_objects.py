"""From bytes to cached objects."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presenter.errors import ClusterError
from presenter.kube.objects import read_object, resource_version_of
from presenter.kube.resource_version import parse_resource_version
from presenter.resource import SANITISED, SECRET_ANNOTATIONS, Object, ResourceType

PANEL = ResourceType("widgets.templates.krateo.io", "v1beta1", "panels", "Panel", True, ("v1beta1",))
APP = ResourceType("composition.krateo.io", "v0-1-0", "fireworksapps", "FireworksApp", True, ("v0-1-0",))
POD = ResourceType("", "v1", "pods", "Pod", True, ("v1",))
SECRET = ResourceType("", "v1", "secrets", "Secret", True, ("v1",))

UID = "3F2504E0-4F89-41D3-9A0C-0305E82C3301"
COMPOSITION = "9f8b4f5c-7f0f-4d0b-8f0a-0123456789AB"


def manifest(**metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "widgets.templates.krateo.io/v1beta1",
        "kind": "Panel",
        "metadata": {"name": "a", "namespace": "demo", "uid": UID, "resourceVersion": "7"} | metadata,
        "spec": {"z": 1, "managedFields": ["of the spec"]},
    }


def read(document: dict[str, Any], resource_type: ResourceType = PANEL) -> Object:
    return read_object(json.dumps(document).encode(), resource_type)


def test_metadata_is_read_and_the_rest_passes() -> None:
    labels = {"team": "a"}
    document = manifest(labels=labels, creationTimestamp="2026-03-01T10:20:30Z")
    found = read(document)
    assert (found.uid, found.namespace, found.name) == (UID, "demo", "a")
    assert (found.version, found.resource_version) == ("v1beta1", 7)
    assert found.created_at == datetime(2026, 3, 1, 10, 20, 30, tzinfo=UTC)
    assert json.loads(found.labels) == labels
    assert json.loads(found.raw) == document


def test_managed_fields_of_the_metadata_go_and_only_those() -> None:
    assert json.loads(read(manifest(managedFields=[{"manager": "kubectl"}])).raw) == manifest()


def test_order_and_spelling_stay() -> None:
    raw = (
        b'{"kind":"Panel","apiVersion":"v","spec":{"b":1.50,"a":"\\u003c"},'
        b'"metadata":{"uid":"u","name":"n","generation":1}}'
    )
    assert read_object(raw, PANEL).raw == raw


@pytest.mark.parametrize(
    ("resource_type", "api_version"), [(PANEL, "widgets.templates.krateo.io/v1beta1"), (POD, "v1")]
)
def test_kind_and_api_version_are_filled_in(resource_type: ResourceType, api_version: str) -> None:
    document = manifest()
    del document["kind"], document["apiVersion"]
    raw = json.loads(read(document, resource_type).raw)
    assert (raw["kind"], raw["apiVersion"]) == (resource_type.kind, api_version)


@pytest.mark.parametrize("metadata", [{}, {"labels": None, "creationTimestamp": None}, {"labels": {}}])
def test_what_is_absent(metadata: dict[str, Any]) -> None:
    document = manifest(**metadata)
    del document["metadata"]["namespace"]
    found = read(document)
    assert found.namespace == ""
    assert found.labels == b"{}"
    assert found.created_at == datetime(1970, 1, 1, tzinfo=UTC)
    assert found.composition_id is None


@pytest.mark.parametrize(
    ("resource_type", "label", "expected"),
    [
        (PANEL, COMPOSITION, COMPOSITION.lower()),
        (PANEL, "not-a-uuid", None),
        (PANEL, COMPOSITION.replace("-", ""), None),
        (APP, COMPOSITION, COMPOSITION.lower()),
        (APP, "not-a-uuid", UID.lower()),
        (APP, None, UID.lower()),
    ],
)
def test_composition_id(resource_type: ResourceType, label: str | None, expected: str | None) -> None:
    labels = {} if label is None else {"krateo.io/composition-id": label}
    assert read(manifest(labels=labels), resource_type).composition_id == expected


def test_a_composition_whose_uid_is_no_uuid_has_no_composition_id() -> None:
    assert read(manifest(uid="x"), APP).composition_id is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("123", 123),
        ("9" * 39, 10**39 - 1),
        ("9" * 40, None),
        ("", None),
        ("1a", None),
        ("-1", None),
        ("١", None),
    ],
)
def test_resource_versions_are_numbers_when_they_are(text: str, expected: int | None) -> None:
    assert parse_resource_version(text) == expected
    assert read(manifest(resourceVersion=text)).resource_version == expected


def test_resource_version_of_a_bookmark() -> None:
    assert resource_version_of(b'{"kind":"Pod","metadata":{"resourceVersion":"12","x":null}}') == "12"
    with pytest.raises(ClusterError, match="resourceVersion"):
        resource_version_of(b'{"kind":"Pod","metadata":{}}')


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{}", b'{"metadata":{}}', b'{"metadata":{"name":"a"}}', b'{"metadata":1}']
)
def test_what_is_no_object_is_an_error(raw: bytes) -> None:
    with pytest.raises(ClusterError, match=re.escape(PANEL.name)):
        read_object(raw, PANEL)


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        (r"\u0000", "\ufffd"),
        (r"a\u0000\u0000b", "a\ufffd\ufffdb"),
        (r"\ud83d", "\ufffd"),
        (r"\uDE00x", "\ufffdx"),
        (r"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
        (r"\ud83d\u0041", "\ufffdA"),
        (r"\ud83d\\ude00", "\ufffd\\ude00"),
        (r"\uD83D\uDE00", "\U0001f600"),
        (r"\\u0000", "\\u0000"),
        (r"\\\u0000", "\\\ufffd"),
        (r"\u003c", "<"),
    ],
)
def test_what_jsonb_refuses_is_replaced(written: str, stored: str) -> None:
    raw = json.dumps(manifest(annotations={"note": "HERE"})).replace("HERE", written).encode()
    assert json.loads(read_object(raw, PANEL).raw)["metadata"]["annotations"]["note"] == stored


_texts = st.text(alphabet='au0\\"\n\0é\ud83d\ude00\udbff😀')


@given(_texts)
def test_any_text_becomes_storable_and_changes_only_where_it_must(text: str) -> None:
    stored = json.loads(read(manifest(annotations={"note": text})).raw)["metadata"]["annotations"]["note"]
    joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert stored == joined.replace("\0", "\ufffd")


_keys = st.text(alphabet='a\\"{é')
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _keys,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(_keys, _json, max_size=4))
def test_the_body_passes_through(spec: dict[str, Any]) -> None:
    document = manifest() | {"spec": spec}
    assert json.loads(read(document).raw) == document


def test_secrets_keep_their_keys_and_lose_their_values() -> None:
    document = manifest(managedFields=[]) | {
        "data": {"password": "c2VjcmV0"},
        "stringData": {"other": "c2VjcmV0"},
        "type": "Opaque",
    }
    found = read(document, SECRET)
    raw = json.loads(found.raw)
    assert raw["data"] == {"password": ""}
    assert raw["stringData"] == {"other": ""}
    assert raw["type"] == "Opaque"
    assert b"c2VjcmV0" not in found.raw
    assert json.loads(read(manifest(annotations=None) | {"data": None}, SECRET).raw)["data"] == {}


def test_annotations_of_secrets_keep_their_values_only_where_these_tell_nothing() -> None:
    readable = (
        "kubectl.kubernetes.io/last-applied-configuration",
        "kapp.k14s.io/original",
        "kopf.zalando.org/last-handled-configuration",
        "banzaicloud.com/last-applied",
        "objectset.rio.cattle.io/applied",
        "whatever.comes.next/password",
        "",
    )
    harmless = {"meta.helm.sh/release-name": "portal", "cert-manager.io/common-name": "portal.example.com"}
    annotations = dict.fromkeys(readable, '{"data":{"password":"c2VjcmV0"}}') | harmless
    document = manifest(annotations=annotations, labels={"kept": "yes"}) | {"data": {"password": "c2VjcmV0"}}
    found = read(document, SECRET)
    assert json.loads(found.raw)["metadata"]["annotations"] == dict.fromkeys(readable, "") | harmless
    assert b"c2VjcmV0" not in found.raw
    assert json.loads(found.labels) == {"kept": "yes"}
    assert json.loads(read_object(json.dumps(document).encode(), SECRET, secret_data=True).raw) == document
    assert json.loads(read(document).raw) == document, "it is no Secret"


def test_that_characters_of_a_secret_were_replaced_is_still_said() -> None:
    raw = json.dumps(manifest(annotations={"note": "a\0b"})).encode()
    assert json.loads(read_object(raw, SECRET).raw)["metadata"]["annotations"] == {
        "note": "",
        SANITISED: "1 characters replaced",
    }


@pytest.mark.parametrize("annotations", [None, {}, {"a": None}, {"a": {"b": "c2VjcmV0"}}, {"a": ["c2VjcmV0"]}])
def test_annotations_of_a_secret_that_are_no_texts(annotations: Any) -> None:
    found = read(manifest(annotations=annotations), SECRET)
    assert json.loads(found.raw)["metadata"]["annotations"] == dict.fromkeys(annotations or {}, "")


def test_the_annotations_that_keep_their_values_are_those_of_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "access.md").read_text()
    listed = page.partition("These annotations keep theirs:")[2].partition("\nRows")[0].split()
    assert {*listed, SANITISED} == SECRET_ANNOTATIONS
