"""A witness of ledgers: remembers what it saw, cosigns what extends it, keeps forks as evidence.

A trust domain of its own: members and auditors run it, so that an operator cannot show each of
them another history. It imports nothing of the gateway's or the key-holder's.
"""
