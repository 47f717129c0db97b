"""Masking Helm templates: back it is what it was, whatever that is, and YAML reads what is masked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from presenter.restaction.helm import Mask, TooManyActions, has_action

CHARACTERS = st.sampled_from("{}#-'\"`é\0 \t\n\r\x85\u2028\ue000\ue001\U000f0000\U000f0001\U00100000\U0010ffff")
WORDS = st.sampled_from(["{{", "}}", "  ", "a: ", "|\n", "\r\n", "#\U00100000\ue000"])
WHOLE = st.sampled_from(["{{.}}", "{{}}", "{{ .a }}", "{{- if x }}", '{{ "}}" }}', "{{ `}}\n` }}", "{{/* }} ' */}}"])
LONG = st.sampled_from(["{{- /* a\n\nb */ -}}", '{{ include "a"\n  . }}', "{{ a\r\n\r\nb }}"])
PIECES = st.one_of(CHARACTERS, WORDS, WHOLE, LONG)
TEXTS = st.one_of(st.text(), st.lists(PIECES, max_size=12).map("".join))
ACTIONS = st.sampled_from(["{{ .a }}", "{{- .b -}}", '{{ "}}" }}', "{{.}}", "{{ tpl `a: {{ .x }}` . }}", "{{ '{' }}"])


@given(TEXTS)
def test_masked_and_restored_a_text_is_what_it_was(text: str) -> None:
    mask = Mask(text)
    assert mask.restore(mask.text) == text
    assert len(mask.text.splitlines()) == len(text.splitlines())
    assert mask.text != text or not has_action(text)


@given(TEXTS)
def test_any_line_can_be_restored_by_itself(text: str) -> None:
    mask = Mask(text)
    lines = mask.text.splitlines(keepends=True)
    assert "".join(map(mask.restore, reversed(lines))) == "".join(reversed(text.splitlines(keepends=True)))


@given(st.lists(ACTIONS, min_size=3, max_size=3), st.sampled_from(["", "  # why"]))
def test_yaml_reads_actions_wherever_they_are(actions: list[str], comment: str) -> None:
    value, quoted, alone = actions
    text = (
        f"{alone}\n"
        f"plain: {value}{comment}\n"
        f"  {alone}\n"
        f'quoted: "a {quoted.replace(chr(34), "`")} b"\n'
        f"{alone} {value}\n"
        "block: |\n"
        f"  one {value}\n"
        f"  {alone}\n"
        f"flow: [{value}, {{k: {value}}}]\n"
        f"key-{value}: x\n"
        f"{alone}"
    )
    mask = Mask(text)
    read = YAML(typ="rt").load(mask.text)
    assert mask.restore(read["plain"]) == value
    assert mask.restore(read["quoted"]) == f"a {quoted.replace(chr(34), '`')} b"
    assert mask.restore(read["block"]) == f"one {value}\n{alone}\n"
    assert mask.restore(read["flow"][1]["k"]) == value
    assert [mask.restore(key) for key in read][-1] == f"key-{value}"
    for masked, line in zip(mask.text.splitlines(), text.splitlines(), strict=True):
        assert len(masked) == len(line)


def test_an_action_of_several_lines_keeps_them() -> None:
    text = '{{- /*\nwhat it is\n\nfor\n*/ -}}\na: {{ include "x"\n    . }}\nb: 1\n'
    mask = Mask(text)
    read = YAML(typ="rt").load(mask.text)
    assert mask.restore(read["a"]) == '{{ include "x"'
    assert read["b"] == 1
    assert read.lc.key("b")[0] == text.splitlines().index("b: 1")


def test_the_same_action_has_the_same_placeholder() -> None:
    read = YAML(typ="rt").load(Mask("a: {{ .x }}\nb: {{ .x }}\nc: {{ .y }}\n").text)
    assert read["a"] == read["b"] != read["c"]


def test_what_is_not_closed_is_no_action() -> None:
    text = "a: '{{ .x'\nb: {}\nc: {{ .y }}\n"
    mask = Mask(text)
    read = YAML(typ="rt").load(mask.text)
    assert (read["a"], read["b"], mask.restore(read["c"])) == ("{{ .x", {}, "{{ .y }}")
    assert not has_action("{{ .x" * 100_000)


def test_a_text_with_more_actions_than_there_are_placeholders_is_refused() -> None:
    with pytest.raises(TooManyActions, match="65534"):
        Mask("\n".join(f"{{{{ {number} }}}}" for number in range(65535)))
