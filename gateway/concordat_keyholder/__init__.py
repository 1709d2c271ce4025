"""The key-holder: the other trust domain.

A process, in production a host, of its own that holds the token keys and nothing else. It sees
blinded elements and the name of the member they are evaluated for, never an identifier, a token or
a signal. It imports nothing of the gateway's.
"""
