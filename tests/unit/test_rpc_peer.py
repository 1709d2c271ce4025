"""Who is calling is read from the one SPIFFE URI of the certificate, strictly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concordat_rpc.peer import Peer, Role, parse_spiffe_id, spiffe_id

DOMAIN = "concordat.test"

member_ids = st.from_regex(r"[a-z][a-z0-9-]{1,39}", fullmatch=True)


@given(role=st.sampled_from(Role), name=member_ids)
def test_an_identity_reads_back_as_it_was_written(role: Role, name: str) -> None:
    text = spiffe_id(DOMAIN, role, name)

    assert parse_spiffe_id(text, DOMAIN) == Peer(role, name, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://concordat.test/member/alpha",
        "SPIFFE://concordat.test/member/alpha",
        "spiffe://concordat.test",
        "spiffe://concordat.test/member",
        "spiffe://concordat.test/member/",
        "spiffe://concordat.test/member/alpha/",
        "spiffe://concordat.test/member/alpha/extra",
        "spiffe://concordat.test//member/alpha",
        "spiffe://concordat.test/member/Alpha",
        "spiffe://concordat.test/member/1alpha",
        "spiffe://concordat.test/member/a",
        "spiffe://concordat.test/member/" + "a" * 41,
        "spiffe://concordat.test/member/alpha\n",
        "spiffe://concordat.test/member/al%70ha",
        "spiffe://concordat.test/member/álpha",
        "spiffe://concordat.test/member/alpha?x",
        "spiffe://concordat.test/root/alpha",
        "spiffe://concordat.test:443/member/alpha",
        "spiffe://operator@concordat.test/member/alpha",
        "spiffe://concordat.test.evil/member/alpha",
        "spiffe://evil/member/alpha",
    ],
)
def test_anything_else_is_nobody(text: str) -> None:
    with pytest.raises(ValueError):
        parse_spiffe_id(text, DOMAIN)


@given(st.text())
def test_a_name_never_smuggles_a_role(name: str) -> None:
    """Whatever a name is, it is refused or it stays the name of the role it was given for."""
    try:
        text = spiffe_id(DOMAIN, Role.MEMBER, name)
    except ValueError:
        return
    assert parse_spiffe_id(text, DOMAIN).role is Role.MEMBER


def test_the_roles_of_the_contract_are_all_there() -> None:
    assert {role.value for role in Role} == {
        *("member", "operator", "auditor", "gateway", "keyholder", "invitation")
    }
