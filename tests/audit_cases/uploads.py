"""Uploads: their parts and their ends."""

from concordat_privacy.audit.findings import Kind
from tests.audit_cases.builders import end, part
from tests.audit_cases.cases import case
from tests.logbook import Logbook


@case(Kind.UPLOAD_OUT_OF_ORDER)
def an_upload_begins_with_its_first_part(log: Logbook, bad: bool) -> int:
    return part(log, log.id(), 2 if bad else 1)


@case(Kind.UPLOAD_OUT_OF_ORDER)
def no_part_of_an_upload_is_missing(log: Logbook, bad: bool) -> int:
    upload = log.id()
    part(log, upload, 1)
    return part(log, upload, 3 if bad else 2)


@case(Kind.UPLOAD_OUT_OF_ORDER)
def a_part_is_taken_once(log: Logbook, bad: bool) -> int:
    upload = log.id()
    for sequence in (1, 2):
        part(log, upload, sequence)
    return part(log, upload, 2 if bad else 3)


@case(Kind.UPLOAD_OUT_OF_ORDER)
def a_part_does_not_come_after_later_ones(log: Logbook, bad: bool) -> int:
    upload = log.id()
    for sequence in (1, 2, 3):
        part(log, upload, sequence)
    index = part(log, upload, 1 if bad else 4)
    part(log, upload, 4 if bad else 5)
    return index


@case(Kind.UPLOAD_OUT_OF_ORDER)
def each_member_counts_the_parts_of_its_own_uploads(log: Logbook, bad: bool) -> int:
    # Two members may choose one id.
    upload = log.id()
    part(log, upload, 1)
    return part(log, upload, 2 if bad else 1, "beta")


@case(Kind.UPLOAD_AFTER_END)
def no_part_comes_after_the_end(log: Logbook, bad: bool) -> int:
    upload = log.id()
    part(log, upload, 1)
    end(log, upload, 1)
    return part(log, upload if bad else log.id(), 2 if bad else 1)


@case(Kind.UPLOAD_AFTER_END)
def an_upload_ends_once(log: Logbook, bad: bool) -> int:
    upload = log.id()
    part(log, upload, 1)
    index = end(log, upload, 1)
    return end(log, upload, 1) if bad else index


@case(Kind.UPLOAD_MISCOUNTED)
def an_end_counts_the_parts(log: Logbook, bad: bool) -> int:
    upload = log.id()
    for sequence in (1, 2):
        part(log, upload, sequence)
    return end(log, upload, 3 if bad else 2)


@case(Kind.UPLOAD_MISCOUNTED)
def an_end_counts_the_rows_that_were_taken(log: Logbook, bad: bool) -> int:
    upload = log.id()
    part(log, upload, 1, rows=2)
    part(log, upload, 2, rows=1)
    return end(log, upload, 2, rows=2 if bad else 3)


@case(Kind.UPLOAD_MISCOUNTED)
def an_end_counts_the_rows_that_were_refused(log: Logbook, bad: bool) -> int:
    upload = log.id()
    part(log, upload, 1, refused=3)
    part(log, upload, 2, refused=4)
    return end(log, upload, 2, refused=4 if bad else 7)


@case(Kind.UPLOAD_MISCOUNTED)
def an_upload_that_ends_has_parts_of_the_same_member(log: Logbook, bad: bool) -> int:
    upload = log.id()
    part(log, upload, 1)
    return end(log, upload, 1, by="beta" if bad else "alpha")


@case(Kind.MALFORMED)
def parts_are_counted_from_one(log: Logbook, bad: bool) -> int:
    return part(log, log.id(), 0 if bad else 1)


@case(Kind.MALFORMED)
def a_part_is_no_batch_of_a_request(log: Logbook, bad: bool) -> int:
    index = part(log, log.id(), 1)
    if bad:
        log.entries[index]["request"] = log.id()
    return index


@case(Kind.WRONG_ACTOR)
def an_upload_is_ended_by_its_member(log: Logbook, bad: bool) -> int:
    # Nobody else's name is that of a member, but for a role that has the same.
    upload = log.id()
    part(log, upload, 1)
    return end(log, upload, 1, by="operator/alpha" if bad else "alpha")
