"""`presenter restaction lint`: what will go wrong in RESTActions, found without calling anything."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import typer

from presenter.restaction.jq import Jq
from presenter.restaction.manifest import Manifest, ManifestError, files
from presenter.restaction.rules import RULES, widgets
from presenter.restaction.rules.subject import Finding, Subject

CLEAN, FINDINGS, UNREADABLE = 0, 1, 2


def run(paths: Sequence[Path], *, as_json: bool) -> int:
    """Print what is found, sorted by file and line; returns the exit status."""
    findings, errors, checked = asyncio.run(lint(paths))
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(findings)).decode())
    else:
        for finding in findings:
            typer.echo(finding)
    for error in errors:
        sys.stderr.write(f"presenter: {error.message}\n")
    sys.stderr.write(f"{_count(checked, 'RESTAction')}, {_count(len(findings), 'finding')}\n")
    return UNREADABLE if errors else FINDINGS if findings else CLEAN


async def lint(paths: Sequence[Path]) -> tuple[list[Finding], list[ManifestError], int]:
    """What is found in files and directories, what could not be read of them, and how many RESTActions were checked."""
    errors: list[ManifestError] = []
    manifests: list[Manifest] = []
    for file in _files(paths, errors):
        try:
            manifests.append(Manifest.read(file))
        except ManifestError as error:
            errors.append(error)
    subjects: list[Subject] = []
    findings: set[Finding] = set()
    async with Jq() as jq:
        for manifest in manifests:
            for document in manifest.restactions():
                try:
                    subjects.append(await Subject.of(manifest, document, jq))
                except ManifestError as error:
                    errors.append(error)
        for subject in subjects:
            for rule in RULES:
                findings |= {finding async for finding in rule(subject)}
    findings.update(finding for rule in widgets.RULES for finding in rule(manifests, subjects))
    return sorted(findings), errors, len(subjects)


def _files(paths: Sequence[Path], errors: list[ManifestError]) -> Iterator[Path]:
    for path in paths:
        try:
            yield from [path] if str(path) == "-" else files(path)
        except ManifestError as error:
            errors.append(error)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
