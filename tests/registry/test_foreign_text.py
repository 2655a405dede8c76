"""Names and reasons that somebody else wrote, as commands print them and as the card shows them."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from small_registry import NAME, NOW, ORDER, local_registry, package, publish

from fair_distill.cli import main
from fair_distill.errors import IntegrityError
from fair_distill.files import to_json
from fair_distill.registry import release
from fair_distill.registry.actor import Actor
from fair_distill.registry.client import look_up
from fair_distill.registry.export.dataset_card import dataset_card
from fair_distill.registry.integrity import read_provenance
from fair_distill.registry.retraction import revoke

HOSTILE = "\x1b[2Jfixed\n   9  2026-03-03T12:00:00Z  ada: promote v9\u202e"
MADE = package(1)


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FAIR_DISTILL_CACHE", "")
    store = local_registry(tmp_path)
    publish(store, MADE)
    release.promote(
        store,
        NAME,
        MADE.version,
        "production",
        order=ORDER,
        verdict=MADE.verdict,
        verdict_bytes=MADE.verdict_bytes,
        actor=Actor(HOSTILE, NOW, "n"),
        reason=HOSTILE,
    )
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        ["log", NAME],
        ["log", NAME, "--json"],
        ["card", f"{NAME}@production"],
        ["card", f"{NAME}@production", "--croissant"],
        ["rollback", f"{NAME}@production", "--reason", HOSTILE],
        ["demote", f"{NAME}@production", "--reason", HOSTILE],
        ["revoke", f"{NAME}@v1", "--reason", HOSTILE],
        ["verify", NAME + HOSTILE],
        ["diff", f"{NAME}@v1{HOSTILE}", f"{NAME}@v1"],
        ["outdated", "--lock", f"{HOSTILE}.lock"],
    ],
    ids=lambda command: " ".join(command[:1] + command[2:3]) if isinstance(command, list) else None,
)
def test_no_command_prints_what_moves_the_cursor_or_adds_a_line(
    registry: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main([*command, *([] if command[0] == "outdated" else ["--registry", str(registry)])])

    out, err = capsys.readouterr()
    for shown in (out, err):
        assert not {"\x1b", "\u202e"} & set(shown)
        assert not any(line.startswith("   9 ") for line in shown.split("\n"))
    assert len(err.splitlines()) <= 1


def test_a_withdrawn_version_shows_its_reason_in_one_line(registry: Path, capsys: pytest.CaptureFixture[str]) -> None:
    revoke(local_registry(registry), NAME, MADE.version, reason=HOSTILE, actor=Actor("eve", NOW, "r"))

    assert main(["card", f"{NAME}@production", "--registry", str(registry)]) == 5

    err = capsys.readouterr().err
    assert "\\x1b[2Jfixed\\n" in err
    assert err.count("\n") == 1


def test_a_card_has_no_html_and_no_markup_of_a_name(registry: Path) -> None:
    found = look_up(f"{NAME}@production", registry=str(registry))
    name = "<script>alert(1)</script>|[x](http://evil)`"
    card = replace(found.manifest.card, groups=(name, "cyan"), classes=(name, "1"), name=name, kind=name)
    groups = tuple(replace(group, group=name, network=name) for group in MADE.verdict.groups)
    verdict = replace(MADE.verdict, groups=groups, mode=name)

    page = dataset_card(replace(found, manifest=replace(found.manifest, card=card), verdict=verdict))

    prose = re.sub(r"(?<!\\)`[^`\n]*`", "", page)  # a span of code is text
    assert "<script" not in prose
    assert not re.search(r"(?<!\\)\]\(", prose)
    assert "&lt;script&gt;" in prose


def test_a_provenance_of_another_type_is_refused() -> None:
    with pytest.raises(IntegrityError, match="data is 'x'; expected an object"):
        read_provenance(to_json({"data": "x"}), name="it")
    assert read_provenance(to_json({"data": None}), name="it") == {"data": None}
