"""The consent ledger on the control store: append with the change it records, sign, prove.

`journal` is the group-commit writer that every control change goes through, `transaction` what a
change is given, `tree` the Merkle tree's rows, `proofs` proves from them.
"""
