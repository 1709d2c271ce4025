"""``python -m concordat_keyholder``: the commands of `concordat keyholder`.

Without a command's name it serves: a gateway starts its embedded key-holder as
``python -m concordat_keyholder --config keyholder.toml --with-parent [--port N]``.
"""

import sys

from concordat_keyholder.cli import keyholder

if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[:1] == ["--config"]:
        arguments = ["serve", *arguments]
    keyholder(arguments, prog_name="concordat keyholder")
