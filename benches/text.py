"""A reduced search on a real text, Penn Treebank for one.

A row an epoch: perplexity over the training text as it was learned, perplexity over the validation text after
it, that of one who knows how frequent each word of the validation text is and no more, how far α has come
(‖α - α₀‖₂), and the mean entropy of its edges (ln 5 = 1.6094 at the uniform start). Data: `--data`, a folder
or zip with one file a part, see `pydarts.datasets.corpus`.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pydarts
import torch
from common import METHODS, parser, provenance, publish, table
from pydarts import SearchConfig


def main() -> None:
    made = parser("text", __doc__)
    made.add_argument("--data", type=Path, required=True, metavar="FOLDER|ZIP", help="a text in parts")
    made.add_argument("--tokens", type=int, default=100_000, help="training tokens (%(default)s)")
    made.add_argument("--units", type=int, default=100, help="units (%(default)s)")
    made.add_argument("--batch", type=int, default=10, help="sequences side by side (%(default)s)")
    made.add_argument(
        "--eval-batch", type=int, default=64, help="sequences side by side in the evaluation (%(default)s)"
    )
    made.add_argument("--bptt", type=int, default=5, help="tokens of a segment (%(default)s)")
    made.add_argument("--rate", type=float, default=1.5, help="learning rate of the weights (%(default)s)")
    made.add_argument("--momentum", type=float, default=0.9, help="of the weights (%(default)s)")
    made.add_argument("--dropout", type=float, default=0.0, help="of every place but rows (%(default)s)")
    made.add_argument("--epochs", type=int, default=1, help="epochs of each search (%(default)s)")
    made.add_argument("--methods", nargs="+", choices=METHODS, default=["first_order", "unrolled"])
    made.add_argument("--device", default="cpu", help='"cpu", "cuda" (%(default)s)')
    made.add_argument("--seed", type=int, default=0, help="of the search (%(default)s)")
    given = made.parse_args()
    torch.set_num_threads(given.threads)
    text = pydarts.datasets.corpus(given.data)
    train = text.train[: given.tokens]
    about = provenance(
        f"{given.data.name}: {len(train)} training and {len(text.valid)} validation tokens, "
        f"{len(text.vocabulary)} words; {given.units} units, batch {given.batch}, {given.bptt} tokens, "
        f"learning rate {given.rate:g}, momentum {given.momentum:g}, dropout {given.dropout:g}, "
        f"{given.epochs} epochs, seed {given.seed}, {given.threads} threads; n = 1 search a method",
        given.device,
    )
    share = np.bincount(text.valid) / len(text.valid)
    unigram = math.exp(-float(sum(p * math.log(p) for p in share if p)))
    places = ("embedded", "input", "hidden", "output")
    rows, genotypes = [], []
    for method in given.methods:
        config = SearchConfig.from_dict(
            {
                "space": "darts-rnn",
                "num_classes": len(text.vocabulary),
                "units": given.units,
                "batch_size": given.batch,
                "eval_batch_size": given.eval_batch,
                "bptt": given.bptt,
                "weight_momentum": given.momentum,
                "weight_lr": given.rate,
                "weight_lr_min": given.rate,
                "epochs": given.epochs,
                "hypergradient": method,
                "device": given.device,
                "seed": given.seed,
                **{f"dropout_{place}": given.dropout for place in places},
            }
        )
        result = pydarts.search((train, text.valid), config)
        alpha = result.alphas["recurrent"]
        for record in result.history:
            rows.append(
                [
                    method,
                    str(record.epoch + 1),
                    f"{record.train_perplexity:.1f}",
                    f"{record.valid_perplexity:.1f}",
                    f"{unigram:.1f}",
                    f"{math.sqrt(float(((alpha[record.epoch + 1] - alpha[0]) ** 2).sum())):.4f}",
                    f"{record.entropy['recurrent']:.4f}",
                    f"{record.seconds:.0f}",
                ]
            )
        genotypes.append(f"`{method}`: `{result.genotype}`")
    header = ["method", "epoch", "train perplexity", "valid perplexity", "of frequencies alone"]
    header += ["α moved", "entropy", "seconds"]
    listed = "\n\n".join(genotypes)
    publish(given.section, f"{about}\n\n{table(header, rows)}\n\n{listed}", given.write)


if __name__ == "__main__":
    main()
