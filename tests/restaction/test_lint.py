from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from presenter.restaction.gojq import LACKING
from presenter.restaction.jq import Jq
from presenter.restaction.lint import lint
from presenter.restaction.manifest import Manifest
from presenter.restaction.migrator import migrated
from presenter.restaction.rules.subject import Finding
from tests.e2e import processes
from tests.restaction.world import call
from tests.restaction.world import text as text_of

GUIDE = Path(__file__).with_name("guide")

GOOD = """\
# Panels of the start page, page by page.
apiVersion: templates.krateo.io/v1
kind: RESTAction
metadata:
  name: start-panels
  namespace: {{ .Release.Namespace }}
spec:
  api:
    - name: panels
      endpointRef:
        name: resources-presenter-endpoint
        namespace: {{ .Release.Namespace }}
      exportJwt: true
      path: >
        ${
          "/resources?group=widgets.templates.krateo.io&resource=panels&namespace=*&raw=true" as $panels
          | "&labels={\\"krateo.io/portal-page\\":\\"start\\"}" as $labels
          | if (.slice.cursor // "") != "" then
              $panels + "&limit=" + (.slice.perPage | tostring) + "&cursor=" + .slice.cursor + $labels
            elif ((.slice.perPage // "") | . != "" and . != "NULL") then
              $panels + "&limit=" + (.slice.perPage | tostring) + $labels
            else
              $panels + "&limit=5000" + $labels
            end
        }
  filter: >
    {
      panels: [.panels.items[] | .raw],
      slice: { cursor: .panels.cursor, perPage: .slice.perPage }
    }
"""

HEAD, ITS_CALL = GOOD.split("    - name: panels\n")
CALL, FILTER = ITS_CALL.split("  filter: >\n")

# What is changed in the good one; the rule that finds it, its level, and text of the line it names.
CHANGES: dict[str, tuple[str, str, str, str, str]] = {
    "limit above the maximum": ("limit=5000", "limit=5001", "bad-parameter", "error", "limit=5001"),
    "limit of nothing": ("limit=5000", "limit=0", "bad-parameter", "error", "limit=0"),
    "labels that are not JSON": ('\\"start\\"}', "start}", "bad-parameter", "error", "&labels="),
    "labels that are no strings": ('\\"start\\"}', "1}", "bad-parameter", "error", "&labels="),
    "an ampersand in a label": ('\\"start\\"}', '\\"a&b\\"}', "bad-parameter", "error", "&labels="),
    "unknown parameter": ("&raw=true", "&raw=true&page=1", "bad-parameter", "error", "page=1"),
    "given twice": ("&raw=true", "&raw=true&raw=true", "bad-parameter", "error", "path:"),
    "unknown sort": ("&raw=true", "&raw=true&sort_by=age", "bad-parameter", "error", "sort_by="),
    "unknown order": ("&raw=true", "&raw=true&sort_order=up", "bad-parameter", "error", "sort_order="),
    "name beside a part of it": ("&raw=true", "&raw=true&name=a&name_contains=b", "bad-parameter", "error", "path:"),
    "no group": ("group=widgets.templates.krateo.io&", "", "bad-parameter", "error", "path:"),
    "upper-case plural": ("resource=panels", "resource=Panels", "bad-parameter", "error", "resource=Panels"),
    "no boolean": ("&raw=true", "&raw=yes", "bad-parameter", "error", "raw=yes"),
    "no namespace": ("&namespace=*", "", "namespace-forgotten", "warning", "/resources?"),
    "empty namespace": ("&namespace=*", "&namespace=", "namespace-forgotten", "warning", "/resources?"),
    "no raw": ("&raw=true", "", "raw-missing", "error", "/resources?"),
    "no raw on one page": (
        '$panels + "&limit=5000"',
        '($panels | sub("&raw=true"; "")) + "&limit=5000"',
        "raw-missing",
        "error",
        "/resources?",
    ),
    "no endpoint": (
        "      endpointRef:\n        name: resources-presenter-endpoint\n        namespace: {{ .Release.Namespace }}\n",
        "",
        "endpoint-missing",
        "error",
        "- name: panels",
    ),
    "no token": ("exportJwt: true", "exportJwt: false", "token-missing", "error", "- name: panels"),
    "not a GET": ("exportJwt: true", "exportJwt: true\n      verb: POST", "wrong-verb", "error", "verb: POST"),
    "another sort": (
        '"&cursor=" + .slice.cursor',
        '"&sort_by=name&cursor=" + .slice.cursor',
        "cursor-of-another-sort",
        "error",
        "&cursor=",
    ),
    "another filter": (
        '.slice.cursor + $labels\n',
        ".slice.cursor\n",
        "cursor-of-another-sort",
        "error",
        "&cursor=",
    ),
    "null is not empty": ('(.slice.cursor // "") != ""', '.slice.cursor? != ""', "null-limit", "warning", "limit="),
    "a number in a path": (
        '"&limit=" + (.slice.perPage | tostring)',
        '"&limit=" + .slice.perPage',
        "path-fails",
        "error",
        "path:",
    ),
    "several paths": ('"&limit=5000" + $labels', '"&limit=5000" + $labels, "b"', "path-fails", "error", "path:"),
    "a verb in small letters": (
        "exportJwt: true",
        "exportJwt: true\n      verb: get",
        "verb-case",
        "error",
        "verb: get",
    ),
    "filtered by the user's rights": (
        "exportJwt: true",
        "exportJwt: true\n      userAccessFilter: {verb: list, group: apps, resource: panels}",
        "token-beside-filter",
        "error",
        "exportJwt: true",
    ),
    "a hash": ('\\"start\\"}', '\\"start\\"}#1', "unsendable", "error", "path:"),
    "cursor forgotten": ("cursor: .panels.cursor,", "", "cursor-lost", "error", "filter:"),
    "cut again": (".panels.items[]", ".panels.items[.slice.offset:][]", "page-beside-cursor", "error", ".offset"),
    "cut again by way of a variable": (
        "panels: [.panels.items[] | .raw]",
        "panels: (.slice as $s | [.panels.items[$s.offset:][] | .raw])",
        "page-beside-cursor",
        "error",
        ".offset",
    ),
    "not jq": ("[.panels.items[] | .raw]", "[.panels.items[ | .raw]", "not-compiling", "error", "filter:"),
    "not jq in the path": ("else\n", "els\n", "not-compiling", "error", "path:"),
    "a brace in a string": ('\\"start\\"}', '\\"start\\"', "text-around", "error", "${"),
    "text before": ("${", "/api${", "text-around", "error", "${"),
    "not in gojq": (".panels.items[]", "(.panels | keys_unsorted, .items[])", "not-in-gojq", "error", "keys_unsorted"),
    "not in gojq as a variable": ("panels: [", "at: $__loc__, panels: [", "not-in-gojq", "error", "__loc__"),
    "environment": ("panels: [", "home: env.HOME, panels: [", "environment-read", "warning", "env"),
    "environment as a variable": ("panels: [", "home: $ENV.HOME, panels: [", "environment-read", "warning", "$ENV"),
    "look-ahead": ("| .raw]", '| .raw | select(.kind | test("^(?!x)"))]', "regex-not-in-re2", "error", "test"),
    "back reference": ("| .raw]", r'| .raw | select(.kind | test("(a)\\1"))]', "regex-not-in-re2", "error", "test"),
    "flag": ("| .raw]", '| .raw | select(.kind | test("a b"; "x"))]', "regex-not-in-re2", "error", "test"),
}  # fmt: skip


async def found_in(tmp_path: Path, text: str) -> list[Finding]:
    file = tmp_path / "restaction.yaml"
    file.write_text(text)
    findings, errors, checked = await lint([file])
    assert errors == []
    assert checked == len(re.findall('kind"?: "?RESTAction', text))
    return findings


async def test_a_good_one_is_clean(tmp_path: Path) -> None:
    assert await found_in(tmp_path, GOOD) == []


@pytest.mark.parametrize("change", CHANGES)
async def test_what_goes_wrong_is_found_on_its_line(tmp_path: Path, change: str) -> None:
    before, after, rule, level, near = CHANGES[change]
    assert before in GOOD
    text = GOOD.replace(before, after)
    findings = await found_in(tmp_path, text)
    assert {(finding.rule, finding.level) for finding in findings} == {(rule, level)}, findings
    lines = [text.splitlines()[finding.line - 1] for finding in findings]
    assert any(near in line for line in lines), lines
    assert all(finding.what and finding.remedy for finding in findings)


async def test_what_reads_like_something_wrong_and_is_not_is_left_alone(tmp_path: Path) -> None:
    for before, after in [
        ("panels: [.panels.items[] | .raw]", "panels: [.panels.items[] | .raw | {page: .spec.page, offset: .offset}]"),
        ("&raw=true", "&raw=TRUE&sort_by=created_at&sort_order=desc"),
        ('\\":\\"start', '\\": \\"the start'),
        ('(.slice.cursor // "") != ""', 'if .slice.page then false else (.slice.cursor // "") != "" end'),
        ("namespace=*", "namespace={{ .Release.Namespace }}"),
        ("limit=5000", "limit={{ .Values.limit }}"),
        ("resource=panels", "resource={{ .Values.plural | lower }}"),
        ("group=widgets.templates.krateo.io", "group={{ .Values.group }}"),
        ('"&limit=5000" + $labels', '"&limit=5000&sort_order=desc" + $labels'),
        ('"&limit=5000" + $labels', '"&limit=5000&since=" + (.since | @uri) + $labels'),
        ('"&limit=5000" + $labels', '"&limit=5000&composition_id=" + .composition + $labels'),
        (r'"krateo.io/portal-page\":\"start\"}"', r'"krateo.io%2Fportal-page\":\"a%26b%20c\"}"'),
        ("| .raw]", r'| .raw | select(.kind | test("^\\\\1\\141(?i)x$"; "gi"))]'),
        ("| .raw]", "| .raw | def debug: .; debug]"),
        ("| .raw]", '| .raw | .debug, .input, "env"]'),
    ]:
        assert before in GOOD
        assert await found_in(tmp_path, GOOD.replace(before, after)) == [], after


def _reading(name: str, **fields: object) -> str:
    """A RESTAction with a call that reads what the call `first` gives, which is the second of two."""
    reading = call(name, '${ "/a/" + (.first.id | tostring) }', **fields)
    return text_of(reading, call("first", "/b"), call("third", "/c", dependsOn={"name": "first"}))


async def test_a_call_must_depend_on_what_it_reads(tmp_path: Path) -> None:
    [finding] = await found_in(tmp_path, _reading("second"))
    assert (finding.rule, finding.level, finding.remedy) == (
        "undeclared-dependency",
        "error",
        "add dependsOn: {name: first}",
    )
    for name in "first", "third":
        assert await found_in(tmp_path, _reading("second", dependsOn={"name": name})) == []
    each = {"name": "third", "iterator": "[.first]"}
    assert await found_in(tmp_path, _reading("second", dependsOn=each)) == []
    later = text_of(
        call("one", "/a"),
        call("two", "/b", dependsOn={"name": "one"}),
        call("three", '${ "/" + .two }', headers=["${ .two }"], payload="${ {two} }", dependsOn={"name": "one"}),
        call("four", "/c", dependsOn={"name": "one", "iterator": ".two"}),
        call("five", '${ "/" + .one + .own }', filter=".two", dependsOn={"name": "two"}),
    )
    findings = await found_in(tmp_path, later)
    assert [finding.what.partition(" reads what two gives")[0] for finding in findings] == ["four", "three"]


async def test_only_the_first_of_two_calls_of_one_name_is_made(tmp_path: Path) -> None:
    [finding] = await found_in(tmp_path, text_of(call("one", "/a"), call("one", "/b")))
    assert (finding.rule, finding.level) == ("name-twice", "error")


OTHER_CALL = CALL.replace("resource=panels", "resource=buttons")


async def test_a_cursor_serves_one_call(tmp_path: Path) -> None:
    text = f"{HEAD}    - name: panels\n{CALL}    - name: buttons\n{OTHER_CALL}  filter: >\n{FILTER}"
    findings = await found_in(tmp_path, text)
    [finding] = findings
    assert finding.rule == "cursor-of-another-call"
    assert "buttons is given the cursor of panels, with another resource" in finding.what
    assert finding.line > text[: text.index("- name: buttons")].count("\n")


async def test_documents_are_missed_only_of_the_call_whose_they_are(tmp_path: Path) -> None:
    counted = OTHER_CALL.replace("&raw=true", "")
    text = f"{HEAD}    - name: panels\n{CALL}    - name: buttons\n{counted}  filter: >\n{FILTER}"
    text = text.replace("      panels: [", "      buttons: [.buttons.items[] | .name],\n      panels: [")
    rules = {finding.rule for finding in await found_in(tmp_path, text)}
    assert "raw-missing" not in rules
    text = text.replace(".buttons.items[] | .name]", ".buttons.items[] | .raw.metadata.name]")
    assert "raw-missing" in {finding.rule for finding in await found_in(tmp_path, text)}


async def test_the_filter_of_a_call_may_read_documents_too(tmp_path: Path) -> None:
    own = (
        "      exportJwt: true\n      filter: '{names: [.panels.items[].raw.metadata.name], cursor: .panels.cursor}'\n"
    )
    text = GOOD.replace("      exportJwt: true\n", own).replace("[.panels.items[] | .raw]", ".panels.names")
    assert await found_in(tmp_path, text) == []
    findings = await found_in(tmp_path, text.replace("&raw=true", ""))
    assert [finding.rule for finding in findings] == ["raw-missing"]


async def test_a_finding_is_one_printable_line(tmp_path: Path) -> None:
    findings = await found_in(tmp_path, GOOD.replace("limit=5000", r"limit=5\n0\u001b[31m"))
    assert {finding.rule for finding in findings} == {"bad-parameter", "unsendable"}
    assert all(str(finding).isprintable() for finding in findings)


async def test_a_program_too_deep_to_read_is_no_reason_to_fail(tmp_path: Path) -> None:
    deep = "[.panels.items[] | .raw" + " | ." * 3000 + "]"
    assert await found_in(tmp_path, GOOD.replace("[.panels.items[] | .raw]", deep)) == []


async def test_what_snowplow_does_not_have_is_there_in_jq(jq: Jq) -> None:
    names = {name.partition("/")[0] for name in await jq.first("builtins", None)}
    assert LACKING.keys() - names == {"$__loc__"}
    await jq.check("$__loc__")


async def test_other_calls_are_held_to_snowplows_jq_alone(tmp_path: Path) -> None:
    old = (GUIDE / "old.yaml").read_text()
    assert await found_in(tmp_path, old) == []
    findings = await found_in(tmp_path, old.replace("iterator: .spaces", "iterator: .spaces[]"))
    assert [(finding.rule, finding.line) for finding in findings] == [("iterator-without-array", 15)]
    findings = await found_in(tmp_path, old.replace("[.spaces.items[] |", "[.spaces | keys_unsorted | .[] |"))
    assert [finding.rule for finding in findings] == ["not-in-gojq"]


async def test_a_call_for_each_item_is_looked_at_with_an_item(tmp_path: Path) -> None:
    path = """${ "/resources?group=apps&namespace=" + . + "&limit=9999" }"""
    old = (GUIDE / "old.yaml").read_text()
    text = old.replace('${ "/apis/widgets.templates.krateo.io/v1beta1/namespaces/" + (.) + "/panels" }', path)
    assert {finding.rule for finding in await found_in(tmp_path, text)} == {"bad-parameter", "endpoint-missing"}


async def test_the_guides_own_draws_one_warning(tmp_path: Path) -> None:
    [finding] = await found_in(tmp_path, (GUIDE / "new.yaml").read_text())
    assert (finding.rule, finding.level) == ("null-limit", "warning")
    assert '(.slice.cursor // "") != ""' in finding.remedy


async def test_a_post_has_its_parameters_in_the_body(tmp_path: Path) -> None:
    body = """'{"group": "widgets.templates.krateo.io", "namespace": "*", "raw": true, "limit": 50}'"""
    post = f"      path: /resources\n      verb: POST\n      payload: {body}\n"
    text = GOOD.replace(CALL[CALL.index("      path: >") :], post)
    assert await found_in(tmp_path, text) == []
    text = text.replace("exportJwt: true", "exportJwt: false")
    assert [finding.rule for finding in await found_in(tmp_path, text)] == ["token-missing"]


async def test_a_literal_path_ends_with_its_line(tmp_path: Path) -> None:
    literal = "      path: >\n        /resources?group=apps&namespace=*\n"
    expression = CALL[CALL.index("      path: >") :]
    text = GOOD.replace(expression, literal).replace("| .raw]", "| .name]")
    [finding] = await found_in(tmp_path, text)
    assert (finding.rule, finding.remedy) == ("unsendable", "write >- instead of >")
    assert await found_in(tmp_path, text.replace("path: >\n", "path: >-\n")) == []


async def test_a_line_is_never_that_of_another_document(tmp_path: Path) -> None:
    forgotten = GOOD.replace("&namespace=*", "").replace("{{ .Release.Namespace }}", "a")
    in_pieces = forgotten.replace('"/resources?', '"/resources" + "?')
    items = "".join(
        f"{'  ' if number else '- '}{line}" for number, line in enumerate(in_pieces.splitlines(keepends=True))
    )
    for before, text in ("", f"{in_pieces}---\n{forgotten}"), ("items:\n", f"{items}{items}kind: List\n"):
        lines = ["", *(before + text).splitlines()]
        first, second = await found_in(tmp_path, before + text)
        assert "path: >" in lines[first.line]
        assert (lines[second.line].strip()[:12], first.line < second.line) in {
            ('"/resources?', True),
            ("path: >", True),
        }


async def test_what_helm_has_to_fill_in_first_is_said_to_be_unchecked(tmp_path: Path) -> None:
    [finding] = await found_in(tmp_path, GOOD.replace("[.panels.items[] | .raw]", "{{ .Values.panels }}"))
    assert (finding.rule, finding.level) == ("not-checked", "warning")


WIDGETS = """\
---
apiVersion: widgets.templates.krateo.io/v1beta1
kind: DataGrid
metadata:
  name: start-grid
  namespace: {{ .Release.Namespace }}
spec:
  apiRef:
    name: start-panels
---
apiVersion: widgets.templates.krateo.io/v1beta1
kind: Page
metadata:
  name: start
  namespace: {{ .Release.Namespace }}
spec:
  resourcesRefs:
    items:
      - id: grid
        resource: datagrids
        name: start-grid
        slice:
          page: 1
          perPage: 5
      - id: other
        resource: datagrids
        name: other-grid
        slice:
          page: 1
"""


async def test_a_widget_that_pages_by_number_is_found(tmp_path: Path) -> None:
    [finding] = await found_in(tmp_path, GOOD + WIDGETS)
    assert (finding.rule, finding.remedy) == ("page-beside-cursor", "remove page, and leave perPage")
    assert "page: 1" in (GOOD + WIDGETS).splitlines()[finding.line - 1]
    assert (
        await found_in(tmp_path, GOOD + WIDGETS.replace("          page: 1\n          perPage", "          perPage"))
        == []
    )


async def test_a_widget_that_asks_for_more_than_the_presenter_gives_is_found(tmp_path: Path) -> None:
    large = WIDGETS.replace("          page: 1\n", "").replace("perPage: 5", "perPage: 5001")
    [finding] = await found_in(tmp_path, GOOD + large)
    assert (finding.rule, finding.level) == ("page-too-large", "error")
    assert "perPage: 5001" in (GOOD + large).splitlines()[finding.line - 1]
    assert await found_in(tmp_path, GOOD + large.replace("5001", "5000")) == []
    bounded = GOOD.replace("(.slice.perPage | tostring)", "([.slice.perPage, 5000] | min | tostring)")
    assert await found_in(tmp_path, bounded + large) == []
    [finding] = await found_in(tmp_path, bounded.replace("raw=true", "a=b") + large)
    assert finding.rule == "bad-parameter"


async def test_a_widget_may_page_by_number_where_its_restaction_does(tmp_path: Path) -> None:
    widgets = WIDGETS.replace("start-panels", "home-tiles").replace("{{ .Release.Namespace }}", "krateo-system")
    assert await found_in(tmp_path, (GUIDE / "old.yaml").read_text() + widgets) == []
    assert len(await found_in(tmp_path, (GUIDE / "new.yaml").read_text() + widgets)) == 2


async def test_nothing_is_found_in_what_migrate_writes(tmp_path: Path) -> None:
    written = 0
    for old in (GUIDE / "old.yaml", *sorted((GUIDE.parent / "variants").rglob("*.yaml"))):
        [result] = migrated([Manifest.read(old)])
        if result.text != old.read_text():
            written += 1
            assert await found_in(tmp_path, result.text) == [], old
    assert written > 10


async def test_what_the_documentation_shows_is_right(tmp_path: Path) -> None:
    page = (GUIDE.parents[2] / "docs" / "api.md").read_text()
    paths = re.findall(r"\$\{ (\"/resources.*?) \}$", page, re.MULTILINE | re.DOTALL)
    assert len(paths) > 5
    start, end = CALL.index("${"), CALL.index("        }\n") + len("        }\n")
    for path in paths:
        call = f"{CALL[:start]}${{ {' '.join(path.split())} }}\n{CALL[end:]}"
        findings = await found_in(tmp_path, f"{HEAD}    - name: panels\n{call}")
        assert {finding.rule for finding in findings} <= {"null-limit"}, path


# -- the command ------------------------------------------------------------------------------------------------------


def run(*arguments: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
    return processes.run("restaction", "lint", *arguments, home=Path.cwd(), stdin=text)


def test_the_command_prints_findings_in_order_and_ends_with_1(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        GOOD.replace("limit=5000", "limit=5001").replace("exportJwt: true", "exportJwt: false")
    )
    (tmp_path / "b.yaml").write_text(GOOD)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "d.yml").write_text(GOOD.replace("&namespace=*", ""))
    done = run(tmp_path)
    assert done.returncode == 1
    assert [line.partition(" (")[0] for line in done.stdout.splitlines()] == [
        f"{tmp_path}/a.yaml:9: error: panels is sent without the user's token: the presenter answers 401",
        f"{tmp_path}/a.yaml:23: error: limit is '5001', without a slice",
        f"{tmp_path}/c/d.yml:16: warning: panels names no namespace, which means the namespace default",
    ]
    assert done.stderr == "3 RESTActions, 3 findings\n"


def test_the_command_prints_json(tmp_path: Path) -> None:
    done = run("--json", "-", text=GOOD.replace("limit=5000", "limit=5001"))
    assert done.returncode == 1
    [finding] = json.loads(done.stdout)
    assert finding == {
        "path": "<stdin>",
        "line": 23,
        "level": "error",
        "rule": "bad-parameter",
        "what": "limit is '5001', without a slice",
        "remedy": "allowed is a whole number from 1 to 5000, or null for 5000",
    }


def test_the_command_ends_with_0_when_all_is_well(tmp_path: Path) -> None:
    done = run("-", text=GOOD)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "1 RESTAction, 0 findings\n")


def test_what_cannot_be_read_is_no_reason_to_leave_the_rest_unread(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xff")
    (tmp_path / "b.yaml").write_text(GOOD.replace("limit=5000", "limit=5001"))
    (tmp_path / "c").mkdir()
    done = run(tmp_path / "c", tmp_path)
    assert done.returncode == 2
    assert "b.yaml:23: error: limit is '5001'" in done.stdout
    missing, unreadable, counted = done.stderr.splitlines()
    assert missing.endswith("c: there is no .yaml, .yml, .json file in this directory")
    assert "a.yaml: cannot be read: not UTF-8" in unreadable
    assert counted == "1 RESTAction, 1 finding"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "<stdin>:1: not YAML"),
        (GOOD.replace("name: panels\n", "nam: panels\n"), "<stdin>:9: spec.api[0].name is missing"),
    ],
)
def test_what_cannot_be_read_ends_with_2(text: str, says: str) -> None:
    done = run("-", text=text)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stdout == ""
