"""Figures against their references, each pair measured in one run: `make bench`."""
