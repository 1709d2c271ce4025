"""The demo: one record's whole way through the gateway, on real loans.

It is a client like any other. It uses the SDK `concordat` and the command line `concordat`, and
nothing of the servers.
"""
