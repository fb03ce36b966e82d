"""Search cells on handwritten digits with several processes, which divide every batch among them.

torchrun --nproc-per-node 2 examples/ranks.py [--out FOLDER]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from pydarts import SearchConfig, datasets, search


def main(arguments: Sequence[str] | None = None) -> int:
    """Join the processes that torchrun has started, search, and save the result in one of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/ranks"), help="output folder (%(default)s)")
    parser.add_argument("--epochs", type=int, default=5, help="(%(default)s)")
    args = parser.parse_args(arguments)

    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    config = SearchConfig(
        channels=8,
        layers=5,
        epochs=args.epochs,
        batch_size=64,  # of all processes together
        checkpoint_dir=args.out / "checkpoints",
        resume=True,
    )
    result = search(datasets.digits(), config)
    if dist.get_rank() == 0:  # all processes have the same result
        result.save(args.out / "result")
        print(f"{result.genotype}\n{dist.get_world_size()} processes, {result.status}; saved in {args.out}")
    dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
