"""Writes the weights file of the dreamed worlds from two training runs.

python -m flashdreams.integrations.pocket.training.export_tiles --tiles FOLDER --views FOLDER --output FILE
"""

from __future__ import annotations

import argparse
from pathlib import Path

from flashdreams.integrations.pocket.tiles.weights import export_weights


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("tiles", "views", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    steps = export_weights(args.tiles, args.views, args.output)
    print(f"{args.output}: {args.output.stat().st_size / 2**20:.1f} MiB, trained for {steps} steps")


if __name__ == "__main__":
    main()
