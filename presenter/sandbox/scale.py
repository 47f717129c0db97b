"""The scale subresource: a workload's replicas as an autoscaling/v1 Scale."""

from __future__ import annotations

from presenter.sandbox.objects import Manifest


def of(manifest: Manifest) -> Manifest:
    """The Scale of a workload."""
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


def applied(manifest: Manifest, scale: Manifest) -> Manifest:
    """The workload with the replicas that a Scale wants."""
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    return {**manifest, "spec": {**(manifest.get("spec") or {}), "replicas": replicas}}
