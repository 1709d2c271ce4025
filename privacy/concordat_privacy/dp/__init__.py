"""Differentially private counts over persons.

`rho` keeps the account, `query` says what may be asked, `bounding` limits what one person can add
to an answer, `release` adds the noise. The unit is the person: everything that all members
contributed about one subject. Only `release` needs OpenDP.
"""
