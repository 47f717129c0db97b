"""The resource types that every cluster has, as far as the sandbox knows them."""

from __future__ import annotations

from presenter.sandbox.registry import Column, Definition, Version

_RBAC = "rbac.authorization.k8s.io"


def _columns(*columns: tuple[str, str]) -> tuple[Column, ...]:
    return tuple(Column(name, "string", path) for name, path in columns)


_ROLE_REF = _columns(("Role", ".roleRef.name"))
_READY = Column("Ready", "integer", ".status.readyReplicas")

BUILT_IN = (
    Definition(
        group="",
        plural="namespaces",
        singular="namespace",
        kind="Namespace",
        namespaced=False,
        versions=(Version("v1", _columns(("Status", ".status.phase")), status=True),),
        short_names=("ns",),
        fields=("status.phase",),
        name_rule="label",
    ),
    Definition(
        group="",
        plural="secrets",
        singular="secret",
        kind="Secret",
        namespaced=True,
        versions=(Version("v1", _columns(("Type", ".type"))),),
        fields=("type",),
    ),
    Definition(
        group="",
        plural="configmaps",
        singular="configmap",
        kind="ConfigMap",
        namespaced=True,
        versions=(Version("v1"),),
        short_names=("cm",),
    ),
    Definition(
        group="",
        plural="pods",
        singular="pod",
        kind="Pod",
        namespaced=True,
        versions=(Version("v1", _columns(("Status", ".status.phase"), ("Node", ".spec.nodeName")), status=True),),
        short_names=("po",),
        categories=("all",),
        fields=("status.phase", "spec.nodeName", "spec.serviceAccountName", "status.podIP"),
    ),
    Definition(
        group="",
        plural="serviceaccounts",
        singular="serviceaccount",
        kind="ServiceAccount",
        namespaced=True,
        versions=(Version("v1"),),
        short_names=("sa",),
    ),
    Definition(
        group="",
        plural="services",
        singular="service",
        kind="Service",
        namespaced=True,
        versions=(Version("v1", _columns(("Type", ".spec.type"), ("Cluster-IP", ".spec.clusterIP")), status=True),),
        short_names=("svc",),
        categories=("all",),
        name_rule="label",
    ),
    Definition(
        group="",
        plural="events",
        singular="event",
        kind="Event",
        namespaced=True,
        versions=(Version("v1", _columns(("Type", ".type"), ("Reason", ".reason"), ("Message", ".message"))),),
        short_names=("ev",),
        fields=(
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "reason",
            "type",
        ),
    ),
    Definition(
        group="apps",
        plural="deployments",
        singular="deployment",
        kind="Deployment",
        namespaced=True,
        versions=(Version("v1", (_READY,), status=True, scale=True),),
        short_names=("deploy",),
        categories=("all",),
    ),
    Definition(
        group="apiextensions.k8s.io",
        plural="customresourcedefinitions",
        singular="customresourcedefinition",
        kind="CustomResourceDefinition",
        namespaced=False,
        versions=(Version("v1", _columns(("Created At", ".metadata.creationTimestamp")), status=True),),
        short_names=("crd", "crds"),
        categories=("api-extensions",),
    ),
    Definition(
        group=_RBAC,
        plural="clusterroles",
        singular="clusterrole",
        kind="ClusterRole",
        namespaced=False,
        versions=(Version("v1"),),
        name_rule="segment",
    ),
    Definition(
        group=_RBAC,
        plural="clusterrolebindings",
        singular="clusterrolebinding",
        kind="ClusterRoleBinding",
        namespaced=False,
        versions=(Version("v1", _ROLE_REF),),
        name_rule="segment",
    ),
    Definition(
        group=_RBAC,
        plural="roles",
        singular="role",
        kind="Role",
        namespaced=True,
        versions=(Version("v1"),),
        name_rule="segment",
    ),
    Definition(
        group=_RBAC,
        plural="rolebindings",
        singular="rolebinding",
        kind="RoleBinding",
        namespaced=True,
        versions=(Version("v1", _ROLE_REF),),
        name_rule="segment",
    ),
)
