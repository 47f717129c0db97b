"""jq texts as trees: the same meaning as jq gives them, every node where it stands, and refusals that say where."""

from __future__ import annotations

import contextlib
from typing import Any

import jq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from presenter.restaction import syntax
from presenter.restaction.jq_parser import JqSyntaxError, parse
from presenter.restaction.jq_printer import printed
from presenter.restaction.syntax import (
    Binding,
    Call,
    Comma,
    Constant,
    Identity,
    Index,
    Node,
    Operation,
    Pipe,
    free_variables,
    walk,
)

INPUT: dict[str, Any] = {
    "a": 3,
    "b": {"c": [1, 2, 3], "a b": "x", "d": None},
    "rows": [{"n": 2, "t": "two"}, {"n": 1, "t": "one"}, {"n": 3}],
    "slice": {"perPage": 2, "offset": 1},
}

PROGRAMS = [
    "1 + 2 * 3 - 4 / 2 % 3",
    "1 - 2 - 3",
    "2 * (3 + 4)",
    "1, 2 // 3, 4",
    "null // false // 7",
    "(1, null) // 2",
    ".a == 3 and .b.d == null or false",
    "not, (.a | not)",
    "1 + (.a as $x | $x * 2, $x)",
    "1, .a as $x | $x, 2",
    "[.rows[] | .n as $n | {n: $n, $n, more: $n + 1 | . * 2}]",
    ". as {a: $x, b: {c: [$y, $z]}} | [$x, $y, $z]",
    '. as {$a, "b": $b, ("sl" + "ice"): $s} | [$a, $b, $s]',
    '. as {$b: {c: [$y, $z]}} | [$b, $y, $z], ("a" as $k | . as {($k): $y} | $y)',
    '.b["c"][1:], .b.c[:2], .b.c[1], .b."a b", ."b"."d", .b.["c"], .b.c.[0]',
    '.b.c[0]?, .a[]?, .a.b?, try .a.b catch "no", (try error("x") catch .)',
    "[.. | numbers]",
    '"a\\(1 + .a)b\\("x" + "\\(.b.c)")", @base64 "x\\(.a)", (.b | @json), "tab\\t\\u00e9\\\\"',
    '{if: 1, "a b": 2, ("k" + "l"): 3, a, "slice", @text "x": 5, and: 6}',
    "{a: 1 | . + 1, b: null // 2}",
    "{(1, 2 | tostring): 3}",
    "{}, []",
    "-1 + 2, -(.a), [.b.c[] | -.]",
    'if .a > 2 then "big" elif .a then "small" else "none" end, (if .d then 1 end | type)',
    "1 + if .a then 1 else 2 end * 3",
    "reduce .b.c[] as $x (0; . + $x) | . + 1",
    "[foreach .b.c[] as $x (0; . + $x; [$x, .])], [foreach .rows[] as {n: $n} (0; . + $n)]",
    "def f(g; $y): [g, $y]; def h: 2; f(.a, h; 5)",
    "[label $out | 1, 2 | if . == 2 then break $out else . end]",
    "[limit(2; .b.c[])], [range(1; 9; 3)], first(.b.c[])",
    ".a += 1 | .b.c |= map(. * 2) | .b.d //= 9",
    '.rows | sort_by(.n) | reverse | map(.t // "-") | join(",")',
    ".rows | sort_by(.t, .n) | .[0].n # the first, as a comment says\n | . + 1",
    '[.rows[] | select(.n >= 2 and (.t // "") != "one")] | length as $len | range(0; $len)',
    "1e3, .5, 1.5, 100000000000000000000",
    "[(.a.b)?, (try .rows.n), (.a[])?, ((.a.b[1:]))?, .b.c[]?, .a?]",
    "$__loc__ | type",
]


def _outputs(program: str) -> list[Any]:
    outputs: list[Any] = jq.compile(program).input_value(INPUT).all()
    return outputs


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_tree_means_what_jq_means(program: str) -> None:
    tree = parse(program)
    again = printed(tree)
    assert parse(again) == tree
    assert _outputs(again) == _outputs(program)
    assert _outputs(_in_parentheses(tree)) == _outputs(program)


def _in_parentheses(node: Node) -> str:
    """The text with every operator's reach made plain, so that nothing hangs on precedence."""
    match node:
        case Pipe(left, right):
            return f"({_in_parentheses(left)} | {_in_parentheses(right)})"
        case Comma(left, right):
            return f"({_in_parentheses(left)}, {_in_parentheses(right)})"
        case Operation(operator, left, right):
            return f"({_in_parentheses(left)} {operator} {_in_parentheses(right)})"
        case Binding(source, syntax.Variable(name), body):
            return f"(({_in_parentheses(source)}) as ${name} | {_in_parentheses(body)})"
    return f"({printed(node)})"


def test_what_is_forgiven_is_the_last_step_or_all_in_parentheses() -> None:
    assert parse("(.a.b)?") == parse("try .a.b") != parse(".a.b?")
    assert parse("(.a)?.b?") == parse(".a?.b?")


def test_ways_to_write_the_same_are_the_same() -> None:
    for one, *others in [
        (".a", '.["a"]', '."a"', "(.a)", ' # a comment\n .["a"] '),
        (".a.b", '.a["b"]', "(.a).b", '.a."b"', '.["a"].["b"]', ".a.b#"),
        ('{a: .a, "b": $b}', '{"a": .a, b: $b}', "{a, $b}", "{a, b: ($b),}"),
        ("try .a", ".a?", "(.a)?"),
        ('"\\u0041"', '"A"'),
    ]:
        for other in others:
            assert parse(one) == parse(other), other


def test_every_node_says_where_it_stands() -> None:
    text = '( .x.items[]? | select(.k == "v") ) as $p\n | [$p]'
    for node in walk(parse(text)):
        start, end = node.span
        if end and not isinstance(node, Constant):
            assert parse(text[start:end]) == node, text[start:end]
    call = next(node for node in walk(parse(text)) if isinstance(node, Call))
    assert text[slice(*call.span)] == 'select(.k == "v")'


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("", 1, 1),
        (".a |", 1, 5),
        (".a\n  | ]", 2, 5),
        ("[.a", 1, 4),
        ("1 == 1 == 1", 1, 8),
        ("1 + .a as $x | $x", 1, 8),
        ('. as [$a] ?// $a | $a', 1, 11),
        ('import "x" as x; .', 1, 8),
        ('"a\\qb"', 1, 3),
        ('"open', 1, 6),
        (".a # goes on \\\n | .b", 1, 4),
        (". as $x | $x as", 1, 16),
        ("{a: 1 2}", 1, 7),
    ],
)  # fmt: skip
def test_what_is_not_recognised_is_refused_with_its_place(text: str, line: int, column: int) -> None:
    with pytest.raises(JqSyntaxError) as error:
        parse(text)
    assert (error.value.line, error.value.column) == (line, column)
    assert str(error.value).startswith(f"line {line}, column {column}: ")


def test_deep_nesting_is_refused_rather_than_a_crash() -> None:
    with pytest.raises(JqSyntaxError, match="nested"):
        parse("[" * 20_000 + "]" * 20_000)


def test_free_variables() -> None:
    assert free_variables(parse("$a | . as $b | [$b, $c]")) == {"a", "c"}
    assert free_variables(parse("reduce .[] as [$x, {y: $z}] ($i; . + $x + $z + $w)")) == {"i", "w"}
    assert free_variables(parse("foreach .[] as $x (0; $x; [$x, $y])")) == {"y"}
    assert free_variables(parse("def f($n; g): $n + g + $m; f($p; .)")) == {"m", "p"}
    assert free_variables(parse('"\\($s)" + $ENV.x + {$t}')) == {"s", "t"}


NAMES = st.sampled_from(["a", "items", "metadata", "a b", "if", "ä", ""])
LEAVES = st.one_of(
    st.just(Identity()),
    st.builds(Constant, st.one_of(st.integers(0, 99), st.text(max_size=4))),
    st.builds(Index, st.just(Identity()), st.builds(Constant, NAMES)),
    st.builds(syntax.Variable, st.sampled_from(["x", "y"])),
    st.builds(Call, st.sampled_from(["length", "reverse", "null"])),
)


def _nodes(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    operators = ["//", "or", "and", "==", "<", "+", "-", "*", "/", "|=", "//="]
    key = st.one_of(st.builds(Constant, NAMES), st.builds(Pipe, inner, inner))
    pairs = st.lists(st.tuples(key, inner), max_size=3).map(tuple)
    return st.one_of(
        st.builds(Pipe, inner, inner),
        st.builds(Comma, inner, inner),
        st.builds(Operation, st.sampled_from(operators), inner, inner),
        st.builds(Index, inner, inner),
        st.builds(syntax.Slice, inner, inner, st.one_of(st.none(), inner)),
        st.builds(syntax.Iterate, inner),
        st.builds(syntax.Optional, inner),
        st.builds(syntax.Try, inner, inner),
        st.builds(syntax.Negation, inner),
        st.builds(Binding, inner, st.builds(syntax.Variable, st.just("x")), inner),
        st.builds(syntax.Array, st.one_of(st.none(), inner)),
        st.builds(syntax.Object, pairs),
        st.builds(Call, st.sampled_from(["select", "map"]), st.tuples(inner)),
        st.builds(syntax.Condition, st.tuples(st.tuples(inner, inner)), st.one_of(st.none(), inner)),
        st.builds(syntax.Fold, st.just("reduce"), inner, st.builds(syntax.Variable, st.just("x")), inner, inner),
        st.builds(syntax.Definition, st.just("f"), st.sampled_from([(), ("g", "$n")]), inner, inner),
        st.builds(syntax.Label, st.just("l"), inner),
    )


@given(st.recursive(LEAVES, _nodes, max_leaves=25))
def test_any_tree_survives_being_written_and_read(tree: Node) -> None:
    assert parse(printed(tree)) == tree


@given(st.text(alphabet='.[]{}()|,:;"\\$@#?/ \nab0=+-asif', max_size=30))
def test_any_text_is_a_tree_or_is_refused(text: str) -> None:
    with contextlib.suppress(JqSyntaxError):  # and nothing else
        tree = parse(text)
        assert parse(printed(tree)) == tree
