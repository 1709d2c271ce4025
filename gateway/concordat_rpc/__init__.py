"""The floor that every server process stands on: TLS, identity, limits, error mapping.

It knows nothing of gateways and key-holders; both build their servers with
:func:`concordat_rpc.server.build_server`.
"""
