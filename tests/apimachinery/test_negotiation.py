"""Content negotiation, as the real server does it."""

from __future__ import annotations

import pytest

from presenter.apimachinery import negotiation
from presenter.apimachinery.errors import StatusError
from presenter.apimachinery.negotiation import JSON, YAML, Conversion, MediaType, negotiate

TABLE = f"{JSON};as=Table;v=v1;g=meta.k8s.io"
KUBECTL = f"{TABLE},{JSON};as=Table;v=v1beta1;g=meta.k8s.io,{JSON}"


@pytest.mark.parametrize(
    ("accept", "name", "kind", "version"),
    [
        ("", JSON, "", ""),
        ("*/*", JSON, "", ""),
        ("application/*", JSON, "", ""),
        ("*", JSON, "", ""),
        (YAML, YAML, "", ""),
        (f"{YAML};q=0.5,{JSON}", JSON, "", ""),
        (f"*/*;q=1,{YAML};q=0.1", YAML, "", ""),
        ("text/html,*/*;q=0.1", JSON, "", ""),
        (f"{JSON};charset=utf-8", JSON, "", ""),
        (f"{JSON};stream=watch", JSON, "", ""),
        (f"application/vnd.kubernetes.protobuf,{JSON}", JSON, "", ""),
        (KUBECTL, JSON, "Table", "v1"),
        (f"{JSON};as=Table;v=v1beta1;g=meta.k8s.io", JSON, "Table", "v1beta1"),
        ("*/*;as=Table;v=v1;g=meta.k8s.io", JSON, "Table", "v1"),
        (f"{JSON};as=Table;v=v9;g=meta.k8s.io,{JSON}", JSON, "", ""),
        (f"{JSON}; as=PartialObjectMetadataList; g=meta.k8s.io; v=v1", JSON, "PartialObjectMetadataList", "v1"),
    ],
)
def test_what_is_agreed_on(accept: str, name: str, kind: str, version: str) -> None:
    conversion = Conversion(kind, "meta.k8s.io", version) if kind else negotiation.UNCONVERTED
    assert negotiate(accept, (JSON, YAML)) == MediaType(name, conversion)


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "text/*",
        "application",
        f"{JSON};as=Table;v=v1",
        f"{JSON};as=Foo;v=v1;g=meta.k8s.io",
        f"{JSON};v=v1;g=meta.k8s.io",
        f"{JSON};stream=other",
        f"{JSON};sv=v2",
    ],
)
def test_what_there_is_not(accept: str) -> None:
    with pytest.raises(StatusError) as refused:
        negotiate(accept, (JSON, YAML))
    assert (refused.value.status, refused.value.reason) == (406, "NotAcceptable")
    assert refused.value.message == "only the following media types are accepted: application/json, application/yaml"


def test_lists_and_single_objects() -> None:
    for kind, many in (("PartialObjectMetadata", True), ("PartialObjectMetadataList", False)):
        accept = f"{JSON};as={kind};v=v1;g=meta.k8s.io"
        assert negotiate(accept, (JSON,), many=not many).conversion.kind == kind
        with pytest.raises(StatusError, match=f"^you requested {kind}, but the requested object is ") as refused:
            negotiate(accept, (JSON,), many=many)
        assert refused.value.status == 406


def test_discovery() -> None:
    aggregated = f"{JSON};g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    found = negotiation.find(f"{JSON},{aggregated}", (JSON,), negotiation.OF_DISCOVERY)
    assert str(found) == aggregated, "wherever it stands"
    assert negotiation.find(JSON, (JSON,), negotiation.OF_DISCOVERY) is None
    assert negotiation.find("", (JSON,), negotiation.OF_DISCOVERY) is None
