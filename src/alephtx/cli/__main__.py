"""`python -m alephtx.cli` is `alephtx`."""

import sys

from alephtx.cli import main

if __name__ == "__main__":
    sys.exit(main())
