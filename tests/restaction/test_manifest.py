"""RESTActions from files: what they say, on which line, and what is wrong with them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import yaml

from presenter.restaction.manifest import (
    Call,
    Manifest,
    ManifestError,
    Reference,
    RestAction,
    files,
    in_order,
    restaction,
)

WHOLE = """\
# Panels and what is in them.
{{- if .Values.enabled }}
apiVersion: templates.krateo.io/v1
kind: RESTAction
metadata:
  name: panels
  namespace: {{ .Release.Namespace }}
spec:
  api:
  - name: rooms
    dependsOn:
      name: houses
      iterator: .houses
    endpointRef:
      name: rooms
      namespace: {{ .Release.Namespace }}
    verb: POST
    path: >-
      ${ "/rooms/" + .name }
    headers:
    - "X-House: 1"
    payload: ${ . }
    filter: .rooms
    continueOnError: true
    errorKey: roomsError
    exportJwt: true
  - {name: houses, path: /houses}
  filter: "{rooms}"
{{- end }}
---
---
kind: ConfigMap
data: {a: b}
"""

CIRCLE = """\
- {name: d, dependsOn: {name: a}}
  - {name: a, dependsOn: {name: b}}
  - {name: b, dependsOn: {name: c}}
  - {name: c, dependsOn: {name: a}}"""

BOMB = "&b0 [x]" + "".join(f", &b{n} [{', '.join([f'*b{n - 1}'] * 9)}]" for n in range(1, 30))


def test_everything_a_restaction_says_is_read() -> None:
    manifest = Manifest.parse(WHOLE)
    assert manifest.only() == RestAction(
        name="panels",
        namespace="{{ .Release.Namespace }}",
        filter="{rooms}",
        calls=(
            Call(
                name="rooms",
                path='${ "/rooms/" + .name }',
                verb="POST",
                headers=("X-House: 1",),
                payload="${ . }",
                endpoint_ref=Reference("rooms", "{{ .Release.Namespace }}"),
                depends_on="houses",
                iterator=".houses",
                filter=".rooms",
                continue_on_error=True,
                error_key="roomsError",
                export_jwt=True,
            ),
            Call(name="houses", path="/houses"),
        ),
    )
    assert [(document.index, document.kind) for document in manifest.documents] == [(0, "RESTAction"), (2, "ConfigMap")]


def test_what_is_not_said_is_the_default() -> None:
    assert Call(name="a") == Manifest.parse(_with("- name: a")).only().calls[0]
    assert Call(name="a").verb == "GET"
    assert Call(name="a").error_key == "error"
    assert Manifest.parse(_with("").replace("api:", "api: []")).only().calls == ()


def test_lines_are_those_of_the_file() -> None:
    document, other = Manifest.parse(WHOLE).documents
    lines = ["", *WHOLE.splitlines()]
    assert lines[document.line()] == "apiVersion: templates.krateo.io/v1"
    assert lines[document.line("spec", "api", 0, "path")] == "    path: >-"
    assert lines[document.line("spec", "api", 0, "dependsOn", "iterator")] == "      iterator: .houses"
    assert lines[document.line("spec", "api", 1)] == "  - {name: houses, path: /houses}"
    assert lines[document.line("spec", "api", 1, "filter")] == "  - {name: houses, path: /houses}"
    assert lines[document.line("spec", "nothing", "here")] == "spec:"
    assert lines[other.line("data")] == "data: {a: b}"


def test_calls_come_after_what_they_depend_on_and_otherwise_as_written() -> None:
    calls = tuple(Call(name, depends_on=needs) for name, needs in [("d", "c"), ("a", None), ("c", "b"), ("b", None)])
    assert [call.name for call in in_order(calls)] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("items", "line", "says"),
    [
        ("- name: ''", 6, "spec.api[0].name is '': it must be a string, and required"),
        ("- path: /a", 6, "spec.api[0].name is missing: it must be a string, and required"),
        ("- name: 3", 6, "spec.api[0].name is '3': it must be a string"),
        ("- a", 6, "spec.api[0] is 'a': it must be a list of mappings"),
        ("- name: a\n    headers: {a: b}", 7, "spec.api[0].headers is a mapping: it must be a list"),
        ("- name: a\n    headers: [a, [b]]", 7, "spec.api[0].headers[1] is a list: it must be a list of strings"),
        ("- name: a\n    continueOnError: 'yes'", 7, "continueOnError is 'yes': it must be true or false"),
        (
            "- name: a\n    exportJwt: {{ .Values.jwt }}",
            7,
            "exportJwt is '{{ .Values.jwt }}': it must be true or false",
        ),
        ("- name: a\n    endpointRef: presenter", 7, "endpointRef is 'presenter': it must be a mapping"),
        ("- name: a\n    endpointRef: {name: b}", 7, "endpointRef.namespace is missing"),
        ("- name: a\n    dependsOn: {iterator: .b}", 7, "dependsOn.name is missing"),
        (
            "- name: b\n  - name: a\n    dependsOn: {name: c}",
            8,
            "depends on 'c', which is no call of this RESTAction: b, a",
        ),
        ("- name: a\n    dependsOn: {name: a}", 5, "in a circle: a → a"),
        (CIRCLE, 5, "in a circle: a → b → c → a"),
        ("- name: a\n    name: b", 7, "not YAML: found duplicate key"),
        (f"- &a [{BOMB}]", 6, "spec.api[0] is a list: it must be a list of mappings"),
        ("- name: [", 7, "not YAML"),
        ("- name: a\n    path: *nothing", 7, "not YAML: found undefined alias 'nothing'"),
        ("- name: a\n\tpath: /a", 7, "not YAML: found character '\\t' that cannot start any token"),
        ("- name: a\n    path: /\0", 7, "not YAML: the character '\\x00' in it"),
    ],
)
def test_what_is_malformed_is_named_with_its_line(items: str, line: int, says: str) -> None:
    with pytest.raises(ManifestError) as refused:
        Manifest.parse(_with(items), "some.yaml").only()
    assert refused.value.message.startswith(f"some.yaml:{line}: ")
    assert says in refused.value.message


@pytest.mark.parametrize("text", ["!!omap a: b", "a: !!bool b", "a: 2026-13-45"])
def test_whatever_stops_the_reader_is_an_error_that_says_so(text: str) -> None:
    with pytest.raises(ManifestError, match=r"^some\.yaml: not YAML that can be read: [A-Z]\w+: \S"):
        Manifest.parse(text, "some.yaml")


def test_a_template_that_is_yaml_only_when_rendered_says_so() -> None:
    either = "- name: a\n{{- if .x }}\n    path: /a\n{{- else }}\n    path: /b\n{{- end }}"
    with pytest.raises(
        ManifestError, match=r"some\.yaml:10: not YAML: found duplicate key.*: see what `helm template`"
    ):
        Manifest.parse(_with(either), "some.yaml")


def test_spec_must_be_what_it_is() -> None:
    for wrong, says in [
        ("spec: []", "spec is a list"),
        ("spec: {api: a}", "spec.api is 'a'"),
        ("metadata: 3", "metadata is"),
    ]:
        text = "apiVersion: templates.krateo.io/v1\nkind: RESTAction\nmetadata: {name: a}\n"
        text = text.replace("metadata: {name: a}", wrong) if wrong.startswith("metadata") else f"{text}{wrong}\n"
        with pytest.raises(ManifestError) as refused:
            Manifest.parse(text).only()
        assert says in refused.value.message


def test_one_of_several_is_chosen_by_its_name() -> None:
    several = Manifest.parse(f"{_with('- name: a')}---\n{_with('- name: b').replace('tried', 'other')}", "some.yaml")
    assert several.only("other").calls[0].name == "b"
    with pytest.raises(ManifestError, match="several RESTActions: choose one with --name: tried, other"):
        several.only()
    apart = [_with("- name: a").replace("{name: tried}", f"{{name: tried, namespace: {name}}}") for name in ("x", "y")]
    several = Manifest.parse("---\n".join([*apart, _with("- name: a"), _with("- name: a")]), "some.yaml")
    assert several.only("y/tried").namespace == "y"
    with pytest.raises(ManifestError, match="choose one with --name: x/tried, y/tried, tried, tried"):
        several.only("tried")
    several = Manifest.parse("---\n".join(2 * [apart[0]]), "some.yaml")
    with pytest.raises(ManifestError, match=r"some\.yaml: x/tried is there more than once: on lines 1 and 8"):
        several.only()
    with pytest.raises(ManifestError, match="there is no RESTAction named 'third'"):
        several.only("third")
    with pytest.raises(ManifestError, match="there is no RESTAction"):
        Manifest.parse("kind: RESTAction\napiVersion: other.io/v1\n").only()


def test_a_list_is_its_items() -> None:
    items = "".join(f"- {json.dumps(yaml.safe_load(_with(f'- name: {name}')))}\n" for name in "ab")
    for kind in "List", "RESTActionList":
        manifest = Manifest.parse(f"items:\n{items}- null\n- kind: ConfigMap\nkind: {kind}\n---\n{_with('- name: c')}")
        assert [(each.index, each.kind) for each in manifest.documents] == [
            (0, kind),
            (1, "RESTAction"),
            (2, "RESTAction"),
            (4, "ConfigMap"),
            (5, "RESTAction"),
        ]
        assert [restaction(each).calls[0].name for each in manifest.restactions()] == ["a", "b", "c"]
        assert [each.line() for each in manifest.documents] == [1, 2, 3, 5, 8]
    for text in "kind: List", "kind: List\nitems: 3", "kind: List\nitems: {a: b}", "kind: [List]\nitems: []":
        assert [each.is_list for each in Manifest.parse(text).documents] == [False]


def test_files_are_read_from_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "below").mkdir()
    for name in ("b.yml", "a.yaml", "below/c.json", "notes.txt"):
        (tmp_path / name).write_text(_with("- name: a"))
    assert files(tmp_path) == [tmp_path / name for name in ("a.yaml", "b.yml", "below/c.json")]
    assert files(tmp_path / "notes.txt") == [tmp_path / "notes.txt"]
    assert Manifest.read(tmp_path / "a.yaml").path == str(tmp_path / "a.yaml")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(_with("- name: a").encode())))
    assert Manifest.read("-").only().calls == (Call("a"),)

    (tmp_path / "a.yaml").write_bytes(b"\xff")
    with pytest.raises(ManifestError, match="not UTF-8"):
        Manifest.read(tmp_path / "a.yaml")
    with pytest.raises(ManifestError, match="No such file"):
        Manifest.read(tmp_path / "none.yaml")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ManifestError, match=r"there is no \.yaml"):
        files(tmp_path / "empty")


def _with(items: str) -> str:
    """A RESTAction, whose calls begin on line 6."""
    return (
        f"apiVersion: templates.krateo.io/v1\nkind: RESTAction\nmetadata: {{name: tried}}\nspec:\n  api:\n  {items}\n"
    )
