"""`presenter restaction compare`: two RESTActions resolved as the same user, and whether they give the same."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from presenter.errors import PresenterError
from presenter.restaction.differences import Comparison, Difference, compare, times_in
from presenter.restaction.manifest import RestAction
from presenter.restaction.paging import length, pages
from presenter.restaction.resolve import Options, services
from presenter.restaction.resolver import Problem, Request, Resolved, Services, resolve

_SHOWN_PROBLEMS = 3
ATTEMPTS = 4
"""How often two RESTActions are resolved at most."""


@dataclass(slots=True)
class Walk:
    """All pages of one RESTAction, and what they cost. `failure` is why there are no more."""

    results: list[Any] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    times: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    failure: str = ""

    def add(self, resolved: Resolved) -> None:
        """Take in one page."""
        result = resolved.result
        if isinstance(result, dict):
            result = {key: value for key, value in result.items() if key != "slice"}
        self.results.append(result)
        self.times |= times_in(resolved.context)
        self.requests += resolved.requests
        self.problems += resolved.problems

    @property
    def lengths(self) -> list[int]:
        """How many items each page has. That there is nothing left may take a page of its own to find out."""
        lengths = [length(result) for result in self.results]
        return lengths[:-1] if len(lengths) > 1 and lengths[-1] == 0 else lengths

    @property
    def errors(self) -> list[str]:
        """Why the result is not what it should be, if so."""
        fatal = [f"{problem.call}: {problem.message}".removeprefix(": ") for problem in self.problems if problem.fatal]
        return [*fatal, self.failure] if self.failure else fatal


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
    for problem in list(problems)[:_SHOWN_PROBLEMS]:
        errors.print(_printable(f"warning: {problem}"))
    if len(problems) > _SHOWN_PROBLEMS:
        errors.print(f"warning: and {len(problems) - _SHOWN_PROBLEMS} more like these")
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
    """Resolve both until nothing differs, or something does for the second time; at most `ATTEMPTS` times."""
    seen: list[Difference] = []
    for _ in range(ATTEMPTS):
        before = await walk(old, context, of, per_page, bar, "old")
        after = await walk(new, context, of, per_page, bar, "new")
        comparison = _compared(before, after)
        lasting = [difference for difference in comparison.differences if difference in seen]
        if comparison.equivalent or lasting:
            return Report(before, after, replace(comparison, differences=lasting), changed=False)
        seen = comparison.differences
    return Report(before, after, comparison, changed=True)


async def walk(
    action: RestAction,
    context: dict[str, Any],
    of: Services,
    per_page: int | None,
    bar: Progress | None = None,
    name: str = "",
) -> Walk:
    """All pages, or everything at once."""
    walked, started = Walk(), time.monotonic()
    task = bar.add_task(name, total=None) if bar else TaskID(0)
    try:
        if per_page is None:
            walked.add(await resolve(action, context, of))
        else:
            async for resolved in pages(action, context, of, per_page):
                walked.add(resolved)
                if bar:
                    bar.advance(task)
    except PresenterError as error:
        walked.failure = error.message
    walked.seconds = time.monotonic() - started
    return walked


def joined(results: Sequence[Any]) -> Any:
    """Pages as one: the arrays in mappings joined, whatever the depth; the rest as the last page has it."""
    if all(isinstance(result, list) for result in results):
        return [item for result in results for item in result]
    if all(isinstance(result, dict) for result in results):
        keys = dict.fromkeys(key for result in results for key in result)
        return {key: joined([result[key] for result in results if key in result]) for key in keys}
    return results[-1]


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
