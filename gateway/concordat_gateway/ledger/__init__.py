"""The consent ledger on the control store: append with the change it records, sign, prove.

`journal` is the group-commit writer that every control change goes through, `tree` stores and
reads the Merkle tree, `receipts` ties an entry to a checkpoint for the caller.
"""
