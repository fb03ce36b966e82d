"""Predict Python's help texts: a transformer. Run: python examples/transformer.py [--out FOLDER]"""

from pydoc_data.topics import topics

import matplotlib.pyplot as plt
import pydarts
import torch
import typer
from pydarts.nn import Choice, fix
from torch import Tensor, nn


class Layer(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        mixers = {"attention": Attention(c, 3 * c), "conv": Conv(c, c, 5), "identity": nn.Identity()}
        self.norm, self.mix = nn.LayerNorm(c), Choice(mixers)
        self.feed = nn.Sequential(nn.LayerNorm(c), nn.Linear(c, 2 * c), nn.GELU(), nn.Linear(2 * c, c))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mix(self.norm(x))
        return x + self.feed(x)


class Attention(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:  # [N, T, C], with four heads
        q, k, v = super().forward(x).unflatten(2, (3, 4, -1)).permute(2, 0, 3, 1, 4)
        heads = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return heads.transpose(1, 2).flatten(2)


class Conv(nn.Conv1d):
    def forward(self, x: Tensor) -> Tensor:  # of this letter and the four before it
        return super().forward(nn.functional.pad(x.transpose(1, 2), (4, 0))).transpose(1, 2)


class Transformer(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).transpose(1, 2)  # cross-entropy wants the classes in dimension 1


def main(out: str = "runs/transformer", epochs: int = 8, c: int = 32) -> None:
    torch.manual_seed(0)
    codes = torch.tensor(list("\n".join(map(topics.get, sorted(topics))).encode("ascii", "ignore")[:64001]))
    data, test = zip(codes[:-1].view(-1, 64).split(800), codes[1:].view(-1, 64).split(800), strict=True)
    net = Transformer(nn.Embedding(128, c), Layer(c), Layer(c), Layer(c), nn.LayerNorm(c), nn.Linear(c, 128))
    config = pydarts.SearchConfig(epochs=epochs, batch_size=16, weight_lr=0.3, arch_lr=0.02)
    result = pydarts.search(data, config, network=net)
    result.save(out)
    quick = pydarts.TrainConfig.quick(epochs=epochs, batch_size=16, weight_lr=0.3)
    fixed = [fix(net, one) for one in [result.architecture, *pydarts.random_architectures(net, 3)]]
    runs = [pydarts.train(one, (data, test), quick) for one in [*fixed, result.fixed_network()]]
    found, *random, tuned = [f"{run.history[-1].valid_accuracy:.1%}" for run in runs]
    print(f"{result.architecture}\naccuracy {found}, fine-tuned {tuned}, random {', '.join(random)}")
    result.plot_alphas()[0].figure.suptitle(f"Accuracy: searched {found}, random {', '.join(random)}", y=1.1)
    plt.savefig(f"{out}/transformer.png", bbox_inches="tight")


if __name__ == "__main__":
    typer.run(main)
