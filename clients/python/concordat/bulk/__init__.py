"""Whole files and frames of rows: mapped, banded and tokenised here, sent in resumable jobs.

    from concordat import Client
    from concordat.bulk import upload

    with Client.open("alpha") as client:
        report = upload(client, "october.csv", "mapping.toml", journal="alpha/bulk/october.journal")

Raw values never leave the process. See docs/contributing-data.md.
"""

from concordat.bulk._progress import Progress
from concordat.bulk.errors import JobBusy, JobChanged, JournalError, MappingError, SourceError
from concordat.bulk.granting import GrantReport, grant
from concordat.bulk.job import DEFAULT_BATCH_ROWS, Report, upload, withdraw
from concordat.bulk.mapping import INCLUDED, Mapping, load_mapping, parse_mapping
from concordat.bulk.sources import CsvFile, Source, open_source

__all__ = [
    "DEFAULT_BATCH_ROWS",
    "INCLUDED",
    "CsvFile",
    "GrantReport",
    "JobBusy",
    "JobChanged",
    "JournalError",
    "Mapping",
    "MappingError",
    "Progress",
    "Report",
    "Source",
    "SourceError",
    "grant",
    "load_mapping",
    "open_source",
    "parse_mapping",
    "upload",
    "withdraw",
]
