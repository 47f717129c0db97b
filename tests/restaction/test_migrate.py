"""Manifests migrated: what changes and what stays, to the byte; what is written where, and what is said."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from presenter.api.parameters import parse_list_query
from presenter.restaction.jq import Jq
from presenter.restaction.jq_parser import parse
from presenter.restaction.list_path import ALL, Listing, NotAList, listing
from presenter.restaction.manifest import Manifest, Reference, expression
from presenter.restaction.migrator import Finding, migrated
from presenter.restaction.syntax import Constant, walk
from presenter.restaction.values import Equal
from tests.e2e import processes
from tests.restaction.world import Json

TEMPLATE = """\
{{- if .Values.portal.enabled }}
# The tiles of the portal.
apiVersion: templates.krateo.io/v1
kind: RESTAction
metadata:
  name: portal-tiles
  namespace: {{ .Release.Namespace }}
  labels: {{- include "portal.labels" . | nindent 4 }}
  annotations: {"krateo.io/verbose": 'true'}   # as it was
spec:
  # First the namespaces,
  api:

  - name:   spaces
    path: "/api/v1/namespaces"
    filter: "[.spaces.items[] | .metadata.name]"

  # then what is in them.
  - dependsOn:
      name: spaces     # all of them
      iterator: .spaces
    name: tiles   # these
    path: ${ "/apis/widgets.templates.krateo.io/v1beta1/namespaces/" + (.) + "/panels" }

    # Some may not be listed.
    continueOnError:   true
    errorKey: 'tilesError'
  filter: |-
    ([.tiles[]?.items[]? | select(.metadata.labels["portal-page"] == "{{ .Values.portal.page }}")]
      | sort_by(.metadata.creationTimestamp) | reverse) as $tiles # the newest first
    | { tiles: $tiles[(.slice.offset // 0):((.slice.offset // 0) + (.slice.perPage // 5000))] }
  # Nothing else.
---
# Another.
kind:    ConfigMap
{{- end }}
"""

MIGRATED = """\
{{- if .Values.portal.enabled }}
# The tiles of the portal.
apiVersion: templates.krateo.io/v1
kind: RESTAction
metadata:
  name: portal-tiles
  namespace: {{ .Release.Namespace }}
  labels: {{- include "portal.labels" . | nindent 4 }}
  annotations: {"krateo.io/verbose": 'true'}   # as it was
spec:
  # First the namespaces,
  api:


  # then what is in them.
  - name: tiles   # these
    endpointRef:
      name: resources-presenter-endpoint
      namespace: {{ .Release.Namespace }}
    path: |
      ${
        "/resources?group=widgets.templates.krateo.io&resource=panels&version=v1beta1&namespace=*&raw=true\
&labels={\\"portal-page\\":\\"{{ .Values.portal.page }}\\"}" as $list
        | ([.slice.perPage | tonumber?, 5000] | min | tostring) as $limit
        | if (.slice.cursor // "") != "" then
            $list + "&limit=" + $limit + "&cursor=" + .slice.cursor
          elif (.slice.perPage // "") != "" and .slice.perPage != "NULL" then
            $list + "&limit=" + $limit
          else
            $list + "&limit=5000"
          end
      }
    exportJwt: true

    # Some may not be listed.
    continueOnError:   true
    errorKey: 'tilesError'
  filter: |
    {
      tiles: [ .tiles.items[]? | .raw ],
      slice: { cursor: .tiles.cursor, perPage: .slice.perPage }
    }
  # Nothing else.
---
# Another.
kind:    ConfigMap
{{- end }}
"""

PLAIN = """\
apiVersion: templates.krateo.io/v1
kind: RESTAction
metadata:
  name: portal-tiles
  namespace: demo-system
spec:
  api:
    - name: tiles
      path: /apis/widgets.templates.krateo.io/v1beta1/panels
      continueOnError: true
  filter: "{ tiles: (.tiles.items // [] | sort_by(.metadata.name)) }"
"""

WIDGET = """\
apiVersion: widgets.templates.krateo.io/v1beta1
kind: DataGrid
metadata:
  name: tiles-grid
  namespace: demo-system
spec:
  apiRef:
    name: portal-tiles
    namespace: demo-system
"""

PAGE = """\
apiVersion: widgets.templates.krateo.io/v1beta1
kind: Page
metadata:
  name: home
  namespace: demo-system
spec:
  resourcesRefs:
    items:
    - id: grid
      name: tiles-grid
      namespace: demo-system
      resource: datagrids
      verb: GET
      slice:
        page: 1 # the first
        perPage: 5
    - {id: again, name: tiles-grid, resource: datagrids, slice: {page: 1, perPage: 5}}
    - {id: direct, name: portal-tiles, resource: restactions, slice: {perPage: 5, "page": 1}}
    - id: other
      name: other-grid
      namespace: demo-system
      resource: datagrids
      slice:
        page: 1
        perPage: 5
    - id: elsewhere
      name: tiles-grid
      namespace: prod-system
      resource: datagrids
      slice: {page: 1, perPage: 5}
    - id: another-kind
      name: tiles-grid
      namespace: demo-system
      resource: tables
      slice: {page: 1, perPage: 5}
"""


AS_JSON = "it is written as JSON is: only lines of block style can be changed, as `kubectl get -o yaml` prints them"


def migrate(text: str, endpoint: Reference | None = None) -> tuple[str, list[Finding]]:
    [result] = migrated([Manifest.parse(text, "file.yaml")], endpoint)
    return result.text, list(result.findings)


# -- texts -------------------------------------------------------------------------------------------------------------


def test_a_helm_template_changes_where_it_has_to_and_nowhere_else() -> None:
    text, [finding] = migrate(TEMPLATE)
    assert text == MIGRATED
    assert (finding.status, finding.line) == ("migrated", 4)


@pytest.mark.parametrize("text", [TEMPLATE, PLAIN])
def test_line_ends_and_the_last_line_stay_as_they_are(text: str) -> None:
    expected, _ = migrate(text)
    assert migrate(text.replace("\n", "\r\n"))[0] == expected.replace("\n", "\r\n")
    assert migrate(text.rstrip("\n"))[0] == (expected.rstrip("\n") if text == TEMPLATE else expected)


@pytest.mark.parametrize(("end", "line"), [("\x85", 4), ("\u2028", 4), ("\r", 5)])
def test_lines_are_what_yaml_takes_for_lines(end: str, line: int) -> None:
    before, after = (text.replace("# The tiles", f"# The{end}# tiles") for text in (TEMPLATE, MIGRATED))
    text, [finding] = migrate(before)
    assert (text, finding.line) == (after, line)


def test_a_byte_order_mark_stays() -> None:
    assert migrate(f"\ufeff{PLAIN}")[0] == f"\ufeff{migrate(PLAIN)[0]}"


def test_what_is_migrated_stays_as_it_is() -> None:
    for text in (TEMPLATE, PLAIN, f"{PLAIN}---\n{WIDGET}---\n{PAGE}"):
        once, _ = migrate(text)
        again, findings = migrate(once)
        assert again == once
        assert findings[0].status == "already migrated"
        assert {finding.status for finding in findings} <= {"already migrated", "page kept"}


@pytest.mark.parametrize(
    ("slice", "expected"),
    [
        (None, "&limit=20"),
        ({"perPage": 7}, "&limit=7"),
        ({"perPage": "7", "cursor": ""}, "&limit=7"),
        ({"perPage": 5000, "cursor": None}, "&limit=5000"),
        ({"perPage": 5001}, "&limit=5000"),
        ({"perPage": 99999, "cursor": "c"}, "&limit=5000&cursor=c"),
        ({"perPage": 7, "cursor": "c"}, "&limit=7&cursor=c"),
        ({"cursor": "c"}, "&limit=5000&cursor=c"),
        ({"perPage": ""}, "&limit=20"),
        ({"perPage": "NULL"}, "&limit=20"),
    ],
)
async def test_the_presenter_is_never_asked_for_more_than_it_gives(slice: Json | None, expected: str, jq: Jq) -> None:
    [call] = Manifest.parse(migrate(TEMPLATE.replace("// 5000", "// 20"))[0]).only().calls
    path = await jq.first(expression(call.path) or "", {} if slice is None else {"slice": slice})
    assert path.partition("&limit=")[2] == expected.removeprefix("&limit=")


def test_the_endpoint_is_the_one_that_is_named() -> None:
    assert "      namespace: demo-system\n" in migrate(PLAIN)[0]
    assert "      namespace: krateo-system\n" in migrate(PLAIN.replace("  namespace: demo-system\n", ""))[0]
    assert "      namespace: {{.Release.Namespace}}\n" in migrate(f"# {{{{.Release.Namespace}}}}\n{PLAIN}")[0]
    said = "its endpointRef leads to demo-system/resources-presenter-endpoint: --endpoint names another"
    assert said in migrate(PLAIN)[1][0].remarks
    for there in (
        PLAIN.replace("demo-system", "krateo-system"),
        PLAIN.replace("  namespace: demo-system\n", ""),
        TEMPLATE,
    ):
        assert not [remark for remark in migrate(there)[1][0].remarks if "endpointRef" in remark]
    text, [finding] = migrate(TEMPLATE, Reference("cache", "infra"))
    assert not [remark for remark in finding.remarks if "endpointRef" in remark]
    assert "    endpointRef:\n      name: cache\n      namespace: infra\n" in text


BLANK = st.sampled_from(
    ["", "\n", "# a comment\n", "\n  # one further in: ${ . }\n\n", "        # far in\n", "# é ☃ 'x\n"]
)


@settings(deadline=None)
@given(st.lists(BLANK, min_size=9, max_size=9), st.permutations(range(4)), st.sampled_from(["", "- ", "  - "]))
def test_comments_and_the_order_of_keys_stay(blanks: list[str], order: list[int], dash: str) -> None:
    entries = [
        "name: 'tiles'  # quoted",
        "path: /apis/widgets.templates.krateo.io/v1beta1/panels",
        "continueOnError: true",
        'filter: "[.tiles.items[]]"',
    ]
    dash = dash or "-   "
    call = "".join(
        f"  {dash if place == 0 else ' ' * len(dash)}{entries[index]}\n{blanks[place]}"
        for place, index in enumerate(order)
    )
    before = (
        f"{blanks[4]}apiVersion: templates.krateo.io/v1\n{blanks[5]}kind: RESTAction\nmetadata: {{name: x}}\nspec:\n"
    )
    after = f"  other: kept\n{blanks[8]}---\na:   [1,   2]\n...\n"
    text = f"{before}  api:\n{call}  filter: '{{t: (.tiles | reverse)}}' # gone\n{blanks[7]}{after}"
    result, [finding] = migrate(text)
    assert finding.status == "migrated", finding
    assert result.startswith(before)
    assert result.endswith(after)
    kept = [line for line in call.splitlines() if line.strip().startswith("#") or "continueOnError" in line]
    assert [
        line for line in kept if line.replace(dash, " " * len(dash)) not in result.replace(dash, " " * len(dash))
    ] == []
    names = re.findall(r"^  [- ]+([a-zA-Z]+):", result.partition("api:\n")[2].partition("  filter:")[0], re.MULTILINE)
    expected = [["name"], ["endpointRef", "name", "namespace", "path", "exportJwt"], ["continueOnError"], []]
    assert names == [name for index in order for name in expected[index]]
    assert migrate(result)[0] == result


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        (TEMPLATE.replace("  # then what", "  {{- if .Values.x }}\n  # then what").replace(
            "  filter: |-", "  {{- end }}\n  filter: |-"),
         12, "template actions on lines of their own: what they leave cannot be told"),
        (TEMPLATE.replace('"{{ .Values.portal.page }}"', "{{ .Values.portal.page | quote }}"),
         29, "line 1, column 66: `{{ .Values.portal.page | quote }}` is not recognised here"),
        (PLAIN.replace("  api:\n    - name: tiles", "  api: [{name: tiles").replace("path: ", ", path: ").replace(
            "      continueOnError: true", "  }]"), 7, AS_JSON),
        (re.sub(r"    - name: tiles\n.*\n.*\n", "    - {name: tiles, path: /apis/a.io/v1/bs}\n", PLAIN),
         8, AS_JSON),
        (PLAIN.replace("filter: ", "filter: &filter ") + "  again: *filter\n",
         2, "the text is written in a way that cannot be changed line by line"),
        (PLAIN.replace("    - name", "    - <<: {verb: GET}\n      name"),
         8, "some of its keys come from elsewhere, with `<<`: write them out"),
        (f"{PLAIN}more:\n- &a0 x\n" + "".join(f"- &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)),
         2, "the text is written in a way that cannot be changed line by line"),
        (PLAIN.replace("/apis/widgets", "/apis//widgets").replace("tiles:", "tiles: .slice.page,  a:"),
         7, "it pages something that is no list of the Kubernetes API"),
    ],
)  # fmt: skip
def test_what_cannot_be_changed_is_left_alone_and_says_where(text: str, line: int, why: str) -> None:
    result, [finding, *_] = migrate(text)
    assert (finding.status, finding.line, finding.remarks) == ("left alone", line, (why,))
    assert result == text


ENDPOINT = "      endpointRef: {name: cache, namespace: a}\n"
PRESENTER = ENDPOINT.replace("cache", "resources-presenter-endpoint")


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/resources?group=apps", ""),
        ("/resources", f"      verb: POST\n      payload: ${{ {{group}} }}\n{PRESENTER}"),
        ("/resources/a:b", PRESENTER),
        ("${ .path }", PRESENTER),
    ],
)
def test_a_call_to_the_presenter_is_known_however_it_is_written(path: str, more: str) -> None:
    by_hand = PLAIN.replace("/apis/widgets.templates.krateo.io/v1beta1/panels\n", f"{path}\n{more}")
    text, [finding] = migrate(by_hand)
    assert (text, finding.status) == (by_hand, "already migrated")


def test_what_is_called_like_it_is_not_the_presenter() -> None:
    for path in (
        *("/resourcesquota", "/apis/a/v1/resources", '${ "/apis/resources?" }', '${ "/apis/v1/" + .resources }'),
        *('${ "/apis/v1/" + .a["resources"] }', "/resources"),
    ):
        text = PLAIN.replace("/apis/widgets.templates.krateo.io/v1beta1/panels", path).replace("sort_by", "f")
        assert migrate(text)[1][0].status == "nothing to do", path


def test_pages_stay_where_a_call_merely_reads_resources() -> None:
    reads = PLAIN.replace("/apis/widgets.templates.krateo.io/v1beta1/panels", '${ "/apis/" + .resources }')
    text = f"{reads.replace('sort_by', 'f')}---\n{WIDGET}---\n{PAGE}"
    assert migrate(text)[0] == text


def test_what_snowplow_filters_by_the_users_rights_is_left_alone() -> None:
    filtered = "      continueOnError: true\n      userAccessFilter: {verb: list, group: x, resource: panels}\n"
    text, [finding] = migrate(PLAIN.replace("      continueOnError: true\n", filtered))
    assert finding.status == "left alone"
    assert "userAccessFilter: a call that has it may not have exportJwt" in str(finding)
    assert "resources-presenter" not in text


def test_a_refusal_is_as_long_as_one_can_read() -> None:
    long = " or ".join(f".kind == {number:04}" for number in range(1000))
    _, [finding] = migrate(PLAIN.replace("sort_by(.metadata.name)", f"map(select({long})) | sort_by(.metadata.name)"))
    assert finding.status == "left alone"
    assert len(str(finding)) < 400


def test_the_rest_of_what_was_begun_by_hand_is_migrated() -> None:
    begun = TEMPLATE.replace(
        "  api:\n", '  api:\n  - name: done\n    path: ${ "/resources?group=apps&limit=" + "9" }\n' + ENDPOINT[2:]
    )
    text, [finding] = migrate(begun)
    assert finding.status == "migrated"
    assert "iterator" not in text
    assert '    path: ${ "/resources?group=apps&limit=" + "9" }\n' in text
    assert migrate(text)[1][0].status == "already migrated"
    text, [finding] = migrate(begun.replace("| reverse", "| map(f)"))
    assert (finding.status, finding.line) == ("left alone", 33)


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace(" | sort_by(.metadata.name)", ""),
        PLAIN.replace(" | sort_by(.metadata.name)", " | map(.spec) | {a: .} | .a + [1]"),
        PLAIN.replace("/apis/", "/apps/").replace(" | sort_by(.metadata.name)", ""),
        re.sub(r"  filter:.*\n", "", PLAIN),
        WIDGET,
        PAGE,
        "",
        "# nothing\n---\n",
    ],
)  # fmt: skip
def test_what_is_something_else_is_not_spoken_of_as_old(text: str) -> None:
    result, findings = migrate(text)
    assert result == text
    assert [finding.status for finding in findings] == (["nothing to do"] if "RESTAction" in text else [])


def test_a_malformed_restaction_is_left_alone() -> None:
    text = PLAIN.replace("name: tiles", "name: [tiles]")
    result, [finding] = migrate(text)
    assert result == text
    assert str(finding).startswith("file.yaml:2: RESTAction portal-tiles: left alone: spec.api[0].name is ")


def test_the_items_of_a_list_are_migrated_where_they_stand() -> None:
    def item(text: str) -> str:
        return "".join(f"{'  ' if number else '- '}{line}" for number, line in enumerate(text.splitlines(True)))

    head, tail = "# saved\napiVersion: v1\nitems:\n", 'kind: List # of what?\nmetadata:\n  resourceVersion: ""\n'
    other = "- kind: ConfigMap\n  data: {a:   b}\n- just text\n"
    text, findings = migrate(head + item(PLAIN) + other + item(WIDGET) + item(PAGE) + tail)
    assert [(finding.line, finding.name, finding.status) for finding in findings] == [
        (5, "RESTAction portal-tiles", "migrated"),
        (findings[1].line, "Page home", "page removed"),
    ]
    assert "page: 1 # the first" not in text
    assert text.startswith(head + item(migrate(PLAIN)[0]) + other + item(WIDGET))
    assert text.endswith(tail)
    assert migrate(text)[0] == text


def test_an_item_that_stands_in_a_list_twice_is_left_alone() -> None:
    item = "".join(f"  {line}" for line in PLAIN.splitlines(True))
    text = f"kind: List\nitems:\n- &item\n{item}- *item\n"
    result, findings = migrate(text)
    assert result == text
    assert {finding.status for finding in findings} == {"left alone"}


# -- widgets -----------------------------------------------------------------------------------------------------------


def test_widgets_that_show_it_lose_their_page() -> None:
    text, findings = migrate(f"{PLAIN}---\n{WIDGET}---\n{PAGE}")
    assert [(finding.name, finding.status) for finding in findings] == [
        ("RESTAction portal-tiles", "migrated"),
        ("Page home", "page removed"),
    ]
    assert findings[1].remarks == tuple(
        f"{name} keeps its page: it is not among the files, so what it shows cannot be told"
        for name in (
            "datagrids demo-system/other-grid",
            "datagrids prod-system/tiles-grid",
            "tables demo-system/tiles-grid",
        )
    )
    assert text.endswith(
        PAGE.replace("        page: 1 # the first\n", "")
        .replace("{id: again, name: tiles-grid, resource: datagrids, slice: {page: 1, perPage: 5}}",
                 "{id: again, name: tiles-grid, resource: datagrids, slice: {perPage: 5}}")
        .replace('slice: {perPage: 5, "page": 1}', "slice: {perPage: 5}")
    )  # fmt: skip


def test_widgets_are_found_in_other_files() -> None:
    manifests = [Manifest.parse(text, f"{name}.yaml") for name, text in (("page", PAGE), ("a", WIDGET), ("b", PLAIN))]
    page, widget, action = migrated(manifests)
    assert "page: 1 # the first" not in page.text
    assert widget.text == WIDGET
    assert action.text != PLAIN
    assert migrated(manifests[:2])[0].text == PAGE  # whatever it shows is not known to be migrated


# -- lists and addresses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/pods", Listing("core", "v1", "pods")),
        ("/api/v1/namespaces", Listing("core", "v1", "namespaces")),
        ("/api/v1/namespaces/team/pods", Listing("core", "v1", "pods", "team")),
        ("/apis/apps/v1/deployments", Listing("apps", "v1", "deployments", ALL)),
        ("/apis/apps/v1/namespaces/team/deployments?a=b", Listing("apps", "v1", "deployments", "team", query="a=b")),
        ("/api/v1/namespaces/team", None),
        ("/api/v1/namespaces/team/status", None),
        ("/api/v1/namespaces/team/pods/one", None),
        ("/apis/apps/v1/namespaces/*/deployments", None),
        ("/apis/apps/v1/namespaces//deployments", None),
        ("/apis/apps/v1", None),
        ("/resources?group=apps", None),
        ("https://example.org/api/v1/pods", None),
    ],
)
def test_paths_of_lists(path: str, expected: Listing | None) -> None:
    assert listing(path) == expected
    assert listing(parse(f'"{path}"')) == expected


def test_a_path_that_is_put_together() -> None:
    for text in (
        '"/api/v1/namespaces/" + (.a) + "/pods"',
        '"/api/v1/namespaces/\\(.a)/pods"',
        '("/api/v1" + "/namespaces/") + (.a|tostring) + "/pods"',
    ):
        found = listing(parse(text))
        assert found
        assert found.computed == parse(".a")
    for text in (
        '"/apis/" + .group + "/v1/pods"',
        '"/api/v1/namespaces/" + .a + .b + "/pods"',
        ".path",
        '"/api/v1/" + .x',
    ):
        assert listing(parse(text)) is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("labelSelector=a%2Fb%3Dx", [Equal(("metadata", "labels", "a/b"), "x")]),
        ("labelSelector=a==x", [Equal(("metadata", "labels", "a"), "x")]),
        ("labelSelector=a/b=,&resourceVersion=0", [Equal(("metadata", "labels", "a/b"), "")]),
        ("fieldSelector=metadata.name%3Dx", [Equal(("metadata", "name"), "x")]),
        ("labelSelector=", []),
        ("labelSelector=a", "`a` in the labelSelector"),
        ("labelSelector=a!=b", "`a!=b` in the labelSelector"),
        ("fieldSelector=status.phase=Running", "`status.phase=Running` in the fieldSelector"),
        ("watch=true", "`watch=true`"),
    ],
)  # fmt: skip
def test_query_strings(query: str, expected: list[Equal] | str) -> None:
    found = Listing("core", "v1", "pods", query=query)
    if isinstance(expected, str):
        with pytest.raises(NotAList, match=re.escape(expected)):
            found.conditions()
    else:
        assert list(found.conditions()) == expected


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Co"]), min_size=1, max_size=12))
def test_any_label_arrives_as_it_is(value: str) -> None:
    text = PLAIN.replace("path: /apis", "path: >-\n        /apis").replace(
        re.findall("filter: .*", PLAIN)[0],
        "filter: |\n    { tiles: [.tiles.items[]? | select(.metadata.labels[\"a/b\"] == "
        + "".join(rf"\u{ord(unit):04x}" for unit in value).join('""') + ")] }",
    )  # fmt: skip
    if any(ord(character) > 0xFFFF for character in value):
        return
    manifest = Manifest.parse(migrate(text)[0])
    program = expression(manifest.only().calls[0].path)
    assert program
    [url, *_] = [node.value for node in walk(parse(program)) if isinstance(node, Constant)]
    assert isinstance(url, str)
    assert re.fullmatch(r"[!-~]+", url)
    assert parse_list_query(url.partition("?")[2].encode()).labels == {"a/b": value}
    assert f'{{"a/b":"{value}"}}'.translate({34: None, 92: None}) in unquote(url).translate({34: None, 92: None})


# -- the command -------------------------------------------------------------------------------------------------------


def run(*arguments: str | Path, cwd: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return processes.run("restaction", "migrate", *arguments, home=cwd, stdin=stdin)


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    directory = tmp_path / "manifests"
    (directory / "deep").mkdir(parents=True)
    (directory / "action.yaml").write_text(PLAIN)
    (directory / "deep" / "widgets.yml").write_text(f"{WIDGET}---\n{PAGE}")
    (directory / "other.yaml").write_text("kind: ConfigMap\n")
    (directory / "notes.txt").write_text("kind: [")
    return directory


def test_what_would_change_is_printed_as_a_diff(manifests: Path) -> None:
    done = run("manifests", cwd=manifests.parent)
    assert done.returncode == 0
    assert done.stdout.startswith("--- manifests/action.yaml\n+++ manifests/action.yaml\n@@ ")
    assert "\n-        page: 1 # the first\n" in done.stdout
    assert done.stderr.splitlines()[0] == "manifests/action.yaml:2: RESTAction portal-tiles: migrated"
    assert "\nmanifests/deep/widgets.yml:17: Page home: page removed\n" in done.stderr
    assert (manifests / "action.yaml").read_text() == PLAIN
    patched = subprocess.run(
        ["git", "apply", "-p0"], cwd=manifests.parent, input=done.stdout, text=True, capture_output=True, check=False
    )
    assert patched.returncode == 0, patched.stderr
    again = run("manifests", cwd=manifests.parent)
    assert (again.returncode, again.stdout) == (0, "")
    assert again.stderr.startswith("manifests/action.yaml:2: RESTAction portal-tiles: already migrated\n")


def test_files_are_changed_in_place_and_only_those_that_change(manifests: Path) -> None:
    action, other = manifests / "action.yaml", manifests / "other.yaml"
    action.chmod(0o640)
    before = other.stat()
    (manifests / "link.yaml").symlink_to("action.yaml")
    done = run("--in-place", manifests / "link.yaml", other, cwd=manifests)
    assert (done.returncode, done.stdout) == (0, "")
    assert action.read_text() == migrate(PLAIN)[0]
    assert action.stat().st_mode & 0o7777 == 0o640
    assert (manifests / "link.yaml").is_symlink()
    assert (other.stat().st_ino, other.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert sorted(path.name for path in manifests.iterdir()) == [
        "action.yaml",
        "deep",
        "link.yaml",
        "notes.txt",
        "other.yaml",
    ]


def test_files_are_written_elsewhere_but_never_over_others(manifests: Path) -> None:
    done = run("--output", "new", "manifests", cwd=manifests.parent)
    new = manifests.parent / "new"
    assert done.returncode == 0
    assert sorted(str(path.relative_to(new)) for path in new.rglob("*.y*ml")) == ["action.yaml", "deep/widgets.yml"]
    assert (new / "action.yaml").read_text() == migrate(PLAIN)[0]
    assert (manifests / "action.yaml").read_text() == PLAIN
    (new / "action.yaml").unlink()
    again = run("--output", "new", "manifests", cwd=manifests.parent)
    assert again.returncode == 2
    assert again.stderr == "presenter: new/deep/widgets.yml is there already: --output writes new files only\n"
    assert not (new / "action.yaml").exists()


def test_no_file_is_changed_when_one_cannot_be(manifests: Path) -> None:
    (manifests / f"{'z' * 250}.yaml").write_text(PLAIN)  # so long that there is no room for a name beside it
    done = run("--in-place", "manifests", cwd=manifests.parent)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"presenter: \S+/z{250}\.yaml: cannot be written: File name too long\n", done.stderr)
    assert (manifests / "action.yaml").read_text() == PLAIN
    assert list(manifests.rglob(".*")) == []


def test_what_is_read_only_is_for_root_to_change(manifests: Path) -> None:
    (manifests / "action.yaml").chmod(0o444)
    done = run("--in-place", "action.yaml", cwd=manifests)
    changed = (manifests / "action.yaml").read_text() != PLAIN
    assert (done.returncode, changed) == ((0, True) if os.geteuid() == 0 else (2, False)), done.stderr
    assert (manifests / "action.yaml").stat().st_mode & 0o777 == 0o444


def test_a_directory_that_cannot_be_made_is_named(manifests: Path) -> None:
    done = run("--output", "notes.txt/new", "action.yaml", cwd=manifests)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "presenter: notes.txt/new/action.yaml: cannot be written: Not a directory\n"


def test_what_is_written_is_for_all_who_may_read_what_this_user_writes(manifests: Path) -> None:
    assert run("--output", "new", "action.yaml", cwd=manifests).returncode == 0
    (manifests / "usual").touch()
    assert (manifests / "new" / "action.yaml").stat().st_mode == (manifests / "usual").stat().st_mode


def test_the_exit_status_tells_what_there_is_left_to_do(manifests: Path) -> None:
    old = PLAIN.replace("panels\n", "panels?limit=5\n")
    for arguments, stdin, status, says in [
        (["-"], PLAIN, 0, "<stdin>:2: RESTAction portal-tiles: migrated"),
        (["-"], "", 0, "there is no RESTAction in these files\n"),
        (["-"], old, 1, "<stdin>:9: RESTAction portal-tiles: left alone: `limit=5`"),
        (["-"], "a: [", 2, "<stdin>:"),
        (["missing.yaml"], "", 2, "missing.yaml: cannot be read: No such file"),
        (["--in-place", "-"], PLAIN, 2, "presenter: --in-place cannot change standard input"),
        (["--in-place", "--output", "x", "action.yaml"], "", 2, "presenter: --in-place and --output"),
        (["--endpoint", "cache", "action.yaml"], "", 2, "presenter: --endpoint is 'cache': allowed is NAMESPACE/NAME"),
        (["--endpoint", "infra/cache", "action.yaml"], "", 0, "action.yaml:2: RESTAction portal-tiles: migrated"),
    ]:
        done = run(*arguments, cwd=manifests, stdin=stdin)
        assert (done.returncode, done.stderr[: len(says)]) == (status, says), done.stderr
        assert "Traceback" not in done.stderr
