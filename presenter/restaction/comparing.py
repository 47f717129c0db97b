"""`presenter restaction compare`: two RESTActions resolved as the same user, and whether they give the same."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from presenter.restaction.comparison import Comparison, Difference, compare
from presenter.restaction.manifest import RestAction
from presenter.restaction.resolver import Problem, Request, Services
from presenter.restaction.resolving import Options, services
from presenter.restaction.walking import Walk, joined, walk

_TOLD = 3
LOOKS = 4
"""How often two RESTActions are resolved at most."""


@dataclass(frozen=True, slots=True)
class Report:
    """What two walks have in common. `changed`: they differed each time, and never twice in the same way."""

    old: Walk
    new: Walk
    comparison: Comparison
    changed: bool

    @property
    def equivalent(self) -> bool:
        """Whether the new RESTAction can take the place of the old one."""
        return self.comparison.equivalent


def run(old: RestAction, new: RestAction, options: Options, *, per_page: int | None, as_json: bool) -> bool:
    """Compare, and print; returns whether they are equivalent."""
    errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    problems: dict[str, None] = {}

    def observe(what: Request | Problem) -> None:
        if isinstance(what, Problem):
            problems[f"{what.call}: {what.message}" if what.call else what.message] = None

    async def comparing() -> Report:
        columns = (TextColumn("{task.description}: {task.completed} pages"), TimeElapsedColumn())
        with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
            async with services(options, observe) as of:
                await of.jq.check(".")  # its process starts before the clock does
                return await report(old, new, options.context, of, per_page, bar)

    found = asyncio.run(comparing())
    for problem in list(problems)[:_TOLD]:
        errors.print(_printable(f"warning: {problem}"))
    if len(problems) > _TOLD:
        errors.print(f"warning: and {len(problems) - _TOLD} more like these")
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(_as_json(found))).decode())
    else:
        _print(found)
    return found.equivalent


async def report(
    old: RestAction,
    new: RestAction,
    context: dict[str, Any],
    of: Services,
    per_page: int | None,
    bar: Progress | None = None,
) -> Report:
    """Resolve both until nothing differs, or something does for the second time; at most `LOOKS` times."""
    seen: list[Difference] = []
    for _ in range(LOOKS):
        before = await walk(old, context, of, per_page, bar, "old")
        after = await walk(new, context, of, per_page, bar, "new")
        comparison = _compared(before, after)
        lasting = [difference for difference in comparison.differences if difference in seen]
        if comparison.equivalent or lasting:
            return Report(before, after, replace(comparison, differences=lasting), changed=False)
        seen = comparison.differences
    return Report(before, after, comparison, changed=True)


def _compared(old: Walk, new: Walk) -> Comparison:
    if old.errors or new.errors:
        described = ("; ".join(walked.errors) or "no error" for walked in (old, new))
        return Comparison(differences=[Difference("calls", "$", *described)])
    comparison = compare(joined(old.results), joined(new.results), old.times | new.times)
    if old.lengths != new.lengths and comparison.first("objects") is None:
        sizes = (", ".join(map(str, walked.lengths)) for walked in (old, new))
        comparison.differences.append(Difference("pages", "$", *sizes))
    return comparison


def _print(found: Report) -> None:
    console = Console(highlight=False, markup=False, soft_wrap=True)
    table = Table("", Column("old", justify="right"), Column("new", justify="right"), box=None, pad_edge=False)
    old, new = _costs(found.old), _costs(found.new)
    for what in old:
        table.add_row(what, f"{old[what]:,}", f"{new[what]:,}")
    console.print(table)
    console.print()
    for difference in found.comparison.differences:
        console.print(f"{difference.aspect} differ at {difference.path}")
        console.print(_printable(f"  old: {difference.old}"))
        console.print(_printable(f"  new: {difference.new}"))
    for path, key in found.comparison.ties.items():
        console.print(f"{path}: objects of equal {key} have changed places; they have no defined order")
    console.print(_verdict(found))


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def _as_json(found: Report) -> dict[str, Any]:
    return {
        "equivalent": found.equivalent,
        "verdict": _verdict(found),
        "old": _costs(found.old),
        "new": _costs(found.new),
        "differences": found.comparison.differences,
        "ties": found.comparison.ties,
    }


def _costs(walked: Walk) -> dict[str, int]:
    return {
        "calls": len(walked.requests),
        "refused": sum(not 200 <= request.status < 300 for request in walked.requests),
        "bytes": sum(request.bytes for request in walked.requests),
        "milliseconds": round(walked.seconds * 1000),
        "pages": len(walked.lengths),
        "objects": sum(walked.lengths),
    }


def _verdict(found: Report) -> str:
    if found.changed:
        return "different each time they are compared: the cluster changes meanwhile; compare again"
    if not found.equivalent:
        return "different"
    if not any(found.old.lengths):
        return "equivalent, but there was nothing to compare: both are empty"
    return "equivalent"
