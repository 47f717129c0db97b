"""`presenter restaction migrate`: files in, changed files or a diff out, and a line for each RESTAction."""

from __future__ import annotations

import difflib
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from presenter.errors import ConfigError
from presenter.restaction.editing import lines_of
from presenter.restaction.manifest import Manifest, ManifestError, Reference, files
from presenter.restaction.migration import Migrated, migrated


@dataclass(frozen=True, slots=True)
class _File:
    """A manifest, and where it lies below what was named on the command line."""

    manifest: Manifest
    below: Path


def run(paths: list[Path], *, in_place: bool, output: Path | None, endpoint: str | None) -> int:
    """Migrate what is in these files and directories.

    Returns the exit status: 0, 1 when something was left alone, 2 when something could not be read. Raises ConfigError.
    """
    if in_place and output is not None:
        raise ConfigError("--in-place and --output are given: allowed is one of the two")
    if in_place and Path("-") in paths:
        raise ConfigError("--in-place cannot change standard input: leave it out to see the changes")
    unreadable: list[ManifestError] = []
    read = list(_read(paths, unreadable))
    results = migrated([file.manifest for file in read], _reference(endpoint))
    changes = [(file, result) for file, result in zip(read, results, strict=True) if result.text != file.manifest.text]
    if in_place:
        for file, result in changes:
            _write(Path(file.manifest.path).resolve(), result.text)
    elif output is not None:
        _write_below(output, changes)
    else:
        sys.stdout.writelines(line for file, result in changes for line in _diff(file.manifest, result.text))
    found = sorted((finding for result in results for finding in result.findings), key=lambda each: each.place)
    sys.stderr.writelines(f"{finding}\n" for finding in found)
    sys.stderr.writelines(f"{error.message}\n" for error in unreadable)
    return 2 if unreadable else 1 if any(finding.left_alone for finding in found) else 0


def _reference(endpoint: str | None) -> Reference | None:
    if endpoint is None:
        return None
    namespace, _, name = endpoint.partition("/")
    if not namespace or not name or "/" in name:
        raise ConfigError(f"--endpoint is {endpoint!r}: allowed is NAMESPACE/NAME of the Endpoint Secret")
    return Reference(name, namespace)


def _read(paths: list[Path], unreadable: list[ManifestError]) -> Iterator[_File]:
    for path in paths:
        for file in files(path):
            try:
                yield _File(Manifest.read(file), file.relative_to(path) if path.is_dir() else Path(file.name))
            except ManifestError as error:
                unreadable.append(error)


def _diff(manifest: Manifest, text: str) -> Iterator[str]:
    before, after = lines_of(manifest.text), lines_of(text)
    for line in difflib.unified_diff(before, after, manifest.path, manifest.path):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _write_below(directory: Path, changes: Iterable[tuple[_File, Migrated]]) -> None:
    """All of them, or none when one of them is there already."""
    targets = [(directory / file.below, result.text) for file, result in changes]
    seen: set[Path] = set()
    for target, _ in targets:
        if target in seen:
            raise ConfigError(f"{target} would be written twice: migrate files of the same name one after the other")
        if target.exists():
            raise ConfigError(f"{target} is there already: --output writes new files only")
        seen.add(target)
    for target, text in targets:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text.encode())


def _write(path: Path, text: str) -> None:
    """Put new content in the place of a file's, whole or not at all; who may read it stays the same."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
        Path(temporary).chmod(path.stat().st_mode & 0o7777)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
