"""`presenter restaction migrate`: files in, changed files or a diff out, and a line for each RESTAction."""

from __future__ import annotations

import contextlib
import difflib
import errno
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from presenter.errors import ConfigError
from presenter.restaction.manifest import Manifest, ManifestError, Reference, files, lines_of
from presenter.restaction.migrator import Migrated, migrated


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
        _replace({Path(file.manifest.path).resolve(): result.text for file, result in changes})
    elif output is not None:
        _write_below(output, changes)
    else:
        sys.stdout.writelines(line for file, result in changes for line in _diff(file.manifest, result.text))
    found = sorted((finding for result in results for finding in result.findings), key=lambda each: each.place)
    sys.stderr.writelines(f"{finding}\n" for finding in found)
    sys.stderr.writelines(f"{error.message}\n" for error in unreadable)
    if not found and not unreadable:
        sys.stderr.write("there is no RESTAction in these files\n")
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
    """Write files below a directory: all, or none when one is there already. Raises ConfigError."""
    texts: dict[Path, str] = {}
    for file, result in changes:
        target = directory / file.below
        if target in texts:
            raise ConfigError(f"{target} would be written twice: migrate files of the same name one after the other")
        if target.exists():
            raise ConfigError(f"{target} is there already: --output writes new files only")
        texts[target] = result.text
    _replace(texts)


def _replace(texts: Mapping[Path, str]) -> None:
    """Write files, each whole or not at all; none when one of them cannot be. Raises ConfigError."""
    temporaries = {path: path.with_name(f".{path.name}.{os.getpid()}") for path in texts}
    path = Path()
    try:
        for path, temporary in temporaries.items():
            _write(temporary, texts[path], like=path)
        for path, temporary in temporaries.items():
            temporary.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        for temporary in temporaries.values():
            with contextlib.suppress(OSError):
                temporary.unlink()


def _write(new: Path, text: str, like: Path) -> None:
    """A file with this content, which belongs to whom another does and may be read by whom that may, if it is there."""
    new.parent.mkdir(parents=True, exist_ok=True)
    if like.exists() and not os.access(like, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    with new.open("xb") as file:
        file.write(text.encode())
    if like.exists():
        shutil.copymode(like, new)
        with contextlib.suppress(PermissionError):  # only root may give files away
            os.chown(new, like.stat().st_uid, like.stat().st_gid)
