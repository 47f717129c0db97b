"""The state of the cluster: every write passes here and gets its resourceVersion."""

from __future__ import annotations

import random
import re
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from presenter.apimachinery import errors, list_options
from presenter.apimachinery.list_options import ListOptions
from presenter.sandbox import controllers, metadata, patches
from presenter.sandbox.builtin import BUILT_IN
from presenter.sandbox.objects import Entry, Manifest, entry_of, key_of, restamped
from presenter.sandbox.registry import Definition, Registry
from presenter.sandbox.store import Cut, Event, EventType, Store

_SYSTEM_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_SNAPSHOTS = 100


@dataclass(frozen=True)
class Write:
    """How a write is meant.

    `part` is `main` for a write to a type with a status subresource, which leaves the status alone, `status`
    for a write to that subresource, and empty for the whole object. `manager` and `operation` go to
    managedFields.
    """

    part: str = ""
    manager: str = "sandbox"
    operation: str = "Update"
    dry_run: bool = False


@dataclass(frozen=True)
class Backup:
    """All objects at one moment, to go back to."""

    version: int
    entries: dict[str, list[Entry]]


_WHOLE = Write()


class Cluster:
    """The objects of a cluster and their history.

    `seed` makes uids repeatable, `history` is the number of events kept per resource type, `clock` gives the
    time of creations. Methods take and give manifests; a type is called `panels.widgets.templates.krateo.io`
    or `pods`. They are synchronous and belong to the thread of the event loop that serves, if one does. All
    raise `StatusError`.
    """

    def __init__(
        self,
        seed: int | None = None,
        history: int = 10_000,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.registry = Registry(BUILT_IN)
        self.snapshots: OrderedDict[tuple[str, int], list[Entry]] = OrderedDict()
        self._random = random.Random(seed)
        self._history = history
        self._clock = clock
        self._version = 0
        self._version_prefix = ""
        self._stores = {definition.name: Store(history, floor=0) for definition in BUILT_IN}
        for name in _SYSTEM_NAMESPACES:
            self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    # Reading

    @property
    def resource_version(self) -> int:
        """The resourceVersion of the last change anywhere."""
        return self._version

    @property
    def uid(self) -> str:
        """The uid of the namespace kube-system, by which clusters are told apart."""
        return self._stores["namespaces"].entries[key_of("", "kube-system")].uid

    def get(self, resource: str, name: str, namespace: str = "") -> Manifest:
        """One object, in the preferred version of its type."""
        definition = self.registry.named(resource)
        return self._manifest(definition, self.entry(definition, name, namespace))

    def objects(self, resource: str) -> list[Manifest]:
        """All objects of a type, in the order of a list."""
        definition = self.registry.named(resource)
        return [self._manifest(definition, entry) for entry in self.store(definition).snapshot()]

    def entry(self, definition: Definition, name: str, namespace: str) -> Entry:
        """One object as it is stored."""
        if entry := self.store(definition).entries.get(key_of(namespace, name)):
            return entry
        raise definition.not_found(name)

    def store(self, definition: Definition) -> Store:
        """Where the objects of a type are."""
        return self._stores[definition.name]

    # Writing

    def apply(self, manifest: Manifest) -> Manifest:
        """Create an object or replace it, whatever its resourceVersion."""
        definition = self.registry.of(manifest)
        meta = {k: v for k, v in manifest.get("metadata", {}).items() if k not in ("resourceVersion", "uid")}
        manifest = {**manifest, "metadata": meta}
        key = key_of(meta.get("namespace") or self._default_namespace(definition), meta.get("name", ""))
        if key in self.store(definition).entries:
            return self.replace(manifest)
        return self.create(manifest)

    def create(self, manifest: Manifest, write: Write = _WHOLE) -> Manifest:
        """Create an object. A creationTimestamp in the manifest is kept."""
        definition = self.registry.of(manifest)
        meta = dict(manifest.get("metadata") or {})
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"] + metadata.name_suffix(self._random.getrandbits(32))
        metadata.check_name(definition, meta.get("name", ""))
        self._place(definition, meta)
        if key_of(meta.get("namespace", ""), meta["name"]) in self.store(definition).entries:
            raise errors.already_exists(definition.group, definition.plural, meta["name"])
        meta["uid"] = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        meta["creationTimestamp"] = meta.get("creationTimestamp") or self._now()
        for never in ("deletionTimestamp", "managedFields", "resourceVersion", "selfLink"):
            meta.pop(never, None)
        manifest = controllers.complete(definition, {**manifest, "metadata": meta}, self._now())
        return self._commit("ADDED", definition, manifest, None, None, write)

    def replace(self, manifest: Manifest, write: Write = _WHOLE) -> Manifest:
        """Replace an object.

        Raises 409 when the manifest bears a resourceVersion that is not the present one.
        """
        definition = self.registry.of(manifest)
        meta = dict(manifest.get("metadata") or {})
        namespace = meta.get("namespace") or self._default_namespace(definition)
        return self.change(definition.name, meta.get("name", ""), namespace, lambda _: manifest, write)

    def merge_patch(self, resource: str, name: str, namespace: str, patch: Manifest) -> Manifest:
        """Change an object by a JSON merge patch (RFC 7386)."""
        return self.change(resource, name, namespace, lambda before: patches.merge(before, patch))

    def change(
        self,
        resource: str,
        name: str,
        namespace: str,
        change: Callable[[Manifest], Manifest],
        write: Write = _WHOLE,
    ) -> Manifest:
        """Store what `change` makes of an object; it must not alter what it is given."""
        definition = self.registry.named(resource)
        previous = self.entry(definition, name, namespace)
        before = self._manifest(definition, previous)
        after = metadata.revised(definition, before, change(before), write.part)
        if after == before:
            return before
        if after["metadata"].get("deletionTimestamp") and not after["metadata"].get("finalizers"):
            return self._remove(definition, after, previous, write)
        after = controllers.complete(definition, after, self._now())
        return self._commit("MODIFIED", definition, after, before, previous, write)

    def delete(self, resource: str, name: str, namespace: str = "", write: Write = _WHOLE) -> Manifest:
        """Delete an object, or mark it when it has finalizers. Gives its last state."""
        definition = self.registry.named(resource)
        previous = self.entry(definition, name, namespace)
        before = self._manifest(definition, previous)
        meta = before["metadata"]
        if not meta.get("finalizers"):
            return self._remove(definition, before, previous, write)
        if meta.get("deletionTimestamp"):
            return before
        marks = {"deletionTimestamp": self._now(), "deletionGracePeriodSeconds": 0}
        after = {**before, "metadata": {**meta, **marks}}
        return self._commit("MODIFIED", definition, after, before, previous, write)

    def plant(self, resource: str, name: str, namespace: str, members: bytes, event: EventType | None = None) -> None:
        """Let something happen to an object that is, from now on, what these bytes say, however wrong.

        `members` is its JSON, metadata first, without apiVersion and kind. It gets no uid and no resourceVersion but
        those in it: the version of this event is `resource_version + 1`. `event` is what happens, by default that it is
        created or modified. What was planted can be listed, watched and planted anew, and nothing else.
        """
        definition = self.registry.named(resource)
        store = self.store(definition)
        key = key_of(namespace, name)
        previous = store.entries.get(key)
        self._version += 1
        entry = Entry(key, namespace, name, "", self._version, {}, {}, members.lstrip()[1:])
        store.record(Event(event or ("MODIFIED" if previous else "ADDED"), self._version, entry, previous))

    # History

    def compact(self) -> None:
        """Forget the past: watches from before now, and continue tokens, get 410."""
        self.snapshots.clear()
        for store in self._stores.values():
            store.compact(self._version)

    def remember(self, definition: Definition, version: int, entries: list[Entry]) -> None:
        """Keep a list as it is at a version, for the pages that follow its first."""
        self.snapshots[definition.name, version] = entries
        if len(self.snapshots) > _SNAPSHOTS:
            self.snapshots.popitem(last=False)

    def backup(self) -> Backup:
        """What `restore` goes back to. Cheap: states of objects are immutable."""
        return Backup(self._version, {name: store.snapshot() for name, store in self._stores.items()})

    def restore(self, backup: Backup) -> None:
        """Go back to a backup, as a restore of etcd does: resourceVersions too, and running watches break.

        The resource types must be those of the backup.
        """
        self._version = backup.version
        for name, entries in backup.entries.items():
            self._stores[name].tell(Cut.ABORT)
            self._stores[name].load(entries, backup.version)
        self.snapshots.clear()

    def format_version(self, version: int) -> str:
        """A resourceVersion as clients see it."""
        return f"{self._version_prefix}{version}"

    def list_options(self, query: Mapping[str, str], *, streaming_lists: bool = True) -> ListOptions:
        """The options of a list or watch. Raises StatusError 400 or 422."""
        version = query.get("resourceVersion", "").removeprefix(self._version_prefix)
        return list_options.parse({**query, "resourceVersion": version}, streaming_lists=streaming_lists)

    def version_of(self, options: ListOptions) -> int:
        """The version asked for, or 0; those of this cluster may be beyond 64 bits. Raises StatusError 400."""
        text = options.resource_version
        own = re.fullmatch("[0-9]{1,40}", text) and not options.continue_ and int(text) <= self._version
        return int(text) if own else options.version()

    def use_version_prefix(self, prefix: str) -> None:
        """Make resourceVersions non-numeric: put text before each, those of existing objects included."""
        self._version_prefix = prefix
        for definition in self.registry:
            store = self.store(definition)
            entries = [restamped(entry, self.format_version(entry.version)) for entry in store.snapshot()]
            store.load(entries, self._version)
        self.snapshots.clear()

    # Types

    def add_type(self, definition: Definition) -> None:
        """Serve a type of a CRD; watches of a type that has changed end, as in Kubernetes."""
        if definition.name not in self._stores:
            self._stores[definition.name] = Store(self._history, floor=self._version)
        elif definition in self.registry:
            return
        else:
            self._stores[definition.name].tell(Cut.END)
        self.registry.add(definition)

    def remove_type(self, name: str) -> None:
        """Delete the objects of a type, each with its event, and serve it no longer."""
        definition = self.registry.named(name)
        store = self.store(definition)
        for entry in store.snapshot():
            self._remove(definition, self._manifest(definition, entry), entry, _WHOLE)
        store.tell(Cut.END)
        self.registry.remove(name)
        del self._stores[name]

    def now(self) -> datetime:
        """The time by the cluster's clock."""
        return self._clock()

    # Inner parts

    def _now(self) -> str:
        return metadata.timestamp(self._clock())

    def _manifest(self, definition: Definition, entry: Entry) -> Manifest:
        return entry.manifest(definition.api_version(definition.preferred.name), definition.kind)

    def _default_namespace(self, definition: Definition) -> str:
        return "default" if definition.namespaced else ""

    def _place(self, definition: Definition, meta: Manifest) -> None:
        if not definition.namespaced:
            meta.pop("namespace", None)
            return
        namespace = meta["namespace"] = meta.get("namespace") or "default"
        if key_of("", namespace) not in self._stores["namespaces"].entries:
            raise errors.not_found("", "namespaces", namespace)

    def _commit(
        self,
        event: EventType,
        definition: Definition,
        manifest: Manifest,
        before: Manifest | None,
        previous: Entry | None,
        write: Write,
    ) -> Manifest:
        meta = manifest["metadata"] = dict(manifest["metadata"])
        generation = metadata.next_generation(definition, before, manifest)
        if generation is not None:
            meta["generation"] = generation
        subresource = "status" if write.part == "status" else ""
        meta["managedFields"] = metadata.managed_fields(
            manifest, write.manager, write.operation, subresource, self._now()
        )
        if write.dry_run:
            return manifest
        self._record(event, definition, manifest, previous)
        controllers.settle(self, definition, manifest)
        return manifest

    def _remove(self, definition: Definition, manifest: Manifest, previous: Entry, write: Write) -> Manifest:
        if not write.dry_run:
            controllers.clear(self, definition, manifest)
            self._record("DELETED", definition, manifest, previous)
            controllers.settle(self, definition, manifest)
        return manifest

    def _record(self, event: EventType, definition: Definition, manifest: Manifest, previous: Entry | None) -> None:
        self._version += 1
        manifest["metadata"]["resourceVersion"] = self.format_version(self._version)
        entry = entry_of(definition, manifest, self._version)
        self.store(definition).record(Event(event, self._version, entry, previous))
