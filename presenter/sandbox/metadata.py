"""The part of an object that the API server itself writes: names, times, generations, managed fields."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from presenter.apimachinery import errors, validation
from presenter.sandbox.objects import Manifest
from presenter.sandbox.registry import Definition

_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"

_SERVERS_OWN = {
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
}
_RULES = {"subdomain": validation.dns_subdomain, "label": validation.dns_label, "segment": validation.path_segment}


def timestamp(moment: datetime) -> str:
    """A metav1.Time: RFC 3339, UTC, in seconds."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def name_suffix(number: int) -> str:
    """Five letters to end a generateName with, made from a random number."""
    letters = []
    for _ in range(5):
        number, index = divmod(number, len(_SUFFIX_LETTERS))
        letters.append(_SUFFIX_LETTERS[index])
    return "".join(letters)


def check_name(definition: Definition, name: str) -> None:
    """Check that objects of this type can have a name. Raises StatusError 422."""
    rule = _RULES[definition.name_rule]
    if name:
        problems = [validation.invalid("metadata.name", name, problem) for problem in rule(name)]
    else:
        problems = [validation.required("metadata.name", "name or generateName is required")]
    if problems:
        raise errors.invalid(definition.group, definition.kind, name, *problems)


def revised(definition: Definition, before: Manifest, after: Manifest, part: str) -> Manifest:
    """What a write makes of an object: what was sent, with what clients cannot change as it was.

    `part` is that of `Write`. Raises StatusError 409 when another resourceVersion or uid is demanded.
    """
    old, new = before["metadata"], after.get("metadata") or {}
    if new.get("resourceVersion") not in (None, "", old["resourceVersion"]):
        raise errors.conflict(definition.group, definition.plural, old["name"])
    if new.get("uid") not in (None, "", old["uid"]):
        why = f"Precondition failed: UID in precondition: {new['uid']}, UID in object meta: {old['uid']}"
        raise errors.conflict(definition.group, definition.plural, old["name"], why)
    if part == "status":
        return _with_status_of(before, after)
    own = {key: value for key, value in new.items() if key not in _SERVERS_OWN}
    own |= {key: value for key, value in old.items() if key in _SERVERS_OWN}
    changed = {**after, "apiVersion": before["apiVersion"], "kind": before["kind"], "metadata": own}
    return _with_status_of(changed, before) if part == "main" else changed


def _with_status_of(manifest: Manifest, other: Manifest) -> Manifest:
    rest = {key: value for key, value in manifest.items() if key != "status"}
    return {**rest, "status": other["status"]} if "status" in other else rest


def next_generation(definition: Definition, before: Manifest | None, after: Manifest) -> int | None:
    """What metadata.generation becomes: it counts changes of what is wanted, not of metadata or status."""
    if not definition.custom and ("spec" not in after or definition.plural in ("namespaces", "services")):
        return None
    if before is None:
        return 1
    generation: int = before["metadata"].get("generation", 1)
    return generation if _wanted(before) == _wanted(after) else generation + 1


def _wanted(manifest: Manifest) -> Manifest:
    return {k: v for k, v in manifest.items() if k not in ("apiVersion", "kind", "metadata", "status")}


def managed_fields(
    manifest: Manifest, manager: str, operation: str, subresource: str, moment: str
) -> list[dict[str, Any]]:
    """metadata.managedFields after a write: the manager's own entry anew, those of others as they were.

    The field set names members two levels deep and does not track who owns what: consumers only have to strip
    it.
    """
    own: dict[str, Any] = {
        "apiVersion": manifest.get("apiVersion", ""),
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            f"f:{key}": _members(value) for key, value in manifest.items() if key not in ("apiVersion", "kind")
        },
        "manager": manager,
        "operation": operation,
        "time": moment,
    }
    if subresource:
        own["subresource"] = subresource
    identity = (manager, operation, subresource)
    others = [
        entry
        for entry in manifest["metadata"].get("managedFields", ())
        if (entry["manager"], entry["operation"], entry.get("subresource", "")) != identity
    ]
    return [*others, own]


def _members(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {}
    return {f"f:{key}": {} for key in value if key not in _SERVERS_OWN}
