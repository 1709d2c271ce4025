"""Generated from proto/concordat/v1 by `make proto`; never edited by hand."""
