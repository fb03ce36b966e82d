"""Forecast one variable of the Lorenz system. Run: python examples/forecast.py [--out FOLDER]"""

import matplotlib.pyplot as plt
import pydarts
import torch
import typer
from pydarts.nn import Choice, InputChoice, fix
from torch import Tensor, nn


class Net(nn.Module):
    def __init__(self, n: int = 32) -> None:
        super().__init__()
        hidden = nn.Sequential(nn.Linear(32, n), nn.ReLU(), nn.Linear(n, n))
        conv = [nn.Unflatten(1, (1, 32)), nn.Conv1d(1, 4, 9), nn.ReLU(), nn.Flatten()]
        conv = nn.Sequential(*conv, nn.Linear(96, n))
        self.past = Choice({"linear": nn.Linear(32, n), "hidden": hidden, "conv": conv, "gru": GRU(1, n)})
        self.start = InputChoice(2)  # the forecast starts from 0 or from the last value
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(n, n), nn.ReLU(), nn.Linear(n, 16))

    def forward(self, x: Tensor) -> Tensor:
        last = x[:, -1:].expand(-1, 16)
        return self.head(self.past(x)) + self.start([torch.zeros_like(last), last])


class GRU(nn.GRU):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.T[:, :, None])[0][-1]


def lorenz(n: int) -> tuple[Tensor, Tensor]:
    """Windows [n, 32] of x/8, and what follows [n, 16], by Euler's method with steps of 0.002."""
    (x, y, z), seen = 8 * torch.randn(3, n), []
    for step in range(1000):
        x, y, z = x + 0.02 * (y - x), y + 0.002 * (x * (28 - z) - y), z + 0.002 * (x * y - 8 / 3 * z)
        seen += [x / 8] if step % 15 == 0 else []
    return torch.stack(seen[-48:-16], 1), torch.stack(seen[-16:], 1)


def main(out: str = "runs/forecast", epochs: int = 20) -> None:
    torch.manual_seed(0)
    net, data, (X, y) = Net(), lorenz(1500), lorenz(500)
    measured = {"loss": nn.functional.mse_loss, "metric": nn.functional.l1_loss}
    rates = {"weight_lr": 0.3, "arch_lr": 0.02}
    config = pydarts.SearchConfig(epochs=epochs, batch_size=32, metric_mode="min", **rates)
    result = pydarts.search(data, config, network=net, **measured)
    result.save(out)
    quick = pydarts.TrainConfig.quick(epochs=epochs)
    fixed = [fix(net, one) for one in [result.architecture, *pydarts.random_architectures(net, 3)]]
    runs = [pydarts.train(one, (data, (X, y)), quick, **measured) for one in [*fixed, result.fixed_network()]]
    searched, *random, tuned = [f"{run.history[-1].metrics['l1_loss']:.3f}" for run in runs]
    print(f"{result.architecture}\nerror {searched}, fine-tuned {tuned}, random {', '.join(random)}")
    plt.plot(torch.cat([X, y], 1)[::125].T)
    plt.plot(range(32, 48), fixed[0].eval()(X[::125]).T.detach(), "k:")
    plt.title(f"Mean absolute error: searched {searched}, random {', '.join(random)}")
    plt.savefig(f"{out}/forecast.png")


if __name__ == "__main__":
    typer.run(main)
