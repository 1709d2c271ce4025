"""`python -m concordat_witness`: the same as `concordat witness`."""

from concordat_witness.cli import witness

if __name__ == "__main__":
    witness(prog_name="concordat witness")
