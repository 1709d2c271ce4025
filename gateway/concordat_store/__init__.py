"""What every server process keeps things durably with, on SQLite or PostgreSQL.

`engines` connects and asserts what durability rests on, `database` hands out transactions,
`migration` brings a store to its schema, `schema` has the column types that models share,
`meters` counts and limits what a member does. It knows no table of the gateway's or the
key-holder's.
"""
