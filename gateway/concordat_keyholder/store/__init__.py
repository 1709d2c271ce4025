"""The key-holder's own database: who is admitted, what was used. It knows no token."""
