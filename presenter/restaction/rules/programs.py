"""What goes wrong in jq programs: those that do not compile, and those that snowplow's jq takes otherwise.

snowplow evaluates with gojq, a library in Go. What it lacks and does otherwise was found by running both.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from presenter.restaction.gojq import LACKING, names_used
from presenter.restaction.helm import Mask
from presenter.restaction.jq import JqError
from presenter.restaction.manifest import Where, expression
from presenter.restaction.rules.subject import Finding, Rule, Subject
from presenter.restaction.rules.trees import nodes
from presenter.restaction.syntax import Call, Comma, Constant, Iterate, Node, Pipe

_ENVIRONMENT = ("env", "$ENV")
_KNOWN_FLAGS = frozenset("gi")
_NOT_IN_RE2 = re.compile(r"\(\?(?:<?[=!]|[>#])|(?<!\\)(?:\\\\)*\\(?:[1-9](?![0-7])|[hHRXkKGZNOyYeucg])")
_MODULE = re.compile(r"\s*(import|include)\b")


@dataclass(frozen=True, slots=True)
class Program:
    """A jq program, `name`d as people speak of it. What Helm is to fill in is masked, and makes it `templated`."""

    where: Where
    name: str
    text: str
    templated: bool

    def at(self, node: Node) -> str:
        """The text of a node."""
        start, end = node.span
        return self.text[start:end]


def _programs(subject: Subject) -> Iterator[Program]:
    for where, name, value, is_program in subject.values():
        text = value if is_program else expression(value)
        if text is not None:
            masked = Mask(text).text
            yield Program(where, name, masked, masked != text)


async def not_compiling(subject: Subject) -> AsyncIterator[Finding]:
    """A program that does not compile, or that cannot be checked before Helm or snowplow has added to it."""
    for program in _programs(subject):
        try:
            await subject.jq.check(program.text)
        except JqError as error:
            if _MODULE.match(program.text):
                what, remedy = (
                    f"{program.name} uses a module of snowplow, and is not checked",
                    "resolve it in the cluster",
                )
                yield subject.finding("not-checked", "warning", program.where, what, remedy)
            elif program.templated:
                what = f"{program.name} is no jq before Helm has filled it in, and is not checked"
                yield subject.finding("not-checked", "warning", program.where, what, "lint what helm template prints")
            else:
                what = f"{program.name} does not compile: {error.problem.strip().splitlines()[0]}"
                yield subject.finding("not-compiling", "error", program.where, what, "correct the expression")


async def text_around(subject: Subject) -> AsyncIterator[Finding]:
    """Text around an expression, which is dropped, or braces that are not balanced: those in strings count."""
    for where, name, value, is_program in subject.values():
        if is_program or "${" not in value:
            continue
        program = expression(value)
        if program is None:
            what, remedy = f"{name} has ${{ without the }} that ends it", "balance the braces; those in strings count"
            yield subject.finding("text-around", "error", where, what, remedy, "${")
        elif around := _around(value, program):
            what = f"{name} has text around its expression, which is dropped: {around[:40]}"
            remedy = r"put all of it into the expression; a lone brace in a string is \u007b or \u007d"
            yield subject.finding("text-around", "error", where, what, remedy, "${")


async def not_in_gojq(subject: Subject) -> AsyncIterator[Finding]:
    """A function that snowplow does not have."""
    for program in _programs(subject):
        for name in sorted(_used(program) & LACKING.keys()):
            what = f"{program.name} uses {name}, which snowplow does not have"
            yield subject.finding("not-in-gojq", "error", program.where, what, LACKING[name], name)


async def environment_read(subject: Subject) -> AsyncIterator[Finding]:
    """A program that reads the environment: in snowplow there is nothing in it."""
    for program in _programs(subject):
        for name in sorted(_used(program).intersection(_ENVIRONMENT)):
            what = f"{program.name} reads {name}, which is empty in snowplow"
            yield subject.finding("environment-read", "warning", program.where, what, "leave it out", name)


async def regex_not_in_re2(subject: Subject) -> AsyncIterator[Finding]:
    """A regular expression that only Oniguruma understands: snowplow's are Go's (RE2)."""
    rule = "regex-not-in-re2"
    for program in _programs(subject):
        for name, pattern, flags in _regexes(program):
            if found := _NOT_IN_RE2.search(_constant(pattern)):
                what = f"{program.name} has {found[0]} in a regular expression, which snowplow does not understand"
                yield subject.finding(rule, "error", program.where, what, "write it without", program.at(pattern))
            if flags and (unknown := set(_constant(flags)) - _KNOWN_FLAGS):
                what = f"{program.name} gives {name} the flag {min(unknown)}, which snowplow does not know"
                yield subject.finding(rule, "error", program.where, what, "allowed are g and i", program.at(flags))


def _regexes(program: Program) -> Iterator[tuple[str, Node, Node | None]]:
    """Each function that takes a regular expression, with that and the flags."""
    for node in nodes(program.text):
        match node:
            case Call("split", (pattern, flags)) | Call("sub" | "gsub", (pattern, _, flags)):
                yield node.name, pattern, flags
            case Call("capture" | "match" | "scan" | "splits" | "test", (pattern, flags)):
                yield node.name, pattern, flags
            case Call("capture" | "match" | "scan" | "splits" | "test", (pattern,)) | Call(
                "sub" | "gsub", (pattern, _)
            ):
                yield node.name, pattern, None


def _constant(node: Node) -> str:
    return str(node.value) if isinstance(node, Constant) else ""


async def iterator_without_array(subject: Subject) -> AsyncIterator[Finding]:
    """An iterator with several outputs, where snowplow goes through one array."""
    for program in _programs(subject):
        if program.where[-1] == "iterator" and (tree := nodes(program.text)):
            last = tree[0]
            while isinstance(last, Pipe):
                last = last.right
            if isinstance(last, Iterate | Comma):
                what = f"{program.name} gives its values one by one, where snowplow wants one array"
                yield subject.finding("iterator-without-array", "error", program.where, what, "put it into [ ]")


def _around(value: str, program: str) -> str:
    before, _, rest = value.partition("${")
    behind = rest.partition(program)[2].lstrip().removeprefix("}")
    return f"{before.strip()} … {behind.strip()}".strip(" …")


def _used(program: Program) -> set[str]:
    tree = nodes(program.text)
    return names_used(tree[0]) if tree else set()


RULES: tuple[Rule, ...] = (
    not_compiling,
    text_around,
    not_in_gojq,
    environment_read,
    regex_not_in_re2,
    iterator_without_array,
)
