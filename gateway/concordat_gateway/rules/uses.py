"""How an entry names the consents that its uses rest on, and the last look before it is appended.

A rule asks `permits` and decides. What it then writes into the ledger is looked at once more here,
against the rows of the store that it decided by and in the same transaction: each consent that the
entry names was found, is the actor's and the subject's, is live now, and covers the purpose and
the category. It costs no statement. An entry that fails is a fault of this program: nothing is
appended, and the call ends as an internal error, not as a refusal.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import cast

from concordat_gateway.ledger.journal import Entry, Item, Transaction
from concordat_gateway.rules.permits import Ground
from concordat_gateway.rules.scopes import CATEGORIES, CONSENT_ID_BYTES, ConsentId, Purpose, covers
from concordat_gateway.store.subjects import SubjectKey
from concordat_privacy.catalogue.bands import DataCategory
from concordat_privacy.log.leaf import Json
from concordat_rpc.peer import Peer

ROWS_AN_ITEM = 256
NO_CONSENT = bytes(CONSENT_ID_BYTES).hex()
"""Stands where no consent covers a category, so that items of any decision have one size."""

CATEGORY_NAMES: Mapping[DataCategory, str] = {
    category: category.name.lower() for category in sorted(CATEGORIES)
}
_BY_NAME = {name: category for category, name in CATEGORY_NAMES.items()}

Use = tuple[tuple[DataCategory, ...], tuple[ConsentId, ...]]
"""The categories that one row needs, and the consent behind each."""


class UntiedUseError(Exception):
    """An entry was about to name a consent that does not allow the use. Nothing was appended."""


def use_items(uses: Sequence[Use], replaced: Sequence[Sequence[Json]] = ()) -> list[Item]:
    """Items that tell for each row, in order, the consents behind it: one for up to 256 rows.

    `first` is the position of an item's first row; `rows` has for each row an index into `uses`,
    whose elements are {category: consent id}. `replaced` names, in order, the rows that replace
    others: [position, entry of the other, position there]; an item has those of its own rows.
    """
    replacing: dict[int, list[Json]] = {}
    for one in replaced:
        replacing.setdefault(cast(int, one[0]) // ROWS_AN_ITEM, []).append([*one])
    items: list[Item] = []
    for first in range(0, len(uses), ROWS_AN_ITEM):
        index: dict[Use, int] = {}
        rows = [index.setdefault(use, len(index)) for use in uses[first : first + ROWS_AN_ITEM]]
        named: list[Json] = [
            {CATEGORY_NAMES[c]: consent.hex() for c, consent in zip(*use, strict=True)}
            for use in index
        ]
        content: dict[str, Json] = {"first": first, "rows": [*rows], "uses": named}
        if first // ROWS_AN_ITEM in replacing:
            content["replaces"] = replacing[first // ROWS_AN_ITEM]
        items.append(Item(content))
    return items


def append_use(
    transaction: Transaction,
    type: str,
    actor: Peer,
    purpose: Purpose,
    fields: Mapping[str, Json],
    items: Sequence[Item],
    *,
    subjects: Sequence[SubjectKey],
    grounds: Iterable[Ground],
    changes_pool: bool = False,
) -> Entry:
    """Append an entry about uses, if the consents that it names allow them.

    Args:
        items: with `consents` and `decision` (one use), or with `uses` and `rows` (one a row).
        subjects: whose data each use is about, in the order of the items and of their rows.
        grounds: what the rule read of the consents in this transaction.

    Raises:
        UntiedUseError: a consent does not allow a use; nothing is appended.
        LeafError: as `Transaction.append`.
    """
    known = {ground.consent_id.hex(): ground for ground in grounds}

    def whose(use: Mapping[str, Json]) -> SubjectKey | None:
        """The subject of the consents that a use names; None where it names none."""
        subject: SubjectKey | None = None
        for name, consent in use.items():
            ground = known.get(cast(str, consent))
            if ground is None:
                if consent == NO_CONSENT:
                    continue
                raise UntiedUseError(f"{type}: consent {consent} was not read")
            if (
                ground.subject != (subject or ground.subject)
                or ground.recipient != actor.name
                or ground.activated_at is None
                or ground.paused_at is not None
                or ground.withdrawn_at is not None
                or ground.revoked_at is not None
                or not ground.starts_at <= transaction.now < ground.expires_at
                or not covers(ground.purposes, purpose)
                or not covers(ground.categories, _BY_NAME[name])
            ):
                raise UntiedUseError(f"{type}: consent {consent} does not allow {name}")
            subject = ground.subject
        return subject

    for subject, owner in zip(subjects, _owners(items, whose), strict=True):
        if owner is not None and owner != subject:
            raise UntiedUseError(f"{type}: a use of one subject rests on another's consent")
    return transaction.append(type, actor.spiffe_id, fields, items, changes_pool)


def _owners(
    items: Iterable[Item], whose: Callable[[Mapping[str, Json]], SubjectKey | None]
) -> Iterator[SubjectKey | None]:
    """Whose consents each use rests on, in the order of the items and of their rows."""
    for item in items:
        content = item.content
        if "rows" in content:
            uses = cast(Sequence[Mapping[str, Json]], content["uses"])
            # Once for each use and not for each row: a batch has 20,000 rows.
            owners = [whose(use) for use in uses]
            if any(NO_CONSENT in use.values() for use in uses):
                raise UntiedUseError("a row was taken without a consent")
            for index in cast(Sequence[int], content["rows"]):
                yield owners[index]
        else:
            use = cast(Mapping[str, Json], content["consents"])
            permitted = any(consent != NO_CONSENT for consent in use.values())
            if permitted != (content["decision"] == "permit"):
                raise UntiedUseError("a decision and the consents beside it disagree")
            yield whose(use)
