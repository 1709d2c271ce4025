"""The two stores: *control* decides, *signals* follows.

`control_tables` and `signal_tables` are the schemas, `migrate` names their histories,
`signal_store` keeps contributed rows and what lookups read. What any store stands on is
`concordat_store`.
"""
