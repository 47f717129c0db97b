"""The patch formats of the Kubernetes API as pure functions: none alters its arguments."""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch

from presenter.apimachinery import errors
from presenter.apimachinery.status import failure
from presenter.sandbox.objects import Manifest

MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"

# Lists of built-in types that are merged by a key, as their Go types say (patchMergeKey). The first key that
# the items of a list bear is meant. Any other list is replaced.
_MERGE_KEYS: dict[str, tuple[str, ...]] = {
    "conditions": ("type",),
    "containers": ("name",),
    "env": ("name",),
    "ephemeralContainers": ("name",),
    "hostAliases": ("ip",),
    "imagePullSecrets": ("name",),
    "initContainers": ("name",),
    "ownerReferences": ("uid",),
    "ports": ("containerPort", "port"),
    "secrets": ("name",),
    "topologySpreadConstraints": ("topologyKey",),
    "volumeDevices": ("devicePath",),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
}
_MERGED_SETS = ("finalizers",)
_DIRECTIVES = ("$patch", "$retainKeys")


def merge(target: Any, patch: Any) -> Any:
    """JSON merge patch, RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def strategic_merge(target: Any, patch: Any) -> Any:
    """Strategic merge patch with $patch, $retainKeys, $deleteFromPrimitiveList and $setElementOrder."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    if patch.get("$patch") == "replace":
        return {key: value for key, value in patch.items() if key != "$patch"}
    if "$retainKeys" in patch:
        result = {key: value for key, value in result.items() if key in patch["$retainKeys"]}
    for key, value in patch.items():
        if key in _DIRECTIVES or key.startswith("$setElementOrder/"):
            continue
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.partition("/")[2]
            result[name] = [item for item in result.get(name, ()) if item not in value]
        elif value is None:
            result.pop(key, None)
        elif isinstance(value, list):
            present = result.get(key)
            result[key] = _merge_list(key, present if isinstance(present, list) else [], value)
        else:
            result[key] = strategic_merge(result.get(key), value)
    return result


def _merge_list(field: str, target: list[Any], patch: list[Any]) -> list[Any]:
    if field in _MERGED_SETS:
        return list(dict.fromkeys([*target, *patch]))
    key = _merge_key(field, [*patch, *target])
    if key is None or {"$patch": "replace"} in patch:
        return [item for item in patch if item != {"$patch": "replace"}]
    merged = {item.get(key): item for item in target}
    for item in patch:
        if item.get("$patch") == "delete":
            merged.pop(item.get(key), None)
        else:
            merged[item.get(key)] = strategic_merge(merged.get(item.get(key)), item)
    return list(merged.values())


def _merge_key(field: str, items: list[Any]) -> str | None:
    if not all(isinstance(item, dict) for item in items):
        return None
    return next((key for key in _MERGE_KEYS.get(field, ()) if any(key in item for item in items)), None)


def json_patch(target: Manifest, operations: list[dict[str, Any]]) -> Manifest:
    """JSON patch, RFC 6902. Raises StatusError 422 when an operation cannot be done or a test fails."""
    try:
        result: Manifest = jsonpatch.apply_patch(target, copy.deepcopy(operations))
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError, AttributeError) as problem:
        message = f"the server rejected our request due to an error in our request: {problem!r}"
        raise errors.StatusError(failure(422, "Invalid", message)) from problem
    return result
