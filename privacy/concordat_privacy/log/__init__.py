"""The consent ledger's pure part: leaves, Merkle tree, checkpoints, tiles, offline verification.

Nothing here reads a clock, a database or a network. `leaf` says what an entry may look like,
`merkle` hashes and proves (RFC 6962, RFC 9162), `checkpoint` signs tree heads (C2SP signed-note
and tlog-checkpoint), `tiles` lays a log out as files (C2SP tlog-tiles), `verify` re-checks such
files without trusting anyone but the holder of the log's public key, `receipt` ties one entry to
one checkpoint. They need Python and the `cryptography` package.
"""
