"""The audit of an export: was every use in the ledger allowed by a consent?

Nothing here reads a clock, a database or a network, and nothing asks the gateway. `reading`
verifies an export and hands each entry, in order, to a `replay`, which keeps consents, members,
notices, disputes, erasures and budgets as the entries tell them and yields findings where an entry
is not what those before it allow. `person` follows one person with the keys that the operator
opens for an auditor. `documents` says it all in words and tables, `render` writes those as text,
CSV or JSON. What entries say is in docs/ledger.md, how to read the answers in docs/audit.md.
"""
