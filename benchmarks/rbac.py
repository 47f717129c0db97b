"""What deciding who may see what costs: 2,000 roles, 5,000 bindings, a user whom 50 of the bindings concern.

Run it with `python -m benchmarks.rbac [--json FILE]`. Beside it stands what the page itself costs in PostgreSQL. It
exits with 1 when a figure misses its bar: 100 µs for a decision that is remembered, 5 ms (the median) for the first one
after a change.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.pages import page_of
from presenter.access.identity import AUTHENTICATED, Identity
from presenter.access.rbac import Kind, RbacRules
from presenter.resource import RBAC_GROUP

ROLES, BINDINGS, BOUND = 2_000, 5_000, 50
WIDE = 2_000
VERBS = ("get", "list", "watch")
RESOURCES = ("pods", "configmaps", "services", "deployments", "panels", "buttons", "datagrids", "routes")
WARM_MICROSECONDS, COLD_MILLISECONDS = 100, 5

Item = tuple[Kind, str, str, bytes]

ALICE = Identity("alice", frozenset({"team-alice", AUTHENTICATED}))
WIDE_BOB = Identity("bob", frozenset({"team-bob", AUTHENTICATED}))


def main() -> int:
    """Measure, print, and write the figures as JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    arguments = parser.parse_args()

    figures = measure()
    for name, value in figures.items():
        print(f"{name.replace('_', ' '):<42}{value:>12,.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    missed = figures["warm_us"] > WARM_MICROSECONDS or figures["cold_after_change_median_ms"] > COLD_MILLISECONDS
    return int(missed)


def measure() -> dict[str, float]:
    """The figures by name; each name ends in its unit."""
    items = [*roles(), *bindings()]
    load = min(seconds(lambda: loaded(items)) for _ in range(5))
    tracemalloc.start()
    rules = loaded(items)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    allowed = rules.grant(ALICE, "list", "apps", "panels", namespaced=True)
    cold = cold_decisions(rules, ALICE)
    for item in wide_bindings():
        rules.put(*item)
    wide = rules.grant(WIDE_BOB, "list", "apps", "panels", namespaced=True)
    wide_cold = cold_decisions(rules, WIDE_BOB)
    return {
        "rbac_objects": len(items),
        "load_ms": load * 1e3,
        "held_mib": held / 2**20,
        "namespaces_granted": len(allowed.namespaces),
        "warm_us": warm_decision(rules, ALICE) * 1e6,
        "cold_after_change_median_ms": statistics.median(cold) * 1e3,
        "cold_after_change_worst_ms": max(cold) * 1e3,
        "wide_namespaces_granted": len(wide.namespaces),
        "wide_warm_us": warm_decision(rules, WIDE_BOB) * 1e6,
        "wide_cold_after_change_median_ms": statistics.median(wide_cold) * 1e3,
        "wide_cold_after_change_worst_ms": max(wide_cold) * 1e3,
        "page_of_50_ms": page_of(allowed) * 1e3,
        "wide_page_of_50_ms": page_of(wide) * 1e3,
    }


def warm_decision(rules: RbacRules, identity: Identity, times: int = 100_000) -> float:
    """Seconds for a decision that is remembered."""

    def decide() -> None:
        for _ in range(times):
            rules.grant(identity, "list", "apps", "panels", namespaced=True)

    return min(seconds(decide) for _ in range(5)) / times


def cold_decisions(rules: RbacRules, identity: Identity, times: int = 200) -> list[float]:
    """Seconds for each first decision after a binding of someone else has changed."""
    taken = []
    for number in range(times):
        rules.put(*binding("RoleBinding", "ns-0", "changing", "ClusterRole", "role-0", "User", f"someone-{number}"))
        taken.append(seconds(lambda: rules.grant(identity, "list", "apps", "panels", namespaced=True)))
    return taken


def seconds(action: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def loaded(items: list[Item]) -> RbacRules:
    """Rules that have taken all the objects."""
    rules = RbacRules()
    for item in items:
        rules.put(*item)
    return rules


def roles() -> Iterator[Item]:
    """Half Roles, half ClusterRoles, four rules in each."""
    for number in range(ROLES):
        kind: Kind = "ClusterRole" if number % 2 else "Role"
        namespace = "" if number % 2 else f"ns-{number}"
        rules = [
            {"verbs": VERBS, "apiGroups": ["", "apps"], "resources": RESOURCES[:2]},
            {"verbs": ["get"], "apiGroups": ["apps"], "resources": RESOURCES, "resourceNames": [f"one-{number}"]},
            {"verbs": ["create"], "apiGroups": ["*"], "resources": ["*"]},
            {"verbs": VERBS, "apiGroups": ["apps"], "resources": RESOURCES[2:]},
        ]
        yield kind, namespace, f"role-{number}", manifest(kind, namespace, f"role-{number}", rules=rules)


def bindings() -> Iterator[Item]:
    """RoleBindings, most to ClusterRoles; those of alice go to her and to her group in turn."""
    every = BINDINGS // BOUND
    for number in range(BINDINGS):
        namespace = f"ns-{number}"
        subject = ("User", f"user-{number % 700}")
        if number % every == 0:
            subject = ("User", "alice") if number % (2 * every) else ("Group", "team-alice")
        role_kind, role = "ClusterRole", f"role-{number % ROLES // 2 * 2 + 1}"
        if number < ROLES and number % 2 == 0:
            role_kind, role = "Role", f"role-{number}"
        yield binding("RoleBinding", namespace, f"binding-{number}", role_kind, role, *subject)


def wide_bindings() -> Iterator[Item]:
    """Bindings that let bob into many of the namespaces."""
    for number in range(WIDE):
        yield binding(
            "RoleBinding", f"ns-{number}", "wide", "ClusterRole", f"role-{number // 2 * 2 + 1}", "User", "bob"
        )


def binding(kind: Kind, namespace: str, name: str, role_kind: str, role: str, subject_kind: str, subject: str) -> Item:
    """A binding of one subject, ready to be put."""
    reference = {"apiGroup": RBAC_GROUP, "kind": role_kind, "name": role}
    subjects = [{"apiGroup": RBAC_GROUP, "kind": subject_kind, "name": subject}]
    return kind, namespace, name, manifest(kind, namespace, name, roleRef=reference, subjects=subjects)


def manifest(kind: str, namespace: str, name: str, **rest: object) -> bytes:
    """The JSON of an RBAC object, with metadata as a cluster has them."""
    metadata = {
        "name": name,
        **({"namespace": namespace} if namespace else {}),
        "uid": f"{kind}-{namespace}-{name}",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/part-of": name},
    }
    return json.dumps({"apiVersion": f"{RBAC_GROUP}/v1", "kind": kind, "metadata": metadata, **rest}).encode()


if __name__ == "__main__":
    sys.exit(main())
