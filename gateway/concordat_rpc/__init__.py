"""The floor that every server process stands on: TLS, identity, limits, error mapping.

It knows nothing of gateways and key-holders; both build their servers with
:func:`concordat_rpc.server.build_server`.

Importing it shuts TLS 1.2 out of the process, if gRPC was not imported before; servers check that
with :func:`tls_1_2_is_shut_out`. gRPC's Python API cannot set a lowest TLS version. TLS 1.2 cipher
suites, which do not govern TLS 1.3, can be chosen: the only one offered here needs an RSA
certificate, and no server of ours has one, so a TLS 1.2 handshake finds no common suite and fails.
"""

import os
import sys

# gRPC's core writes lines of its own to stderr, one for every port scan that meets the handshake.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

_CIPHER_VARIABLE = "GRPC_SSL_CIPHER_SUITES"
_UNUSABLE_TLS_1_2_SUITE = "ECDHE-RSA-AES256-GCM-SHA384"


def _shut_out() -> bool:
    if os.environ.get(_CIPHER_VARIABLE) == _UNUSABLE_TLS_1_2_SUITE:
        return True
    # gRPC reads the variable once, when it is imported.
    came_too_late = "grpc" in sys.modules
    os.environ[_CIPHER_VARIABLE] = _UNUSABLE_TLS_1_2_SUITE
    return not came_too_late


_shut_out_in_time = _shut_out()


def tls_1_2_is_shut_out() -> bool:
    """Whether gRPC in this process can speak TLS 1.3 only."""
    return _shut_out_in_time
