"""Add people to blocklist.json, and name the new file in params.yaml, so that DVC prepares the data again."""

import re
from dataclasses import dataclass

from fair_distill.config.loading import parse_mapping
from fair_distill.data.blocklist import Blocklist, read_blocklist
from fair_distill.errors import ConfigError
from fair_distill.files import sha256, write_bytes
from fair_distill.stages.erase_traces import People
from fair_distill.workspace import Workspace

_DATA = re.compile(r"(?m)^data:[ \t]*(#.*)?$")
_COMMENT = "  # people who were erased; `fair-distill erase` writes it"


@dataclass(frozen=True)
class BlocklistChange:
    """The new contents of blocklist.json and of params.yaml, and the number of new and of all names."""

    blocklist: bytes
    params: str
    new: int
    total: int

    def write(self, workspace: Workspace) -> None:
        """Write both files. If only the first is written, `prepare` refuses, and the same erasure can be repeated."""
        if not workspace.blocklist.exists() or workspace.blocklist.read_bytes() != self.blocklist:
            write_bytes(workspace.blocklist, self.blocklist)
        if workspace.params.read_text(encoding="utf-8") != self.params:
            write_bytes(workspace.params, self.params.encode())


def plan_blocklist(workspace: Workspace, declared: str | None, people: People, *, key: bytes) -> BlocklistChange:
    """Return the change of the blocklist. Changes nothing.

    Parameters
    ----------
    declared : `data.blocklist` of params.yaml

    Raises
    ------
    ConfigError
        If blocklist.json is not the file in params.yaml, unless a crash of the same erasure explains it. Or the key is
        another one, or params.yaml has a form that this command cannot edit.
    """
    current = read_blocklist(workspace.blocklist)
    updated = current.with_names(people.kind, people.names, key=key)
    added = Blocklist().with_names(people.kind, people.names, key=key).hashes
    before = Blocklist(current.key, current.hashes - added)
    interrupted = sha256(before.to_json()) if len(before) else None
    actual = sha256(workspace.blocklist) if workspace.blocklist.exists() else None
    if declared not in (actual, interrupted if added <= current.hashes else actual):
        raise ConfigError(
            f"{workspace.blocklist} has the SHA-256 {actual or 'of no file'}, and params.yaml: data.blocklist is "
            f"{declared or 'missing'}. Restore both files from git, and run the command again"
        )
    content = updated.to_json()
    params = with_blocklist(workspace.params.read_text(encoding="utf-8"), sha256(content), name=str(workspace.params))
    return BlocklistChange(content, params, len(updated) - len(current), len(updated))


def with_blocklist(text: str, digest: str, *, name: str) -> str:
    """Return a params.yaml with `data.blocklist`. All other text, also comments, stays.

    Raises ConfigError if the section `data` does not have the form of a block with one key per line.
    """
    line = f'blocklist: "{digest}"{_COMMENT}'
    section = _DATA.search(text)
    edited = text
    if section is not None:
        rest = text[section.end() :]
        indent = (re.search(r"(?m)^([ \t]+)[^\s#]", rest) or [None, "  "])[1]
        existing = re.compile(rf"(?m)^{indent}blocklist:.*$")
        body_end = re.search(r"(?m)^[^\s#]", rest)
        body = rest[: body_end.start()] if body_end else rest
        tail = rest[len(body) :]
        if existing.search(body):
            edited = text[: section.end()] + existing.sub(f"{indent}{line}", body, count=1) + tail
        else:
            edited = f"{text[: section.end()]}\n{indent}{line}{rest}"
    before, after = parse_mapping(text, name=name), parse_mapping(edited, name=name)
    expected = {**before, "data": {**before["data"], "blocklist": digest}}
    if after != expected:
        raise ConfigError(
            f'{name}: the section data cannot be edited automatically. Write `blocklist: "{digest}"` into it, and run '
            "the command again"
        )
    return edited
