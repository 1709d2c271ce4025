"""verify.py: what it proves, and that nothing forged is ever called proven."""

import base64
import json
import shutil
import subprocess
import sys
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from concordat_privacy.evidence.persons import Person
from concordat_privacy.evidence.writing import write_bundle, zip_bytes
from concordat_privacy.log.checkpoint import SigningKey
from concordat_privacy.log.cosignature import Quorum, WitnessSigningKey
from concordat_privacy.log.proof import TlogProof
from concordat_privacy.verifier import verify
from tests.evidences import (
    BATCH,
    FIRST,
    GRANT,
    GRANT_2,
    KEY,
    LOOKUP,
    OTHER_A,
    OTHER_E,
    PAUSE,
    REFUSED,
    SECOND,
    SIZE,
    STRANGER,
    VKEY,
    WITHDRAWN,
    A,
    Ledger,
    Witness,
    asked,
    item,
    keys,
    lay,
    person,
    relisted,
)

LOG = verify.read_key(VKEY, 1)


def check(files: dict[str, bytes], *witnesses: Witness, quorum: int = 0) -> verify.Story:
    return verify.check_bundle(
        files, LOG, [verify.read_key(one.vkey, 4) for one in witnesses], quorum
    )


def rendered(files: dict[str, bytes]) -> dict[str, bytes]:
    """As by an attacker who runs the verifier's own code for the report, and lists all anew."""
    bare = relisted({name: data for name, data in files.items() if name != "report.html"})
    story = verify.check_bundle(bare, LOG, [], 0, report=False)
    return relisted({**bare, "report.html": verify.render_report(story, KEY.name)})


def said(story: verify.Story) -> str:
    return "\n".join(verify.verdict(story))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Everything about one person."""
    return Ledger().bundle(tmp_path_factory.mktemp("ledger") / "export")


def test_a_persons_whole_story_is_proven_in_sentences(bundle: dict[str, bytes]) -> None:
    story = check(bundle)
    assert story.proven, said(story)
    text = said(story)
    assert text.startswith("PROVEN.")
    assert (
        f"On 2026-03-02 at 00:05:00 UTC the member alpha looked person 1 up for underwriting "
        f"(entry {LOOKUP} item 1): permitted. The consent {FIRST}, granted on 2026-03-02 at "
        f"00:03:00 UTC (entry {GRANT}), allowed it for the category credit accounts."
    ) in text
    for words in (
        "was paused",
        "was resumed",
        "was withdrawn",
        "refused",
        "acknowledged the notice",
    ):
        assert words in text
    for limit in verify.LIMITS:
        assert limit in text


def test_a_dispute_that_was_refused_is_told_of_the_person_and_is_no_use(tmp_path: Path) -> None:
    ledger, request = Ledger(), "33" * 16
    refused = SIZE - 2
    ledger.entries[refused] = {
        "type": "dispute.refused",
        "request": request,
        "subject": asked(A, request, 0, "dispute.refused"),
        "consents": {"credit_accounts": "00" * 16},
        "about": "credit_accounts.not_mine",
        "statement_sha256": "ab" * 32,
    }
    story = check(ledger.bundle(tmp_path / "export"))
    assert story.proven, said(story)
    assert (
        "the member alpha wanted to record a dispute of person 1 about the category credit "
        "accounts (reason: not mine) and was refused for want of a consent "
        f"(entry {refused})."
    ) in said(story)


def test_what_entries_say_is_told_in_plain_words(tmp_path: Path) -> None:
    ledger = Ledger()
    gateway = "spiffe://concordat.example/gateway/gateway"
    ledger.entries[GRANT]["purposes"] = ["contribution", "dispute", "underwriting"]
    ledger.entries[GRANT]["categories"] = ["credit_accounts", "spending"]
    notice = {"notice": "0f" * 16, "consent": FIRST, "member": "alpha"}
    ledger.entries[12] |= notice
    ledger.entries[13] = {"type": "deletion.confirmed", **notice}
    ledger.entries[13]["deleted_at"] = "2026-03-02T00:12:30.000000Z"
    ledger.entries[14] = {"type": "notice.overdue", **notice, "what": "deletion"}
    ledger.entries[14] |= {"due": "2026-03-02T00:13:00.000000Z", "actor": gateway}
    ledger.entries[30] = opened("55" * 16, FIRST)
    ledger.entries[30] |= {"permission_sha256": "ab" * 32}
    text = said(check(ledger.bundle(tmp_path / "export")))
    for sentence in (
        "was granted to the member alpha: for contribution to the pool, disputes and underwriting, "
        "of the categories credit accounts and spending, from 2026-03-01",
        f"alpha acknowledged the notice that the consent {FIRST} had ended (entry 12).",
        f"alpha confirmed that what it had learned under the consent {FIRST} was deleted on "
        "2026-03-02 at 00:12:30 UTC (entry 13).",
        "the member alpha had not confirmed the deletion of a consent that ended in time, due "
        "2026-03-02 at 00:13:00 UTC (entry 14).",
        f"had the keys of person 1 opened, found by the consent {FIRST}, for the case 7, on a "
        f"permission whose document has the SHA-256 {'ab' * 32} (entry 30).",
    ):
        assert sentence in text
    for jargon in ("spiffe://", "notice.acknowledged", "credit_accounts", "staff.viewed"):
        assert jargon not in text


def disputed(ledger: Ledger) -> None:
    """The person disputes by entry 50; beta answers, the gateway resolves. So does a stranger."""
    gateway = "spiffe://concordat.example/gateway/gateway"
    beta = "spiffe://concordat.example/member/beta"
    mine, other, request = "5a" * 16, "5b" * 16, "99" * 16
    ledger.entries[GRANT_2]["purposes"] = ["contribution", "dispute"]
    for index, dispute in ((50, mine), (51, other)):
        subject = asked(A, request, 0, "dispute.opened") if dispute == mine else "cd" * 32
        ledger.entries[index] = {
            "type": "dispute.opened",
            "dispute": dispute,
            "request": request,
            "subject": subject,
            "consents": {"credit_accounts": SECOND if dispute == mine else STRANGER},
            "jurisdiction": "CN",
            "about": "credit_accounts.not_mine",
            "answer_by": "2026-03-22T00:50:00.000000Z",
            "statement_sha256": "ab" * 32,
        }
        for at, kind, more in (
            (52, "dispute.extended", {"answer_by": "2026-04-20T00:50:00.000000Z"}),
            (54, "dispute.overdue", {"member": "beta", "due": "2026-03-02T00:56:00.000000Z"}),
            (56, "dispute.answered", {"member": "beta", "outcome": "corrected", "actor": beta}),
            (58, "dispute.resolved", {"outcome": "corrected", "actor": gateway}),
        ):
            ledger.entries[at + index - 50] = {"type": kind, "dispute": dispute, **more}


def test_a_persons_dispute_is_told_with_its_reason_answers_and_outcome(tmp_path: Path) -> None:
    ledger = Ledger()
    disputed(ledger)
    files = ledger.bundle(tmp_path / "export")
    kept = {int(name[8:-5]) for name in files if name[:8] == "entries/" and name[-5:] == ".json"}
    assert kept & set(range(50, 60)) == {50, 52, 54, 56, 58}
    story = check(files)
    assert story.proven, said(story)
    about = "of person 1 about the category credit accounts (reason: not mine)"
    which = f"the dispute {about} of entry 50"
    for sentence in (
        f"the member alpha recorded a dispute {about} (entry 50).",
        f"put off the answer to {which} until 2026-04-20 at 00:50:00 UTC (entry 52).",
        f"the member beta had not answered {which} in time, due 2026-03-02 at 00:56:00 UTC",
        f"the member beta answered {which}: corrected (the data was corrected) (entry 56).",
        f"{which} was resolved: corrected (the data was corrected) (entry 58).",
    ):
        assert sentence in said(story)


def test_a_refused_request_for_erasure_is_in_the_persons_bundle(tmp_path: Path) -> None:
    ledger, request = Ledger(), "77" * 16
    ledger.entries[40] = {
        "type": "erasure.requested",
        "erasure": "88" * 16,
        "request": request,
        "subject": asked(A, request, 0, "erasure.requested"),
    }
    ledger.entries[41] = {"type": "erasure.refused", "erasure": "88" * 16, "basis": "a duty"}
    ledger.entries[42] = {"type": "erasure.refused", "erasure": "89" * 16, "basis": "another"}
    files = ledger.bundle(tmp_path / "export")
    assert "entries/41.json" in files
    assert "entries/42.json" not in files


def test_the_bundle_of_a_person_discloses_nobody_else_and_no_key(bundle: dict[str, bytes]) -> None:
    items = [name for name in bundle if name.startswith("items/") and name.endswith(".json")]
    assert sorted(items) == [
        f"items/{REFUSED}/0.json", f"items/{LOOKUP}/1.json", f"items/{BATCH}/0.json",
    ]  # fmt: skip
    content = b"".join(bundle.values())
    for key in (json.loads(keys())[name][0]["key"] for name in ("evidence_keys", "asking_keys")):
        assert key.encode() not in content


def test_every_item_of_a_lookup_comes_with_its_consents(tmp_path: Path) -> None:
    files = Ledger().bundle(tmp_path / "export", entries=[LOOKUP])
    assert check(files).proven
    assert f"entries/{GRANT}.json" in files
    assert f"entries/{WITHDRAWN}.json" in files
    assert f"items/{LOOKUP}/2.json" in files


def test_a_consent_brings_its_uses_and_its_end(tmp_path: Path) -> None:
    files = Ledger().bundle(tmp_path / "export", consents=[FIRST])
    assert check(files).proven
    assert {f"entries/{n}.json" for n in (GRANT, LOOKUP, PAUSE, WITHDRAWN)} <= set(files)
    assert f"items/{LOOKUP}/0.json" not in files


def test_equal_selections_give_equal_bytes(bundle: dict[str, bytes], tmp_path: Path) -> None:
    again = Ledger().bundle(tmp_path / "export")
    assert zip_bytes(again) == zip_bytes(bundle)


@pytest.mark.parametrize("old", [0, 1, 2, 7, 128, 255, 256, 299, 300])
def test_any_older_checkpoint_is_shown_to_be_extended(old: int, tmp_path: Path) -> None:
    story = check(Ledger().bundle(tmp_path / "export", old=old))
    assert story.proven, said(story)


# Uses that their consents do not bear out: genuine entries, and yet not proven.


def changed(tmp_path: Path, change: Any) -> verify.Story:
    ledger = Ledger()
    change(ledger)
    story = check(ledger.bundle(tmp_path / "export"))
    assert not story.faults, said(story)
    return story


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("recipient", "beta", "another used it"),
        ("purposes", ["portfolio_review"], "does not cover the purpose underwriting"),
        ("categories", ["spending"], "does not cover the category credit accounts"),
        ("starts_at", "2026-03-02T00:05:00.000001Z", "began only on"),
        ("expires_at", "2026-03-02T00:05:00.000000Z", "had expired on"),
        ("type", "consent.requested", "asked for, never given"),
        ("frequency", {"unit": "day", "uses": 0}, "0 allowed a day"),
    ],
)
def test_a_use_beyond_its_consent_is_not_shown(
    field: str, value: object, reason: str, tmp_path: Path
) -> None:
    def change(ledger: Ledger) -> None:
        ledger.entries[GRANT][field] = value
        if field == "recipient":
            for index in (PAUSE, PAUSE + 1, WITHDRAWN):
                ledger.entries[index]["recipient"] = value

    story = changed(tmp_path, change)
    assert f"entry {LOOKUP} item 1" in story.not_shown[0]
    assert reason in story.not_shown[0]
    assert "That a consent allowed it is NOT shown" in said(story)


@pytest.mark.parametrize("kind", ["consent.paused", "consent.withdrawn", "consent.revoked"])
def test_a_use_after_a_pause_or_an_end_is_not_shown(kind: str, tmp_path: Path) -> None:
    def change(ledger: Ledger) -> None:
        ended = {**ledger.entries[PAUSE], "type": kind}
        # The other person's grant makes room: its item is not in this bundle.
        ledger.entries[GRANT + 1] = ended

    story = changed(tmp_path, change)
    assert any(
        f"entry {LOOKUP} item 1" in one and one.endswith(kind.removeprefix("consent."))
        for one in story.not_shown
    )


def test_a_resumption_after_the_end_revives_nothing(tmp_path: Path) -> None:
    def change(ledger: Ledger) -> None:
        ledger.entries[WITHDRAWN - 1] = {**ledger.entries[PAUSE + 1], "type": "consent.resumed"}
        ledger.items.pop(BATCH)
        ledger.entries[PAUSE]["type"] = "consent.withdrawn"
        ledger.items[REFUSED][0]["decision"] = "permit"
        ledger.items[REFUSED][0]["consents"]["credit_accounts"] = FIRST

    story = changed(tmp_path, change)
    assert any(f"entry {REFUSED}" in one and "withdrawn" in one for one in story.not_shown)


def test_a_permission_without_consent_and_a_refusal_with_one_are_not_shown(tmp_path: Path) -> None:
    def change(ledger: Ledger) -> None:
        ledger.items[LOOKUP][1]["decision"] = "refuse"
        ledger.items[REFUSED][0]["decision"] = "permit"

    story = changed(tmp_path, change)
    assert "refused, but it names a consent" in said(story)
    assert "it names no consent" in said(story)


def test_an_answer_that_was_kept_back_is_told(tmp_path: Path) -> None:
    ledger = Ledger()
    ledger.entries[20] = {"type": "lookup.withheld", "lookup": LOOKUP, "request": "11" * 16}
    ledger.items[20] = [{"item": 0}, {"item": 1}]
    files = ledger.bundle(tmp_path / "export")
    story = check(files)
    assert story.proven
    assert f"the answers to items 1 of entry {LOOKUP} were kept back" in said(story)
    assert "items/20/0.json" not in files


def erased(ledger: Ledger) -> None:
    """The person's data is erased by entry 20; entry 21 then uses the second consent."""
    erasure, request = "33" * 16, "44" * 16
    ledger.entries[20] = {
        "type": "erasure.executed",
        "erasure": erasure,
        "subject": asked(A, erasure, 0, "erasure.executed"),
    }
    ledger.items[20] = [{"consent": SECOND, "recipient": "alpha", "notice": "0e" * 16}]
    ledger.entries[21] = {"type": "lookup", "purpose": "underwriting", "request": request}
    ledger.items[21] = [item(SECOND, asked(A, request, 0))]


def test_an_erasure_ends_consents_and_names_the_same_person(tmp_path: Path) -> None:
    story = changed(tmp_path, erased)
    assert "the data of person 1 was erased" in said(story)
    assert f"the consent {SECOND} ended by this erasure" in said(story)
    [doubt] = story.not_shown
    assert doubt.startswith("entry 21 item 0")
    assert doubt.endswith("the last about it: erased")
    assert "person 2" not in said(story)


def test_a_withdrawal_of_another_subjects_consent_is_not_taken_for_its_own(tmp_path: Path) -> None:
    def change(ledger: Ledger) -> None:
        ledger.entries[WITHDRAWN]["subject"] = "ab" * 32

    assert "not the subject of the consent" in said(changed(tmp_path, change))


def opened(request: str, consent: str) -> dict[str, Any]:
    """The entry by which an auditor had the person's keys opened, by one of its consents."""
    return {
        "type": "staff.viewed",
        "view": "subject.open",
        "case": "7",
        "request": request,
        "consent": consent,
        "subject": asked(A, request, 0, "staff.viewed"),
    }


def persons_of(files: dict[str, bytes]) -> set[int]:
    return {fields["person"] for fields in json.loads(files["openings.json"])["openings"]}


@pytest.mark.parametrize("consent", [FIRST, SECOND])
def test_a_person_whose_keys_were_opened_by_a_consent_is_one_person(
    consent: str, tmp_path: Path
) -> None:
    ledger = Ledger()
    ledger.entries[30] = opened("55" * 16, consent)
    files = ledger.bundle(tmp_path / "export")
    assert "entries/30.json" in files
    assert persons_of(files) == {1}
    story = check(files)
    assert story.proven, said(story)
    assert "person 2" not in said(story)

    def part(found: list[dict[str, Any]]) -> None:
        found[-1]["person"] = 2

    assert "is about person 1, not another" in said(openings_changed(files, part))


def test_an_opening_alone_ties_the_name_it_asked_by_to_the_consent(tmp_path: Path) -> None:
    """No use in the bundle does it: there is the grant, and the opening by it."""
    ledger = Ledger()
    for index in (LOOKUP, REFUSED):
        ledger.entries[index] = {"type": "test.filler", "n": index}
        del ledger.items[index]
    ledger.entries[30] = opened("55" * 16, FIRST)
    files = ledger.bundle(tmp_path / "export")
    assert persons_of(files) == {1}
    assert check(files).proven


def test_names_of_two_key_epochs_are_one_persons_where_both_used_one_consent(
    tmp_path: Path,
) -> None:
    """Keys without an evidence key: no grant is opened, but both lookups name the consent."""
    ledger, request = Ledger(), "66" * 16
    ledger.entries[31] = {"type": "lookup", "purpose": "underwriting", "request": request}
    ledger.items[31] = [item(FIRST, asked(OTHER_A, request, 0))]
    ledger.entries[WITHDRAWN] = {"type": "test.filler", "n": WITHDRAWN}
    content = json.loads(keys())
    content["evidence_keys"] = []
    content["asking_keys"].append({"epoch": 2, "key": OTHER_A.hex()})
    whole = Person.parse(json.dumps(content), KEY.name)
    del ledger.items[LOOKUP][0], ledger.items[LOOKUP][1]
    ledger.items[LOOKUP][0]["subject"] = asked(A, "11" * 16, 0)
    files = ledger.bundle(tmp_path / "export", person=whole)
    assert persons_of(files) == {1}
    assert check(files).proven, said(check(files))


def test_a_request_for_erasure_and_its_execution_are_about_one_person(tmp_path: Path) -> None:
    """The token keys were rotated in between: two names, one erasure."""
    ledger, request, erasure = Ledger(), "77" * 16, "88" * 16
    ledger.entries[40] = {
        "type": "erasure.requested",
        "erasure": erasure,
        "request": request,
        "subject": asked(OTHER_A, request, 0, "erasure.requested"),
    }
    ledger.entries[41] = {
        "type": "erasure.executed",
        "erasure": erasure,
        "subject": asked(A, erasure, 0, "erasure.executed"),
    }
    ledger.items[41] = [{"consent": SECOND, "recipient": "alpha", "notice": "0e" * 16}]
    content = json.loads(keys())
    content["asking_keys"].append({"epoch": 2, "key": OTHER_A.hex()})
    ledger.items[LOOKUP] = ledger.items[LOOKUP][1:2]
    ledger.items[LOOKUP][0]["subject"] = asked(A, "11" * 16, 0)
    files = ledger.bundle(tmp_path / "export", person=Person.parse(json.dumps(content), KEY.name))
    assert persons_of(files) == {1}


# Attacks.


def without(files: dict[str, bytes], *names: str) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if name not in names}


def test_a_grant_that_is_left_out_leaves_its_use_unproven(bundle: dict[str, bytes]) -> None:
    names = (f"entries/{GRANT}.json", f"entries/{GRANT}.tlog-proof")
    openings = json.loads(bundle["openings.json"])
    openings["openings"] = [one for one in openings["openings"] if one["entry"] != GRANT]
    text = json.dumps(openings, separators=(",", ":"), sort_keys=True).encode()
    story = check(rendered({**without(bundle, *names), "openings.json": text}))
    assert not story.proven
    assert "its grant is not among" in said(story)


def test_every_flipped_bit_is_found_and_its_file_named(bundle: dict[str, bytes]) -> None:
    for name, data in bundle.items():
        for at in range(0, len(data), 1 + len(data) // 12):
            wrong = bytearray(data)
            wrong[at] ^= 1 << at % 8
            story = check({**bundle, name: bytes(wrong)})
            assert story.faults, (name, at)
            assert any(name in fault or "manifest" in fault for fault in story.faults)


def test_every_truncation_is_found_even_if_listed_anew(bundle: dict[str, bytes]) -> None:
    for name, data in bundle.items():
        for end in {0, 1, len(data) // 3, len(data) // 2, len(data) - 2, len(data) - 1}:
            assert check({**bundle, name: data[:end]}).faults, (name, end)
            assert check(relisted({**bundle, name: data[:end]})).faults or name == "manifest.json"


def test_every_missing_file_is_found_even_if_listed_anew(bundle: dict[str, bytes]) -> None:
    for name in bundle:
        assert check(without(bundle, name)).faults, name
        if name != "manifest.json":
            assert check(relisted(without(bundle, name))).faults, name


def test_files_swapped_or_doubled_are_found_even_if_listed_anew(bundle: dict[str, bytes]) -> None:
    names = sorted(set(bundle) - {"manifest.json"})
    for one, other in pairwise(names):
        if bundle[one] != bundle[other]:
            swapped = {**bundle, one: bundle[other], other: bundle[one]}
            assert check(relisted(swapped)).faults, (one, other)
            assert check(relisted({**bundle, one: bundle[other]})).faults, (one, other)


@pytest.mark.parametrize(
    "name", ["extra.txt", "entries/9999.json", "items/3/0.json", "entries/003.json"]
)
def test_extra_files_are_found_even_if_listed(name: str, bundle: dict[str, bytes]) -> None:
    files = {**bundle, name: bundle[f"entries/{GRANT}.json"]}
    assert f"{name}: not listed in manifest.json" in said(check(files))
    assert check(relisted(files)).faults


def test_a_history_signed_by_another_key_is_no_evidence(tmp_path: Path) -> None:
    forger = SigningKey(KEY.name, bytes(32))
    ledger = Ledger()
    ledger.entries[WITHDRAWN] = {"type": "test.filler"}
    forged = ledger.bundle(tmp_path / "export", old=SIZE)
    note = ledger.note(key=forger).encode()
    old = forged["checkpoint"]
    files = {name: data.replace(old, note) for name, data in forged.items()}
    assert "not signed by the ledger's key" in said(check(relisted(files)))


def test_an_older_checkpoint_of_another_history_is_found(
    bundle: dict[str, bytes], tmp_path: Path
) -> None:
    ledger = Ledger()
    ledger.entries[1]["member"] = "mallory"
    files = relisted({**bundle, "checkpoint.old": ledger.note(7).encode()})
    assert "consistency: the consistency proof does not lead to the root" in said(check(files))


def test_an_older_checkpoint_that_is_the_newer_is_found(bundle: dict[str, bytes]) -> None:
    files = {**bundle, "checkpoint": bundle["checkpoint.old"]}
    files["checkpoint.old"] = bundle["checkpoint"]
    assert "newer than the checkpoint" in said(check(relisted(files)))


def test_items_moved_between_entries_are_found(bundle: dict[str, bytes]) -> None:
    files = dict(bundle)
    for end in ("json", "proof"):
        files[f"items/{LOOKUP}/0.{end}"] = files.pop(f"items/{REFUSED}/0.{end}")
    story = check(relisted(files))
    assert f"entry {LOOKUP} item 0" in said(story)
    assert story.faults


def test_a_changed_report_is_found_even_if_listed_anew(bundle: dict[str, bytes]) -> None:
    report = bundle["report.html"].replace(b"looked person 1 up", b"looked nobody up")
    assert report != bundle["report.html"]
    assert (
        check(relisted({**bundle, "report.html": report}))
        .faults[0]
        .startswith("report.html: not what the entries of the bundle say")
    )


def openings_changed(bundle: dict[str, bytes], change: Any) -> verify.Story:
    content = json.loads(bundle["openings.json"])
    change(content["openings"])
    text = json.dumps(content, separators=(",", ":"), sort_keys=True).encode()
    return check(relisted({**bundle, "openings.json": text}))


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found[0].update(name="00" * 32),
        lambda found: found[0].update(salt="00" * 16),
        lambda found: found[0].update(entry=GRANT + 1),
        lambda found: found[0].update(person=2),
        lambda found: found[1].update(person=2),
        lambda found: found[0].update(person=True),
        lambda found: found.insert(0, found[0]),
        lambda found: found.reverse(),
        lambda found: found[0].update(item=0),
        lambda found: found[0].pop("salt"),
        lambda found: found.append(7),
    ],
)
def test_openings_that_open_nothing_or_another_are_found(
    change: Any, bundle: dict[str, bytes]
) -> None:
    assert openings_changed(bundle, change).faults


def test_two_persons_cannot_be_passed_off_as_one(tmp_path: Path) -> None:
    ledger = Ledger()
    export = ledger.write(tmp_path / "export")
    from concordat_privacy.evidence.bundle import make_bundle
    from concordat_privacy.evidence.selection import select

    one = select(export, person=person())
    other = select(export, person=person(OTHER_E, OTHER_A, 1))
    one.entries.update(other.entries)
    for index, numbers in other.items.items():
        one.items.setdefault(index, set()).update(numbers)
    one.openings.update(other.openings)
    files = make_bundle(export, one, KEY.verifier, ledger.note(7))
    assert check(files).proven
    listed = json.loads(files["openings.json"])["openings"]
    assert {fields["person"] for fields in listed} == {1, 2}

    def merge(found: list[dict[str, Any]]) -> None:
        for fields in found:
            fields["person"] = 1

    story = openings_changed(files, merge)
    assert "nothing shows that it is the same one" in said(story)


# Witnesses.

ONE, TWO, THREE = (Witness(f"witness.example/{n}", n) for n in (1, 2, 3))


def cosigned(tmp_path: Path, *lines: str) -> dict[str, bytes]:
    ledger = Ledger()
    return ledger.bundle(tmp_path / "export", note=ledger.note() + "".join(lines))


def test_a_quorum_of_witnesses_is_counted(tmp_path: Path) -> None:
    note = Ledger().note()
    files = cosigned(tmp_path, ONE.line(note), TWO.line(note))
    assert check(files, ONE, TWO, quorum=2).proven
    assert check(files, ONE, TWO, THREE, quorum=2).proven
    story = check(files, ONE, TWO, THREE, quorum=3)
    assert "cosigned by 2 of the witnesses named, 3 wanted" in said(story)


def test_a_witness_counts_once_and_a_stranger_never(tmp_path: Path) -> None:
    note = Ledger().note()
    files = cosigned(tmp_path, ONE.line(note), ONE.line(note, 1_772_000_001), THREE.line(note))
    assert check(files, ONE, TWO, quorum=1).proven
    assert check(files, ONE, TWO, quorum=2).faults


def test_a_cosignature_of_another_state_is_wrong(tmp_path: Path) -> None:
    files = cosigned(tmp_path, ONE.line(Ledger().note(299)))
    assert check(files, ONE, quorum=0).faults == [
        "checkpoint: the cosignature of witness.example/1 is wrong"
    ]


def test_the_logs_signature_is_no_cosignature(tmp_path: Path) -> None:
    files = cosigned(tmp_path)
    code, text = run(tmp_path, files, "--key", VKEY, "--witness", VKEY)
    assert code == 2
    assert "not a witness's key" in text


def test_cosignatures_and_proofs_of_the_ledgers_own_code_are_understood(tmp_path: Path) -> None:
    witness = WitnessSigningKey("witness.example/own", bytes(range(32)))
    ledger = Ledger()
    note = ledger.note()
    body = note.rpartition("\n\n")[0] + "\n"
    files = ledger.bundle(tmp_path / "export", note=note + witness.cosign(body, 1_772_000_000))
    named = [verify.read_key(witness.verifier.encode(), 4)]
    story = verify.check_bundle(files, LOG, named, 1)
    assert story.proven, said(story)
    assert "cosigned this state on 2026-02-25 at 06:13:20 UTC" in said(story)
    text = files[f"entries/{GRANT}.tlog-proof"].decode()
    proof = TlogProof.decode(text)
    assert proof.encode() == text
    proof.verify(files[f"entries/{GRANT}.json"], KEY.verifier, Quorum((witness.verifier,), 1))


# The command.


def run(tmp_path: Path, files: dict[str, bytes], *options: str) -> tuple[int, str]:
    """As a lone file in an empty folder, without the environment's paths."""
    alone = tmp_path / "alone"
    alone.mkdir(exist_ok=True)
    source = Path(verify.__file__).read_bytes()
    (alone / "verify.py").write_bytes(source)
    if not (alone / "bundle").exists():
        lay(alone / "bundle", files)
    command = [sys.executable, "-I", "verify.py", "bundle", *options]
    ended = subprocess.run(command, cwd=alone, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in ended.stderr
    return ended.returncode, ended.stdout + ended.stderr


def test_it_runs_alone_and_imports_nothing_of_ours(
    bundle: dict[str, bytes], tmp_path: Path
) -> None:
    code, text = run(tmp_path, bundle, "--key", VKEY)
    assert code == 0, text
    assert text.startswith("PROVEN.")
    code, text = run(tmp_path, bundle, "--key", VKEY, "--json")
    assert code == 0
    assert json.loads(text)["proven"] is True
    loaded = (
        "import sys, runpy\n"
        "sys.argv = ['verify.py', 'bundle', '--key', sys.argv[1]]\n"
        "try:\n    runpy.run_path('verify.py', run_name='__main__')\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        "ours = [name for name in sys.modules if name.startswith('concordat')]\n"
        "outside = {name.split('.')[0] for name in sys.modules} - sys.stdlib_module_names\n"
        "print(sorted(ours), file=sys.stderr)\n"
        "print(sorted(n for n in outside if not n.startswith('_')), file=sys.stderr)\n"
    )
    command = [sys.executable, "-I", "-c", loaded, VKEY]
    ended = subprocess.run(
        command, cwd=tmp_path / "alone", capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    ours, others = ended.stderr.strip().splitlines()[-2:]
    assert ours == "[]"
    assert "cryptography" in others
    for package in ("rfc8785", "grpc", "click", "google", "hypothesis"):
        assert f"'{package}'" not in others


def test_without_the_package_it_needs_it_says_which_and_reads_nothing(
    bundle: dict[str, bytes], tmp_path: Path
) -> None:
    lay(tmp_path / "bundle", bundle)
    program = (
        "import runpy, sys\n"
        "sys.modules['cryptography'] = None\n"
        f"sys.argv = ['verify.py', {str(tmp_path / 'bundle')!r}, '--key', {VKEY!r}]\n"
        f"runpy.run_path({str(verify.__file__)!r}, run_name='__main__')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.splitlines() == [
        "NOT READ. The Python package `cryptography` is missing: pip install cryptography"
    ]


def test_the_source_is_that_of_python_3_8() -> None:
    import ast

    ast.parse(Path(verify.__file__).read_text(), feature_version=(3, 8))


@pytest.mark.parametrize(
    "options",
    [
        ("--key", "nonsense"),
        ("--key", VKEY[:-1]),
        ("--key", VKEY.replace("example", "example2")),
        ("--key", VKEY, "--witness", "x+00000000+AA=="),
        ("--key", VKEY, "--quorum", "1"),
        ("--key", VKEY, "--witness", ONE.vkey, "--witness", ONE.vkey),
        (),
    ],
)
def test_wrong_usage_ends_with_2(
    options: tuple[str, ...], bundle: dict[str, bytes], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    lay(tmp_path / "bundle", bundle)
    try:
        code = verify.main([str(tmp_path / "bundle"), *options])
    except SystemExit as end:
        code = int(str(end.code))
    assert code == 2
    assert capsys.readouterr().err


def read(path: Path) -> str:
    with pytest.raises(verify.Unreadable) as refusal:
        verify.read_bundle(str(path))
    return str(refusal.value)


def test_folders_with_links_or_foreign_names_are_refused(
    bundle: dict[str, bytes], tmp_path: Path
) -> None:
    folder = lay(tmp_path / "linked", bundle)
    (folder / "entries" / "link.json").symlink_to("/etc/passwd")
    assert "symbolic link" in read(folder)
    folder = lay(tmp_path / "linked2", bundle)
    (folder / "more").symlink_to(tmp_path, target_is_directory=True)
    assert "symbolic link" in read(folder)
    assert "not a name" in read(lay(tmp_path / "odd", {"A b\x1b[31m": b""}))
    assert "beyond those" in read(lay(tmp_path / "deep", {"a/b/c/d/e/f": b""}))
    assert "cannot be read" in read(tmp_path / "nowhere")


def zipped(path: Path, name: str, data: bytes = b"", **attributes: Any) -> Path:
    member = zipfile.ZipInfo(name)
    for attribute, value in attributes.items():
        setattr(member, attribute, value)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, data)
    return path


def test_archives_that_bomb_escape_or_lie_are_refused(tmp_path: Path) -> None:
    for name in ("../evil", "/etc/evil", "a/../../evil", "C:\\evil", "a\\..\\evil", "a//b"):
        assert "not a name" in read(zipped(tmp_path / "named.zip", name))
    link = zipped(tmp_path / "link.zip", "a", b"/etc/passwd", external_attr=0o120777 << 16)
    assert "symbolic link" in read(link)
    zeros = bytes(verify.MAX_FILE_BYTES + 1)
    bomb = zipped(tmp_path / "bomb.zip", "a", zeros, compress_type=zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 100_000
    assert "too large" in read(bomb)
    lzma = zipped(tmp_path / "lzma.zip", "a", b"a", compress_type=zipfile.ZIP_LZMA)
    assert "unusual method" in read(lzma)
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        archive.writestr("a", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a", b"2")
    assert "there twice" in read(tmp_path / "twice.zip")
    (tmp_path / "text.zip").write_text("not an archive")
    assert "not a sound .zip" in read(tmp_path / "text.zip")


def test_the_archive_and_the_folder_are_one_bundle(
    bundle: dict[str, bytes], tmp_path: Path
) -> None:
    for name in ("bundle.zip", "bundle"):
        write_bundle(tmp_path / name, bundle)
        assert verify.read_bundle(str(tmp_path / name)) == bundle
        with pytest.raises(FileExistsError):
            write_bundle(tmp_path / name, bundle)


def test_an_archive_made_anew_by_an_ordinary_tool_is_read(
    bundle: dict[str, bytes], tmp_path: Path
) -> None:
    lay(tmp_path / "bundle", bundle)
    shutil.make_archive(str(tmp_path / "again"), "zip", tmp_path / "bundle")
    assert verify.read_bundle(str(tmp_path / "again.zip")) == bundle


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_archive_never_proves_anything_else(
    bundle: dict[str, bytes], tmp_path: Path, data: st.DataObject
) -> None:
    whole = bytearray(zip_bytes(bundle))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] ^= data.draw(st.integers(1, 255))
    if data.draw(st.booleans()):
        del whole[data.draw(st.integers(0, len(whole) - 1)) :]
    file = tmp_path / "damaged.zip"
    file.write_bytes(bytes(whole))
    code = verify.main([str(file), "--key", VKEY])
    assert code in (0, 1, 2)
    if code == 0:
        assert verify.read_bundle(str(file)) == bundle


PIECES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"\n", b"\n\n", b"{}", b"[" * 5000, b'{"a":' * 5000, b"1e9", b"9" * 5000]),
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_mutation_that_is_listed_anew_is_ever_proven(
    bundle: dict[str, bytes], data: st.DataObject
) -> None:
    files = dict(bundle)
    names = sorted(files)
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from(names))
        content = files.get(name, b"")
        start = data.draw(st.integers(0, len(content)))
        end = data.draw(st.integers(start, min(len(content), start + 50)))
        kind = data.draw(st.sampled_from(["replace", "copy", "drop", "rename"]))
        if kind == "replace":
            files[name] = content[:start] + data.draw(PIECES) + content[end:]
        elif kind == "copy":
            files[name] = files.get(data.draw(st.sampled_from(names)), b"")
        else:
            files.pop(name, None)
            if kind == "rename":
                files[data.draw(st.sampled_from(["entries/4.json", "x", *names]))] = content
    again = data.draw(st.booleans())
    story = check(relisted(files) if again else files)
    said(story)
    if story.proven:
        # Whole files stay as they were; a smaller selection could be a bundle of its own.
        same = {name for name in bundle if files.get(name) == bundle[name]}
        assert set(files) - {"manifest.json"} <= same


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))  # fmt: skip
def test_it_reads_json_exactly_where_the_ledgers_own_rules_do(value: object) -> None:
    from concordat_privacy.log import leaf

    wrapped = {"value": value}
    text = json.dumps(wrapped, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        return
    for data in (raw, json.dumps(wrapped).encode()):
        try:
            theirs: object = leaf.parse_item(data)
        except leaf.LeafError:
            theirs = None
        try:
            ours: object = verify.read_json(data)
        except verify.Fault:
            ours = None
        assert ours == theirs


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}', '{"b":1,"a":1}', '{"a":1.0}', '{"a":1e3}', '{"a":-0}', '{"a":01}',
        '{"a":9007199254740992}', '{"a": 1}', '{"a":1} ', '{"a":"e\u0301"}', '{"é":1}',
        '{"a":"\\u0061"}', '{"a":"\\u000a"}', '{"a":"\\/"}', '{"a":NaN}', '{"a":"\t"}', "[]",
        "{" * 100_000, '{"a":' + "[" * 16 + "]" * 16 + "}", '{"a":"\\ud800"}', "", '{"a":tru}',
    ],
)  # fmt: skip
def test_text_that_is_not_canonical_is_refused(text: str) -> None:
    with pytest.raises(verify.Fault):
        verify.read_json(text.encode())


def test_the_report_is_escaped_and_loads_nothing(tmp_path: Path) -> None:
    ledger = Ledger()
    ledger.entries[GRANT]["purposes"] += ["<script>alert(1)</script>\u202e"]
    report = ledger.bundle(tmp_path / "export")["report.html"].decode()
    assert "<script" not in report
    assert "&lt;script&gt;" in report
    assert "\u202e" not in report
    assert "This page is not the authority." in report.split("<h1>")[0]
    assert "verify.py BUNDLE --key" in report.split("<h1>")[0]
    assert "http" not in report.replace("http-equiv", "")


def test_strangers_rows_are_said_to_be_unproven(bundle: dict[str, bytes]) -> None:
    assert f"the consents of 2 other rows of entry {BATCH} item 0" in said(check(bundle))
    assert STRANGER not in said(check(bundle))


def test_base64_has_one_text(bundle: dict[str, bytes]) -> None:
    proof = bundle[f"entries/{GRANT}.tlog-proof"].decode()
    line = proof.split("\n")[2]
    # The last character before the padding has two bits that carry nothing.
    loose = line[:-2] + chr(ord(line[-2]) + 1) + "="
    assert base64.b64decode(loose) == base64.b64decode(line)
    name = f"entries/{GRANT}.tlog-proof"
    story = check(relisted({**bundle, name: proof.replace(line, loose, 1).encode()}))
    assert "canonical base64" in said(story)


def test_a_batch_of_the_older_form_is_said_to_be_unproven(tmp_path: Path) -> None:
    ledger = Ledger()
    del ledger.items[BATCH]
    files = ledger.bundle(tmp_path / "export", entries=[BATCH])
    story = check(files)
    assert (story.faults, story.proven) == ([], False)
    [told] = story.not_shown
    assert told.startswith(f"entry {BATCH}: a batch of 3 rows in the older form, without items")
    # Nor is it passed over in silence where a consent's history is asked for.
    assert BATCH not in check(ledger.bundle(tmp_path / "two", consents=[SECOND])).entries
    assert any("batches of the older form" in limit for limit in verify.LIMITS)


def test_an_erasure_without_its_items_hides_no_end_of_a_consent(tmp_path: Path) -> None:
    ledger = Ledger()
    erased(ledger)
    ledger.items[20].append({"consent": FIRST, "recipient": "alpha"})
    files = ledger.bundle(tmp_path / "export")
    assert [doubt[:15] for doubt in check(files).not_shown] == ["entry 21 item 0"]

    bare = {name: data for name, data in files.items() if not name.startswith("items/20/")}
    story = check(rendered(bare))
    assert story.faults == []
    assert story.not_shown == [
        "entry 20: an erasure, but none of its items is in the bundle: which consents it ended is "
        "not shown"
    ]
    part = {name: data for name, data in files.items() if not name.startswith("items/20/0.")}
    told = check(rendered(part)).entry_lines
    assert "Of the 2 consents that ended by entry 20, 1 is disclosed." in told


@pytest.mark.parametrize("change", ["rows", "first"])
def test_a_batch_whose_items_are_not_its_rows_is_not_proven(change: str, tmp_path: Path) -> None:
    ledger = Ledger()
    if change == "rows":
        ledger.entries[BATCH]["rows"] = 1_000
    else:
        ledger.items[BATCH][0]["first"] = 5
    story = check(ledger.bundle(tmp_path / "export", consents=[SECOND]))
    assert story.faults == []
    wanted = {
        "rows": f"entry {BATCH}: 1000 rows by its entry, 3 by its items",
        "first": f"entry {BATCH} item 0: begins with row 5, 0 rows came before it",
    }
    assert story.not_shown == [wanted[change]]


def test_parts_of_a_batch_that_are_kept_back_are_told(tmp_path: Path) -> None:
    ledger = Ledger()
    ledger.items[BATCH].append({"first": 3, "uses": [{"credit_accounts": STRANGER}], "rows": [0]})
    ledger.entries[BATCH]["rows"] = 4
    story = check(ledger.bundle(tmp_path / "export", consents=[SECOND]))
    assert story.proven
    assert f"Of the 2 parts of the rows of entry {BATCH}, 1 is disclosed." in story.entry_lines


def test_openings_of_two_consents_exchanged_are_found(tmp_path: Path) -> None:
    files = Ledger().bundle(tmp_path / "export")

    def exchange(found: list[dict[str, Any]]) -> None:
        one, other = found[0], found[1]
        for name in ("name", "salt"):
            one[name], other[name] = other[name], one[name]

    assert "does not open the subject of" in said(openings_changed(files, exchange))


def test_a_larger_signed_tree_is_not_put_under_older_proofs(tmp_path: Path) -> None:
    """The ledger grew; its genuine newer checkpoint is put in, and everything listed anew."""
    grown = Ledger()
    grown.entries.append({"type": "test.filler", "n": SIZE})
    newer = grown.note(SIZE + 1).encode()
    files = Ledger().bundle(tmp_path / "export")
    old = files["checkpoint"]
    alone = check(relisted({**files, "checkpoint": newer}))
    assert any(fault.startswith("consistency: it does not end with") for fault in alone.faults)
    # In every file that ends with it, too: then the proofs lead to another root.
    everywhere = {name: data.replace(old, newer) for name, data in files.items()}
    assert "does not lead to the root" in said(check(relisted(everywhere)))
    manifest = files["manifest.json"].replace(b'"ledger":"', b'"ledger":"x')
    assert "of the ledger x" in said(check({**files, "manifest.json": manifest}))


def replacing(withdrawn: list[list[int]], **fields: Any) -> Ledger:
    """A ledger where entry 20 replaces a row of BATCH, and entry 21 withdraws rows."""
    ledger = Ledger()
    ledger.entries[20] = {"type": "contribution.batch", "rows": 1, "replaced": 1}
    uses = [{"credit_accounts": SECOND}]
    replaces = [[0, BATCH, 2]]
    ledger.items[20] = [{"first": 0, "uses": uses, "rows": [0], "replaces": replaces}]
    ledger.entries[21] = {"type": "contribution.withdrawn", "rows": 1, "refused": 0, **fields}
    ledger.items[21] = [{"first": 0, "withdrawn": withdrawn}]
    return ledger


def test_rows_that_were_replaced_and_withdrawn_are_told(tmp_path: Path) -> None:
    files = replacing([[20, 0]]).bundle(tmp_path / "export", entries=[BATCH, 20, 21])
    story = check(files)
    assert (story.faults, story.not_shown, story.proven) == ([], [], True)
    told = story.entry_lines
    assert f"Rows that entry 20 item 0 has replaced: row 2 of entry {BATCH}." in told
    assert "Rows that entry 21 item 0 has withdrawn: row 0 of entry 20." in told
    assert any("took 1 accounts or applications of its own out of the pool" in one for one in told)


@pytest.mark.parametrize(
    ("withdrawn", "fields", "doubt"),
    [
        ([[20, 1]], {}, "names row 1 of entry 20, which holds no such row"),
        ([[LOOKUP, 0]], {}, f"names row 0 of entry {LOOKUP}, which holds no such row"),
        ([[21, 0]], {}, "names row 0 of entry 21, which is not before it"),
        (
            [[BATCH, 2]],
            {},
            f"names row 2 of entry {BATCH}, which was replaced or withdrawn before",
        ),
        (
            [[20, 0]],
            {"actor": "spiffe://concordat.example/member/beta"},
            "names row 0 of entry 20, which is another's",
        ),
        ([[20]], {}, "its withdrawn are malformed"),
        ([[20, -1]], {}, "its withdrawn are malformed"),
    ],
)
def test_a_withdrawal_of_a_row_that_cannot_be_is_not_proven(
    withdrawn: list[list[int]], fields: dict[str, Any], doubt: str, tmp_path: Path
) -> None:
    ledger = replacing(withdrawn, **fields)
    story = check(ledger.bundle(tmp_path / "export", entries=[BATCH, LOOKUP, 20, 21]))
    assert story.faults == []
    assert f"entry 21 item 0: {doubt}" in story.not_shown
    assert not story.proven
