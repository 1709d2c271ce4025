"""The catalogue: bands, rows that members contribute, what is kept of them, released signals.

Pure computation. `bands` is the vocabulary, `rows` what arrives, `relations` what is kept,
`evidence` and `measures` how signals are worked out, `signals` the definitions.
"""
