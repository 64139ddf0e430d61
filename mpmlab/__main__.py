"""`python -m mpmlab`: the command line. Nothing else."""

from __future__ import annotations

from mpmlab.cli import main

if __name__ == "__main__":
    main()
