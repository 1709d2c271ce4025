"""Members, what they may do and how much."""

from concordat_privacy.audit.findings import Kind
from tests.audit_cases.cases import case
from tests.logbook import NONE, Logbook


@case(Kind.MEMBER_UNKNOWN)
def only_members_act(log: Logbook, bad: bool) -> int:
    return log.lookup([], "delta" if bad else "beta", refused=1)


@case(Kind.MEMBER_UNKNOWN)
def an_invited_member_acts_after_it_has_joined(log: Logbook, bad: bool) -> int:
    log.add("member.invited", "operator/op", member="delta", name="Delta", certificate=NONE)
    if not bad:
        log.add("member.joined", "invitation/delta", member="delta", certificate=NONE)
    return log.lookup([], "delta", refused=1)


def suspend(log: Logbook, member: str, kind: str = "member.suspended") -> int:
    return log.add(kind, "operator/op", member=member, reason="under review")


@case(Kind.MEMBER_SUSPENDED)
def a_suspended_member_uses_nothing(log: Logbook, bad: bool) -> int:
    consent = log.grant()
    suspend(log, "alpha")
    if not bad:
        suspend(log, "alpha", "member.reinstated")
    return log.lookup([consent])


@case(Kind.MEMBER_SUSPENDED)
def a_suspended_member_may_still_record_withdrawals(log: Logbook, bad: bool) -> int:
    consent = log.grant()
    suspend(log, "alpha")
    if bad:
        log.grant()
    else:
        log.withdraw(consent)
    return len(log.entries) - 1


@case(Kind.MEMBER_INCONSISTENT)
def a_member_is_suspended_once(log: Logbook, bad: bool) -> int:
    suspend(log, "alpha")
    return suspend(log, "alpha" if bad else "beta")


@case(Kind.MEMBER_INCONSISTENT)
def only_a_suspended_member_is_reinstated(log: Logbook, bad: bool) -> int:
    if not bad:
        suspend(log, "alpha")
    return suspend(log, "alpha", "member.reinstated")


@case(Kind.MEMBER_INCONSISTENT)
def a_member_joins_after_an_invitation(log: Logbook, bad: bool) -> int:
    if not bad:
        log.add("member.invited", "operator/op", member="delta", name="Delta", certificate=NONE)
    return log.add("member.joined", "invitation/delta", member="delta", certificate=NONE)


@case(Kind.WRONG_ACTOR)
def members_are_invited_by_the_operator(log: Logbook, bad: bool) -> int:
    by = "alpha" if bad else "operator/op"
    return log.add("member.invited", by, member="delta", name="Delta", certificate=NONE)


@case(Kind.WRONG_ACTOR)
def actors_are_of_one_trust_domain(log: Logbook, bad: bool) -> int:
    index = log.lookup([log.grant()])
    if bad:
        log.entries[index]["actor"] = "spiffe://elsewhere.example/member/alpha"
    return index


@case(Kind.QUOTA_EXCEEDED)
def a_member_looks_up_no_more_than_its_quota(log: Logbook, bad: bool) -> int:
    log.lookup([], refused=3)
    log.add("quota.set", "operator/op", member="alpha", lookups_daily=5, lookups_monthly=90)
    return log.lookup([], refused=3 if bad else 2)


@case(Kind.QUOTA_EXCEEDED)
def a_member_looks_up_no_more_than_its_quota_of_a_month(log: Logbook, bad: bool) -> int:
    log.add("quota.set", "operator/op", member="alpha", lookups_daily=5, lookups_monthly=8)
    log.lookup([], refused=5)
    return log.wait(days=1).lookup([], refused=4 if bad else 3)
