"""How an entry of the ledger names a person: salted commitments under keys of that person alone.

No entry names anybody. `subject` is SHA-256("concordat/subject/v1" || salt || name), and both salt
and name follow from a key of the subject's, so that whoever is given the key finds the person's
entries, each of them and no others, and whoever is not can link no two of them:

- the *evidence key* E, random, names the subject in its consents, which it counts 0, 1, 2, ...
- the *asking key* A names it in what is asked about it: lookups, disputes, erasures. It follows
  from the subject's name in the stores, so it exists whether or not the pool knows the subject.

The same derivations serve the gateway, the auditor's replay and a bundle's verifier.
See docs/ledger.md, "How a person is named"; golden vectors are in docs/vectors/subjects.json.
"""

import hashlib
import hmac

KEY_BYTES = 32
"""Of an evidence key, an asking key and the evidence secret."""
NAME_BYTES = 32
SALT_BYTES = 16
REQUEST_ID_BYTES = 16
_MAX_COUNT = 2**64
_DOMAIN = b"concordat/subject/v1"


def commitment(name: bytes, salt: bytes) -> str:
    """What an entry calls a subject: 64 lower-case hexadecimal digits.

    `name` is 32 bytes, `salt` 16. Raises ValueError.
    """
    _check("name", name, NAME_BYTES)
    _check("salt", salt, SALT_BYTES)
    return hashlib.sha256(_DOMAIN + salt + name).hexdigest()


def record_id(evidence_key: bytes) -> bytes:
    """The name, 32 bytes, of a subject in its consents. Raises ValueError."""
    return _mac("evidence key", evidence_key, b"record")


def consent_salt(evidence_key: bytes, number: int) -> bytes:
    """The salt, 16 bytes, of the subject's consent `number`, counted from 0. Raises ValueError."""
    return _mac("evidence key", evidence_key, b"consent" + _count(number))[:SALT_BYTES]


def consent_commitment(evidence_key: bytes, number: int) -> str:
    """What the entries of the subject's consent `number` call it. Raises ValueError."""
    return commitment(record_id(evidence_key), consent_salt(evidence_key, number))


def asking_key(evidence_secret: bytes, store_name: bytes) -> bytes:
    """The asking key, 32 bytes, of whoever the stores call `store_name`; both are 32 bytes.

    Raises ValueError.
    """
    _check("store name", store_name, NAME_BYTES)
    return _mac("evidence secret", evidence_secret, store_name)


def asking_id(asking: bytes) -> bytes:
    """The name, 32 bytes, of a subject in what is asked about it. Raises ValueError."""
    return _mac("asking key", asking, b"asking")


class Asker:
    """Names one subject in the entries that are about what was asked of it."""

    def __init__(self, asking: bytes) -> None:
        """`asking`: the asking key. Raises ValueError."""
        self.name = asking_id(asking)
        self._keyed = hmac.new(asking, digestmod=hashlib.sha256)

    def salt(self, entry_type: str, actor: str, request_id: bytes, item: int) -> bytes:
        """The salt, 16 bytes, of an item of an entry; 0 where it has one subject only.

        The entry's type and actor are part of it: request ids stand in the ledger in clear, and
        are their callers' to choose. Raises ValueError.
        """
        # A copy spares the key's two blocks: an audit tries this for every item of a log.
        keyed = self._keyed.copy()
        keyed.update(_question(entry_type, actor, request_id, item))
        return keyed.digest()[:SALT_BYTES]

    def commitment(self, entry_type: str, actor: str, request_id: bytes, item: int) -> str:
        """What that item calls the subject. Raises ValueError."""
        return commitment(self.name, self.salt(entry_type, actor, request_id, item))


def asked_commitment(
    asking: bytes, entry_type: str, actor: str, request_id: bytes, item: int
) -> str:
    """As `Asker(asking).commitment` gives it, where nothing else is asked of it: in half the time.

    Raises ValueError.
    """
    question = _question(entry_type, actor, request_id, item)
    return commitment(asking_id(asking), _mac("asking key", asking, question)[:SALT_BYTES])


def _question(entry_type: str, actor: str, request_id: bytes, item: int) -> bytes:
    _check("request id", request_id, REQUEST_ID_BYTES)
    return request_id + _count(item) + f"{entry_type}\0{actor}".encode()


def _mac(what: str, key: bytes, message: bytes) -> bytes:
    _check(what, key, KEY_BYTES)
    return hmac.digest(key, message, "sha256")


def _count(number: int) -> bytes:
    if not 0 <= number < _MAX_COUNT:
        raise ValueError(f"a count from 0 wanted, not {number}")
    return number.to_bytes(8, "big")


def _check(what: str, value: bytes, size: int) -> None:
    # Never the value itself: it is a secret or leads to a person.
    if len(value) != size:
        raise ValueError(f"{what}: {size} bytes wanted, {len(value)} given")
