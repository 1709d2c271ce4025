"""The story, step by step. Every figure that is printed is noted in the report by its name."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from textwrap import indent
from typing import Final, TypeVar

from concordat import (
    Budget,
    Client,
    CountResult,
    DataCategory,
    Dimension,
    LookupResult,
    Options,
    ProductClass,
    Purpose,
    SubjectStatus,
    UtilisationBand,
)
from concordat_demo import model, plot, verdict
from concordat_demo.data import Loans
from concordat_demo.failure import DemoFailed
from concordat_demo.lenders import CONTRIBUTORS, SCORING, Lender
from concordat_demo.market import Market, divide_market
from concordat_demo.narrator import Narrator
from concordat_demo.party import Party
from concordat_demo.processes import Gateway, concordat, free_address, verify_evidence
from concordat_demo.report import REAL, SIMULATED, Figure, Report
from concordat_demo.tamper import change_one_byte, ledger_size
from concordat_demo.workspace import Workspace

SEED: Final = 2026
EPSILON: Final = 0.2
"""Enough to count thousands of people to within a percent."""
NEARLY_FULL: Final = frozenset(
    {UtilisationBand.FROM_75_TO_90, UtilisationBand.FROM_90_TO_100, UtilisationBand.OVER_100}
)
_CATEGORIES: Final = (DataCategory.CREDIT_ACCOUNTS, DataCategory.INQUIRIES)
_OPTIONS: Final = Options(timeout_seconds=60, parallelism=2)
_VERIFICATION_FAILED: Final = 1

_Item = TypeVar("_Item")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Parties:
    """The five lenders with their open clients."""

    scoring: Party
    contributors: tuple[Party, ...]

    @property
    def all(self) -> tuple[Party, ...]:
        """The scoring lender first."""
        return (self.scoring, *self.contributors)


@dataclass
class Story:
    """`tell` runs the steps in order; each is a method."""

    workspace: Workspace
    narrator: Narrator
    loans: Loans
    report: Report = field(default_factory=Report)

    def tell(self) -> None:
        """Run everything, and write report and plot.

        Raises DemoFailed or concordat.ConcordatError, with the gateway stopped.
        """
        self._introduce()
        loans, market = self.loans, self._prepare()
        with self._gateway(), self._parties() as parties:
            self._make_tokens(market, len(loans), parties)
            self._record_consents(parties)
            self._contribute(market, parties)
            results = self._look_up(len(loans), parties.scoring)
            person, lender = self._withdraw(market, parties)
            self._ask(market, person, lender, parties)
            widths = self._signal_widths(parties.scoring)
            self._export()
        self._audit()
        self._prove()
        self._score(loans, results, widths)
        self._tamper()
        narrator = self.narrator
        self.report.write(self.workspace.report, narrator.seconds, narrator.seconds_total)

    def _introduce(self) -> None:
        self.narrator.say("Concordat: five lenders, one gateway, real loans.")
        self.narrator.say(f"Real:      {REAL}.")
        self.narrator.say(f"Simulated: {SIMULATED}.")
        self.narrator.say()

    def _prepare(self) -> Market:
        loans = self.loans
        with self.narrator.step("prepare", "The loans, and what each lender holds about them"):
            market = divide_market(loans, today=datetime.now(UTC).date(), seed=SEED)
            self._show(subjects=len(loans), bad_loans=int(loans.is_bad.sum()))
            for book in market.books:
                self.narrator.figure(
                    f"{book.lender.display_name} holds",
                    f"{book.record_count:,} rows on {len(book.records):,} people",
                )
                name = book.lender.member_id
                self.report.add(
                    **{f"rows_{name}": book.record_count, f"people_{name}": len(book.records)}
                )
        return market

    @contextmanager
    def _gateway(self) -> Iterator[None]:
        with self.narrator.step("init", "concordat init: authority, certificates, keys"):
            concordat("init", self.workspace.gateway, "--listen", free_address())
        gateway = Gateway(self.workspace.gateway_config, self.workspace.gateway_log)
        with ExitStack() as stack:
            with self.narrator.step("serve", "concordat serve: mutual TLS 1.3, SQLite"):
                stack.enter_context(gateway)
                self.narrator.figure("supervisor's process id", str(gateway.pid))
            self._admit()
            yield
            with self.narrator.step("stop", "The gateway drains and stops; its data stay"):
                code = gateway.stop()
                if code != 0:
                    raise DemoFailed(f"the gateway ended with exit code {code}")

    def _admit(self) -> None:
        lenders = (SCORING, *CONTRIBUTORS)
        with self.narrator.step("join", "Five lenders are invited and join") as step:
            bar = step.bar("members", len(lenders))

            def admit(lender: Lender) -> None:
                invitation = self.workspace.invitations / f"{lender.member_id}.json"
                concordat(
                    *("member", "invite", lender.member_id, "--name", lender.display_name),
                    *("--profile", self.workspace.operator, "--out", invitation),
                )
                concordat("member", "accept", invitation, self.workspace.profile(lender))
                bar.advance()

            _in_parallel(lenders, admit)
            self._show(members=len(lenders))

    @contextmanager
    def _parties(self) -> Iterator[Parties]:
        with ExitStack() as stack:

            def party(lender: Lender) -> Party:
                client = Client.open(self.workspace.profile(lender), _OPTIONS)
                return Party(lender, stack.enter_context(client))

            yield Parties(party(SCORING), tuple(map(party, CONTRIBUTORS)))

    def _make_tokens(self, market: Market, subjects: int, parties: Parties) -> None:
        people = {SCORING: list(range(subjects))}
        people |= {book.lender: list(book.records) for book in market.books}
        with self.narrator.step("tokens", "Identity numbers become tokens, proofs checked") as step:
            bars = {lender: step.bar(lender.member_id, len(people[lender])) for lender in people}
            _in_parallel(
                parties.all, lambda p: p.tokenise(people[p.lender], bars[p.lender].advance)
            )
            self._show(tokens=sum(map(len, people.values())))

    def _record_consents(self, parties: Parties) -> None:
        contribute = (Purpose.CONTRIBUTION, Purpose.AGGREGATE_STATISTICS)

        def grant(party: Party) -> None:
            purposes = (Purpose.UNDERWRITING,) if party is parties.scoring else contribute
            party.grant(list(party.tokens), purposes, _CATEGORIES, bars[party.lender].advance)

        with self.narrator.step("consents", "Consents: one entry of the ledger each") as step:
            bars = {p.lender: step.bar(p.lender.member_id, len(p.tokens)) for p in parties.all}
            _in_parallel(parties.all, grant)
            self._show(consents=sum(len(party.consents) for party in parties.all))

    def _contribute(self, market: Market, parties: Parties) -> None:
        with self.narrator.step("contribute", "Four lenders contribute banded rows") as step:
            bars = [step.bar(b.lender.member_id, b.record_count) for b in market.books]
            work = list(zip(parties.contributors, market.books, bars, strict=True))
            done = _in_parallel(work, lambda job: job[0].contribute(job[1], job[2].advance))
            self._show(
                rows_contributed=sum(result.rows_accepted for result in done),
                batches=sum(len(result.batches) for result in done),
            )

    def _look_up(self, subjects: int, scoring: Party) -> list[LookupResult]:
        with self.narrator.step("lookups", "The scoring lender looks all applicants up") as step:
            bar = step.bar("lookups", subjects)
            results = scoring.look_up(range(subjects), model.SIGNALS, bar.advance)
            refused = sum(result.status is not SubjectStatus.OK for result in results)
            if refused:
                raise DemoFailed(f"{refused} of {subjects} lookups were refused, with consents")
            self._show(lookups=len(results))
        return results

    def _withdraw(self, market: Market, parties: Parties) -> tuple[int, Lender]:
        """One person takes back two consents; each takes effect with the next lookup."""
        scoring = parties.scoring
        person, lenders = _person_with_lenders(market, 3)
        furnisher = next(p for p in parties.contributors if p.lender is lenders[0])
        token = scoring.tokens[person]

        def look_up(purpose: Purpose = Purpose.UNDERWRITING) -> LookupResult:
            return scoring.client.lookup(token, purpose)

        def withdraw(party: Party, use: str) -> None:
            party.client.withdraw_consent(party.consents[person])
            tell(f"   consent for {party.lender.display_name} to {use}", "withdrawn")

        tell = self.narrator.figure
        with self.narrator.step("withdrawal", "A person withdraws; the next lookup obeys"):
            before = look_up()
            tell("1. lookup for underwriting", f"{before.status.name}: {_some_signals(before)}")
            other_purpose = look_up(Purpose.PORTFOLIO_REVIEW)
            tell("2. for portfolio_review, not consented to", other_purpose.status.name)
            withdraw(furnisher, "contribute")
            hidden = look_up()
            was, now = before["lenders_open"].band_label, hidden["lenders_open"].band_label
            tell("3. lookup for underwriting", f"{hidden.status.name}: lenders_open {was} -> {now}")
            withdraw(scoring, "look up")
            after = look_up()
            proven = scoring.client.verify_receipt(after.receipt)
            entry = f"the refusal is ledger entry {proven.entry_index:,}"
            tell("4. lookup for underwriting", f"{after.status.name}: {entry}")
            self.report.add(
                lookups_about_this_person=4,
                other_purpose_status=other_purpose.status.name,
                signals_before_withdrawal=_some_signals(before),
                lenders_open_before=was,
                lenders_open_after_furnisher_withdrawal=now,
                status_before_withdrawal=before.status.name,
                status_after_withdrawal=after.status.name,
                lookup_entry=before.receipt.entry_index,
                refusal_entry=proven.entry_index,
                consents_withdrawn=2,
            )
        expected = (SubjectStatus.NO_CONSENT, SubjectStatus.OK, SubjectStatus.NO_CONSENT)
        if (other_purpose.status, before.status, after.status) != expected:
            raise DemoFailed("a lookup was answered otherwise than the consents say")
        if before["lenders_open"].band == hidden["lenders_open"].band:
            raise DemoFailed(f"{furnisher.lender.display_name}'s rows show after the withdrawal")
        return person, furnisher.lender

    def _ask(self, market: Market, person: int, withdrawn: Lender, parties: Parties) -> None:
        """Ask a question of the whole pool, and have another lender ask it again."""
        where: Mapping[Dimension, Collection[int]] = {
            Dimension.PRODUCT: [ProductClass.REVOLVING],
            Dimension.UTILISATION: sorted(NEARLY_FULL),
        }
        title = f"How many people use 75% or more of a revolving line? (epsilon {EPSILON:g})"
        with self.narrator.step("ask", title):
            answer = parties.scoring.client.count(where, epsilon=EPSILON)
            again = parties.contributors[0].client.count(where, epsilon=EPSILON)
            pool = _pool_budget(parties.scoring)
            truth = _count_nearly_full(market, excluding=(person, withdrawn))
            self._show(
                dp_epsilon_asked=EPSILON,
                dp_count=answer.cells[0].count,
                dp_error_95=answer.error_95,
                dp_mechanism=answer.mechanism,
                dp_true_count=truth,
                dp_charged_rho=answer.charged_rho,
                dp_asked_again_same_answer=_cells(again) == _cells(answer),
                dp_asked_again_charged_rho=again.charged_rho,
                epsilon_spent=pool.spent_epsilon,
                budget_spent_rho=pool.spent_rho,
                budget_left_rho=pool.left_rho,
            )
            self.narrator.say(
                "     (Only the demo, which made all rows, can know the true count.)\n"
                "     (epsilon_spent: the account is kept in rho; converted at delta 1e-6, one "
                f"question of epsilon {EPSILON:g} reads {pool.spent_epsilon:.2f}.)"
            )

    def _signal_widths(self, scoring: Party) -> dict[str, int]:
        catalogue = scoring.client.list_signals()
        return {signal.name: len(signal.band_labels) for signal in catalogue.signals}

    def _export(self) -> None:
        workspace = self.workspace
        with self.narrator.step("verify", "The auditor exports the ledger and verifies it offline"):
            concordat("ledger", "export", workspace.ledger, "--profile", workspace.auditor)
            code, _ = self._verify(workspace.ledger)
            self._show(ledger_entries=ledger_size(workspace.ledger), ledger_verified=code == 0)
        if code != 0:
            raise DemoFailed("the exported ledger does not verify")

    def _audit(self) -> None:
        """Hold every use in the export against the consent that it names, without the gateway."""
        workspace = self.workspace
        title = "From the export alone: was every use allowed by a consent?"
        with self.narrator.step("audit", title):
            _, said = concordat(
                *("audit", "exceptions", workspace.ledger),
                *("--key", workspace.ledger_key, "--format", "json"),
            )
            answer = json.loads(said)
            facts = answer["facts"]
            self._show(
                uses_checked=facts["uses_checked"],
                uses_without_valid_consent=facts["uses_without_valid_consent"],
                uses_not_recheckable=facts["uses_not_recheckable"],
                audit_findings=answer["findings"],
            )
        if facts["uses_without_valid_consent"] or answer["findings"]:
            raise DemoFailed(f"the audit found something:\n{said}")

    def _prove(self) -> None:
        """One lookup as evidence, checked by a single file that knows nothing of the gateway."""
        workspace = self.workspace
        with self.narrator.step("evidence", "One lookup as evidence for a court"):
            concordat(
                *("evidence", "make", workspace.ledger, workspace.evidence),
                *("--key", workspace.ledger_key),
                *("--entry", str(self.report.figures["lookup_entry"])),
            )
            _, verifier = concordat("evidence", "verifier")
            workspace.verifier.write_text(verifier)
            proven, said = verify_evidence(
                workspace.verifier, workspace.evidence, workspace.ledger_key
            )
            self._show(evidence_proven=proven)
            self.narrator.say(indent(said.strip(), "     "))
        if not proven:
            raise DemoFailed("the evidence does not hold")

    def _tamper(self) -> None:
        """Change one byte of a copy: the verification must fail, and name that entry."""
        workspace = self.workspace
        with self.narrator.step("tamper", "One byte of a copy is changed"):
            shutil.copytree(workspace.ledger, workspace.tampered_ledger)
            change = change_one_byte(workspace.tampered_ledger, seed=SEED)
            code, said = self._verify(workspace.tampered_ledger)
            named = re.search(r"^First wrong entry: (\d+)$", said, re.MULTILINE)
            found = int(named[1]) if named else -1
            detected = code == _VERIFICATION_FAILED and found == change.entry
            self._show(
                tampered_entry=change.entry,
                tampered_file=change.file,
                tampered_byte=change.offset,
                tamper_reported_entry=found,
                tamper_detected=detected,
            )
        if not detected:
            raise DemoFailed(f"the change of entry {change.entry} was not found:\n{said}")

    def _verify(self, ledger: Path) -> tuple[int, str]:
        key = self.workspace.ledger_key
        return concordat("ledger", "verify", ledger, "--key", key, expect=(0, _VERIFICATION_FAILED))

    def _score(self, loans: Loans, results: Sequence[LookupResult], widths: dict[str, int]) -> None:
        title = "The lender's scorecard, without and with the signals"
        with self.narrator.step("score", title) as step:
            bar = step.bar("models", model.MODELS)
            worth = model.measure(loans, results, widths, seed=SEED, done=bar.advance)
            plot.draw(self.workspace.plot, worth.own, worth.enriched, loans.is_bad)
            self.report.add(**verdict.figures(worth))
            self.narrator.table(verdict.table(worth))
            for line in verdict.remarks(worth):
                self.narrator.say(f"     {line}")

    def _show(self, **figures: Figure) -> None:
        """Print figures and note them in the report."""
        self.report.add(**figures)
        for name, value in figures.items():
            self.narrator.figure(name, _in_words(value))


def _in_parallel(items: Sequence[_Item], work: Callable[[_Item], _T]) -> list[_T]:
    """`work` on all items at once, in threads; their results in order, or the first failure."""
    pool = ThreadPoolExecutor(len(items))
    try:
        return list(pool.map(work, items))
    finally:
        # After a failure or an interrupt nobody waits for the others: closing their clients, which
        # follows, ends their calls.
        pool.shutdown(wait=False, cancel_futures=True)


def _person_with_lenders(market: Market, count: int) -> tuple[int, list[Lender]]:
    """A person with open accounts at exactly `count` lenders, and these lenders.

    The last such customer of the first book, so that person 0 is left for whoever tries the
    commands that the demo prints at its end.
    """
    for person in reversed(market.books[0].records):
        lenders = market.lenders_with_open_accounts(person)
        if len(lenders) == count and lenders[0] is market.books[0].lender:
            return person, lenders
    raise DemoFailed(f"nobody has open accounts at {count} lenders")


def _count_nearly_full(market: Market, *, excluding: tuple[int, Lender]) -> int:
    """The people with a revolving line in NEARLY_FULL, without one lender's rows on one person."""
    return len(
        {
            person
            for person in range(market.people)
            for lender, account in market.accounts_of(person)
            if (person, lender) != excluding
            and account.product is ProductClass.REVOLVING
            and account.utilisation in NEARLY_FULL
        }
    )


def _some_signals(result: LookupResult) -> str:
    names = ("lenders_open", "open_accounts", "utilisation", "inquiries_12m")
    return ", ".join(f"{name} {result[name].band_label or 'unknown'}" for name in names)


def _pool_budget(party: Party) -> Budget:
    return next(budget for budget in party.client.budget() if budget.scope == "pool")


def _cells(answer: CountResult) -> list[tuple[int, int]]:
    return [(cell.band, cell.count) for cell in answer.cells]


def _in_words(value: Figure) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else value
