"""`concordat consent grant-file`: the consents of a whole file's persons, in a job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from concordat_gateway.commands._consent_terms import (
    READ_FILE,
    sha256_of,
    terms_of,
    terms_options,
)
from concordat_gateway.commands._jobs import (
    end_with_refused,
    job,
    journal_of,
    of_a_job,
    say_was_done,
    shown,
)

if TYPE_CHECKING:
    from concordat import ConsentDraft, Token


@click.command("grant-file")
@of_a_job
@terms_options
@click.option(
    "--evidence",
    type=READ_FILE,
    help="The one document that stands for all persons; its SHA-256 is recorded.",
)
@click.option(
    "--evidence-column",
    metavar="COLUMN",
    help="In its place: the column with the SHA-256 of each person's own document.",
)
def grant_file(
    file: Path,
    mapping: str,
    identifier: str | None,
    profile: Path,
    job_name: str | None,
    rejects: Path | None,
    encoding: str | None,
    portfolio: bool,
    timeout: float | None,
    evidence: Path | None,
    evidence_column: str | None,
    **terms: Any,
) -> None:
    """Record the consent that each person of FILE gave, once each, with its evidence.

    FILE and --mapping are those of `concordat contribute`; only the subject is read. Ends with 0
    if all were recorded, 1 if some were refused, 2 if it is not done: run the same command again,
    and it goes on at the first request that was not answered. The same job records nobody twice;
    another job records other consents beside these.
    """
    import concordat
    from concordat import bulk

    if (evidence is None) == (evidence_column is None):
        raise click.UsageError("Exactly one of --evidence and --evidence-column is needed.")
    fields = terms_of(terms)

    def draft(token: Token, evidence_sha256: bytes | None) -> ConsentDraft:
        return concordat.ConsentDraft(token=token, evidence_sha256=evidence_sha256, **fields)

    journal = journal_of(profile, job_name, f"{file.name}.consents")
    with job(profile, mapping, identifier) as (client, checked):
        report = bulk.grant(
            *(client, file, checked, draft),
            journal=journal,
            evidence_sha256=None if evidence is None else sha256_of(evidence),
            evidence_column=evidence_column,
            rejects=rejects,
            encoding=encoding,
            portfolio=portfolio,
            progress=shown("recorded"),
            timeout=timeout,
        )
    if report.was_done:
        say_was_done(
            "Those who agreed since go into a file of their own, with another --job NAME, which "
            "would record all of this file a second time."
        )
    click.echo(
        f"{report.rows_read:,} rows read, {report.consents_recorded:,} consents recorded, "
        f"{report.rows_refused:,} refused, {report.rows_repeated:,} of persons named before."
    )
    end_with_refused(report.rows_refused, rejects)
