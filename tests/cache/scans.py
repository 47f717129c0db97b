"""The statement of every kind of scan, as a file to read.

.venv/bin/python -m tests.cache.scans     writes the files anew
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from presenter.cache.plan import Record, Scan, ScanKind, Step, offset, plan, total
from presenter.cache.query import Filters, Query, Sort
from presenter.cache.scope import ScanRange
from presenter.cache.sql import statement

GOLDEN = Path(__file__).parent / "golden"
NAMESPACES = tuple(f"ns-{number:02}" for number in range(70))
TODAY = datetime(2026, 1, 1, tzinfo=UTC)
LABELS = Filters(labels=(("app", "a"), ("tier", "b")))

ALL_OF_ONE = Query((ScanRange("test", 1),), Sort.CREATED_AT, True, 50, raw=True)
ONE_NAMESPACE = replace(ALL_OF_ONE, ranges=(ScanRange("test", 1, ("ns-01",)),))
FEW_TYPES = replace(ALL_OF_ONE, ranges=(ScanRange("test", 1), ScanRange("test", 2)))
MIXED = replace(ALL_OF_ONE, ranges=(ScanRange("test", 1), ScanRange("test", 2, ("ns-01", "ns-02"))))
MANY_OF_FEW_TYPES = replace(ALL_OF_ONE, ranges=tuple(ScanRange("test", type, NAMESPACES) for type in (1, 2)))
FEW_OF_MANY_TYPES = replace(ALL_OF_ONE, ranges=tuple(ScanRange("test", n, NAMESPACES[:2]) for n in range(40)))
CLUSTERS = replace(ALL_OF_ONE, ranges=(ScanRange("test", 1), ScanRange("edge", 2)))
RESUMED = (TODAY, "uid", 1)


def nothing_found(step: Step) -> list[Record]:
    """What makes the plan go on to its next step."""
    if step.scan.kind.startswith("sample"):
        return [{"shares": [0.0] * max(2, step.scan.labels + step.scan.trigrams)}]
    return [{"found": False, "last": True}]


def last_found(query: Query) -> list[Record]:
    """A probe that stopped: where the end of the page lies."""
    position = ("x",) * len(query.sort.keys) if query.after is None else query.after
    return [{"found": True, "last": True, **{f"k{number}": value for number, value in enumerate(position)}}]


def scan_of(query: Query, kind: ScanKind, *, end: bool = False) -> Scan:
    """The first scan of a kind that is made when nothing is found. With `end` the probe finds one."""
    steps = plan(query)
    step = next(steps)
    while step.scan.kind != kind:
        step = steps.send(last_found(query) if end and step.scan.kind == "probe" else nothing_found(step))
    return step.scan


def numbering(steps: Generator[Step, Any, object], kind: ScanKind) -> Scan:
    """The first scan of a kind in the steps to how many there are, or to where so many of them end."""
    somewhere = {f"k{number}": value for number, value in enumerate(RESUMED)}
    step = next(steps)
    while step.scan.kind != kind:
        step = steps.send([{**somewhere, "count": 1, "more": True}])
    return step.scan


def scans() -> Iterator[tuple[str, Scan]]:
    """Every kind, in each of its forms."""
    named = replace(FEW_TYPES, filters=Filters(name="a"))
    yield "walk-of-one", scan_of(ALL_OF_ONE, "walk of one")
    yield "walk-of-one-items", scan_of(replace(ALL_OF_ONE, items=True), "walk of one")
    yield "walk-of-one-backward", scan_of(replace(ONE_NAMESPACE, after=RESUMED, backward=True), "walk of one")
    yield "walk-nested-items", scan_of(replace(ONE_NAMESPACE, filters=LABELS, items=True), "walk nested")
    yield "walk-nested-filtered", scan_of(replace(ONE_NAMESPACE, after=RESUMED, filters=LABELS), "walk nested")
    yield (
        "walk-of-one-since",
        scan_of(replace(ALL_OF_ONE, sort=Sort.UPDATED_AT, after=RESUMED, filters=Filters(since=TODAY)), "walk of one"),
    )
    yield "walk-merge-types", scan_of(replace(FEW_TYPES, after=RESUMED), "walk merge")
    yield "walk-merge-clusters", scan_of(CLUSTERS, "walk merge")
    yield "walk-merge-namespaces", scan_of(replace(MIXED, sort=Sort.NAMESPACE_AND_NAME, descending=False), "walk merge")
    yield "walk-merge-selective", scan_of(replace(MANY_OF_FEW_TYPES, limit=500), "walk merge")
    yield "walk-by-type", scan_of(replace(FEW_OF_MANY_TYPES, limit=500), "walk by type")
    yield (
        "walk-by-namespace",
        scan_of(
            replace(MANY_OF_FEW_TYPES, sort=Sort.NAMESPACE_AND_NAME, after=("ns-01", "a", "uid", 1)),
            "walk by namespace",
        ),
    )
    yield "collect-name", scan_of(named, "collect")
    yield "collect-name-clusters", scan_of(replace(CLUSTERS, filters=Filters(name="a")), "collect")
    yield "collect-composition", scan_of(replace(MIXED, filters=Filters(composition_id=str(TODAY))), "collect")
    yield "collect-since", scan_of(replace(FEW_TYPES, filters=Filters(since=TODAY)), "collect")
    yield "probe-labels", scan_of(replace(ALL_OF_ONE, filters=LABELS), "probe")
    yield "probe-part-of-name", scan_of(replace(ONE_NAMESPACE, filters=Filters(name_contains="abcd")), "probe")
    bounded = replace(FEW_OF_MANY_TYPES, filters=LABELS, after=RESUMED)
    yield "collect-bounded", scan_of(bounded, "collect", end=True)
    yield (
        "sample-of-terms",
        scan_of(replace(ALL_OF_ONE, filters=replace(LABELS, name_contains="abc")), "sample of terms"),
    )
    yield "sample-of-distance", scan_of(bounded, "sample of distance", end=True)
    filtered = replace(MIXED, filters=LABELS)
    yield "offset-of-one", numbering(offset(ALL_OF_ONE, 10), "offset")
    yield "offset-merge", numbering(offset(MIXED, 10), "offset")
    yield "offset-namespaces", numbering(offset(replace(MIXED, sort=Sort.NAMESPACE_AND_NAME), 10), "offset")
    yield "offset-by-uid", numbering(offset(replace(ALL_OF_ONE, sort=Sort.GLOBAL_UID), 10), "offset")
    yield "offset-filtered", numbering(offset(filtered, 10), "walk merge")
    yield "offset-sample", numbering(offset(MANY_OF_FEW_TYPES, 10), "sample of keys")
    yield "offset-count", numbering(offset(MANY_OF_FEW_TYPES, 10), "count")
    yield "count", numbering(total(MIXED), "count")
    yield "count-labels", numbering(total(filtered), "count")
    yield "count-sample", numbering(total(filtered), "sample of matches")


def written(scan: Scan) -> str:
    """The statement, and what its numbers stand for."""
    text, values = statement(scan)
    return f"-- {', '.join(f'${number} {name}' for number, name in enumerate(values, start=1))}\n{text.strip()}\n"


def main() -> None:
    """Write the files."""
    for old in GOLDEN.glob("*.sql"):
        old.unlink()
    for name, scan in scans():
        (GOLDEN / f"{name}.sql").write_text(written(scan))


if __name__ == "__main__":
    main()
