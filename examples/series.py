"""Hear where a string was plucked: a network for series. Run: python examples/series.py [--out FOLDER]"""

import matplotlib.pyplot as plt
import pydarts
import torch
import typer
from pydarts.nn import Choice, fix
from torch import Tensor, nn


class Net(nn.Module):
    def __init__(self, c: int = 12) -> None:
        super().__init__()
        self.stem = nn.Conv1d(1, c, 5, stride=2, padding=2)
        self.layers = nn.Sequential(layer(c), layer(c), layer(c))
        self.head = nn.Linear(c, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(self.stem(x)).mean(2))


def layer(c: int) -> Choice:
    convs = {f"conv_{k}": nn.Conv1d(c, c, k, padding="same") for k in (3, 9, 27)}
    blocks = {name: nn.Sequential(conv, nn.BatchNorm1d(c), nn.ReLU()) for name, conv in convs.items()}
    return Choice({**blocks, "pool": nn.MaxPool1d(3, stride=1, padding=1), "skip": nn.Identity()})


def strings(n: int) -> tuple[Tensor, Tensor]:
    """Damped waves [n, 1, 128], with noise, on strings plucked at 1/2, 1/3, …, 1/6, and which of these."""
    y, pitch, noise = torch.randint(5, (n,)), 3 + 2 * torch.rand(n, 1), torch.randn(n, 128) / 2
    t, k = torch.arange(128) / 128, torch.arange(1, 13)[:, None, None] * torch.pi
    mode = (k / (y[:, None] + 2)).sin() * (k * 0.9).sin() / k**2 * (-0.2 * k * t).exp()
    x = (mode * (2 * k * pitch * t).cos()).sum(0)
    return (x / x.std(1, keepdim=True) + noise)[:, None], y


def main(out: str = "runs/series", epochs: int = 20) -> None:
    torch.manual_seed(0)
    net, data, (X, y) = Net(), strings(1600), strings(800)
    config = pydarts.SearchConfig(epochs=epochs, batch_size=32, weight_lr=0.05, arch_lr=0.02)
    result = pydarts.search(data, config, network=net)
    result.save(out)
    quick = pydarts.TrainConfig.quick(epochs=epochs)
    fixed = [fix(net, one) for one in [result.architecture, *pydarts.random_architectures(net, 3)]]
    runs = [pydarts.train(one, (data, (X, y)), quick) for one in [*fixed, result.fixed_network()]]
    searched, *random, tuned = [f"{run.history[-1].valid_accuracy:.1%}" for run in runs]
    print(f"{result.architecture}\naccuracy {searched}, fine-tuned {tuned}, random {', '.join(random)}")
    for place in range(5):
        plt.plot(X[y == place][0, 0] - 6 * place)
    plt.yticks(range(0, -30, -6), ["1/2", "1/3", "1/4", "1/5", "1/6"])
    plt.ylabel("plucked at")
    plt.title(f"Accuracy: searched {searched}, random {', '.join(random)}")
    plt.savefig(f"{out}/series.png")


if __name__ == "__main__":
    typer.run(main)
