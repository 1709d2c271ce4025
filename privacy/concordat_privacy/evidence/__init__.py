"""Evidence bundles: what a court or a regulator is handed, made from an export of the ledger.

`export` reads a verified export, `persons` derives how entries name one person, `selection` follows
entries and consents, `bundle` puts the files together, `writing` lays them down as a folder or a
.zip. `concordat_privacy.verifier` checks the result, and shares no code with these but the report.
"""
