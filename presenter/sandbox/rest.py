"""What requests to resources do: one method for each verb but watch."""

from __future__ import annotations

from collections.abc import Callable

from presenter.apimachinery import errors, validation
from presenter.apimachinery.list_options import ListOptions
from presenter.apimachinery.status import ListMeta, StatusDetails, success
from presenter.sandbox import listing, negotiation, patches
from presenter.sandbox.api_request import Answer, ApiRequest, Incoming
from presenter.sandbox.cluster import Cluster, Write
from presenter.sandbox.objects import Entry, Manifest, encode, entry_of
from presenter.sandbox.registry import Definition, Version


class Rest:
    """The verbs on one resource type, for one request."""

    def __init__(self, cluster: Cluster, api_request: ApiRequest, incoming: Incoming) -> None:
        self._cluster = cluster
        self._request = api_request
        self._incoming = incoming
        self._definition, self._version = resolve(cluster, api_request)
        self._namespace = api_request.namespace if self._definition.namespaced else ""
        include = api_request.query.get("includeObject", "")
        many = api_request.verb in ("list", "deletecollection")
        self._form, self._media_type = negotiation.form_for(
            incoming.accept, self._definition, self._version, include, many=many
        )

    def answer(self) -> Answer:
        """Do what is asked. Raises StatusError."""
        if self._request.subresource == "scale":
            return self._scale()
        verbs: dict[str, Callable[[], Answer]] = {
            "get": self._get,
            "list": self._list,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_collection,
        }
        verb = self._request.verb
        named = bool(self._request.name)
        if verb not in verbs or (verb in ("update", "patch") and not named) or (verb == "create" and named):
            raise errors.method_not_allowed()
        if self._request.subresource and verb not in ("get", "update", "patch"):
            raise errors.method_not_allowed()
        return verbs[verb]()

    # Reading

    def _get(self) -> Answer:
        return self._shown_entry(self._cluster.entry(self._definition, self._request.name, self._namespace))

    def _list(self) -> Answer:
        page = listing.page(self._cluster, self._definition, self._namespace, self._options())
        metadata = ListMeta(self._cluster.format_version(page.version), page.token, page.remaining)
        return negotiation.answer(self._form.listed(page.entries, metadata), self._media_type)

    # Writing

    def _create(self) -> Answer:
        return self._created(self._received(), self._write())

    def _update(self) -> Answer:
        manifest = self._received()
        name = manifest["metadata"].get("name")
        if name != self._request.name:
            message = f"the name of the object ({name}) does not match the name on the URL ({self._request.name})"
            raise errors.bad_request(message)
        return self._shown(self._change(lambda _: manifest))

    def _patch(self) -> Answer:
        custom = self._definition.custom
        media, patch = negotiation.read_patch(self._incoming.body, self._incoming.content_type, custom)
        match media:
            case patches.APPLY:
                return self._apply(patch)
            case patches.JSON:
                return self._shown(self._change(lambda before: patches.json_patch(before, patch)))
            case patches.STRATEGIC:
                return self._shown(self._change(lambda before: patches.strategic_merge(before, patch)))
            case _:
                return self._shown(self._change(lambda before: patches.merge(before, patch)))

    def _apply(self, patch: Manifest) -> Answer:
        if not self._request.query.get("fieldManager"):
            why = "is required for apply patch"
            raise errors.invalid("meta.k8s.io", "PatchOptions", "", validation.required("fieldManager", why))
        merge = patches.merge if self._definition.custom else patches.strategic_merge
        write = self._write(operation="Apply")
        try:
            return self._shown(self._change(lambda before: merge(before, patch), write))
        except errors.StatusError as problem:
            if problem.status != 404 or self._request.subresource:
                raise
        named = {**patch, "metadata": {**(patch.get("metadata") or {}), "name": self._request.name}}
        return self._created(self._placed(named), write)

    def _delete(self) -> Answer:
        self._check_preconditions()
        name = self._request.name
        deleted = self._cluster.delete(self._definition.name, name, self._namespace, self._write())
        if deleted["metadata"].get("deletionTimestamp"):
            return self._shown(deleted)
        details = StatusDetails(name, self._definition.group, self._definition.plural, deleted["metadata"]["uid"])
        return Answer(success(details).encode())

    def _delete_collection(self) -> Answer:
        page = listing.page(self._cluster, self._definition, self._namespace, self._options())
        for entry in page.entries:
            self._cluster.delete(self._definition.name, entry.name, entry.namespace, self._write())
        metadata = ListMeta(self._cluster.format_version(self._cluster.resource_version))
        return negotiation.answer(self._form.listed(page.entries, metadata), self._media_type)

    def _scale(self) -> Answer:
        entry = self._cluster.entry(self._definition, self._request.name, self._namespace)
        before = entry.manifest(self._definition.api_version(self._version.name), self._definition.kind)
        shown = _scale_of(before)
        match self._request.verb:
            case "get":
                return Answer(encode(shown))
            case "update":
                wanted = negotiation.read_object(self._incoming.body, self._incoming.content_type)
            case "patch":
                media, patch = negotiation.read_patch(self._incoming.body, self._incoming.content_type, custom=True)
                wanted = patches.json_patch(shown, patch) if media == patches.JSON else patches.merge(shown, patch)
            case _:
                raise errors.method_not_allowed()
        replicas = (wanted.get("spec") or {}).get("replicas", 0)
        scaled = {"spec": {**(before.get("spec") or {}), "replicas": replicas}}
        after = self._change(lambda before: {**before, **scaled}, self._write(part="main"))
        return Answer(encode(_scale_of(after)))

    # Inner parts

    def _options(self) -> ListOptions:
        return self._cluster.list_options(self._request.query)

    def _write(self, part: str | None = None, operation: str = "Update") -> Write:
        query = self._request.query
        if part is None:
            part = self._request.subresource or ("main" if self._version.status else "")
        manager = query.get("fieldManager") or self._incoming.user_agent.split("/")[0] or "unknown"
        return Write(part, manager, operation, dry_run=query.get("dryRun") == "All")

    def _change(self, change: Callable[[Manifest], Manifest], write: Write | None = None) -> Manifest:
        name, write = self._request.name, write or self._write()
        return self._cluster.change(self._definition.name, name, self._namespace, change, write)

    def _received(self) -> Manifest:
        return self._placed(negotiation.read_object(self._incoming.body, self._incoming.content_type))

    def _placed(self, manifest: Manifest) -> Manifest:
        """The object sent, with the namespace of the path; refused when it is not of the type of the path."""
        api_version, kind = self._definition.api_version(self._version.name), self._definition.kind
        sent = (manifest.get("apiVersion") or api_version, manifest.get("kind") or kind)
        if sent != (api_version, kind):
            message = f"the API version in the data ({sent[0]}, {sent[1]}) does not match the expected API version "
            raise errors.bad_request(message + f"({api_version}, {kind})")
        metadata = dict(manifest.get("metadata") or {})
        if self._definition.namespaced:
            if metadata.get("namespace") not in (None, "", self._namespace):
                message = "the namespace of the provided object does not match the namespace sent on the request"
                raise errors.bad_request(message)
            metadata["namespace"] = self._namespace
        return {**manifest, "apiVersion": api_version, "kind": kind, "metadata": metadata}

    def _created(self, manifest: Manifest, write: Write) -> Answer:
        manifest["metadata"].pop("creationTimestamp", None)
        if self._version.status:
            manifest.pop("status", None)
        return self._shown(self._cluster.create(manifest, write), 201)

    def _shown(self, manifest: Manifest, status: int = 200) -> Answer:
        # A dry run has stored nothing, so the object is encoded from what it would have become.
        return self._shown_entry(entry_of(self._definition, manifest, 0), status)

    def _shown_entry(self, entry: Entry, status: int = 200) -> Answer:
        return negotiation.answer(self._form.single(entry), self._media_type, status)

    def _check_preconditions(self) -> None:
        if not self._incoming.body:
            return
        options = negotiation.read_object(self._incoming.body, self._incoming.content_type)
        entry = self._cluster.entry(self._definition, self._request.name, self._namespace)
        actual = {"uid": entry.uid, "resourceVersion": self._cluster.format_version(entry.version)}
        for field, label in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
            wanted, there = (options.get("preconditions") or {}).get(field), actual[field]
            if wanted not in (None, there):
                why = f"Precondition failed: {label} in precondition: {wanted}, {label} in object meta: {there}"
                raise errors.conflict(self._definition.group, self._definition.plural, entry.name, why)


def resolve(cluster: Cluster, api_request: ApiRequest) -> tuple[Definition, Version]:
    """The type and version that a request's path leads to. Raises StatusError 404 or 405, or PageNotFound."""
    definition = cluster.registry.at(api_request.group, api_request.version, api_request.resource)
    version = definition.version(api_request.version)
    if version is None or api_request.subresource not in ("", *_subresources(version)):
        raise definition.not_found(api_request.name) if definition.custom else errors.unknown_path()
    if api_request.namespace and not definition.namespaced and definition.name != "namespaces":
        raise definition.unknown_path()
    if definition.namespaced and not api_request.namespace and api_request.verb not in ("list", "watch"):
        raise definition.unknown_path() if api_request.name or definition.custom else errors.method_not_allowed()
    return definition, version


def _subresources(version: Version) -> list[str]:
    return [name for name in ("status", "scale") if getattr(version, name)]


def _scale_of(manifest: Manifest) -> Manifest:
    """The scale subresource of a workload, an autoscaling/v1 Scale."""
    metadata, spec = manifest["metadata"], manifest.get("spec") or {}
    labels = (spec.get("selector") or {}).get("matchLabels") or {}
    shown = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in shown},
        "spec": {"replicas": spec.get("replicas", 1)},
        "status": {
            "replicas": (manifest.get("status") or {}).get("replicas", 0),
            "selector": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        },
    }
