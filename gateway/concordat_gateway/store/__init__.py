"""The two stores, on SQLite or PostgreSQL: *control* decides, *signals* follows.

`engines` connects and asserts what durability rests on, `database` hands out transactions,
`control_tables` and `signal_tables` are the schemas, `migrate` brings a store to them,
`signal_store` keeps contributed rows and what lookups read.
"""
