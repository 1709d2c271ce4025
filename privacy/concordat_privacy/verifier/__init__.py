"""The verifier of evidence bundles: one file, handed to whoever wants to check one.

`verify.py` imports nothing of ours and shares no code with `concordat_privacy.log`: what makes the
proofs and what checks them do not fail alike. See docs/adr/0024.
"""
