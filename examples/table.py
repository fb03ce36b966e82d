"""Predict the course of diabetes: a network for tables. Run: python examples/table.py [--out FOLDER]"""

import matplotlib.pyplot as plt
import pydarts
import torch
import typer
from pydarts.nn import Choice, fix
from sklearn.datasets import load_diabetes
from torch import nn


class Net(nn.Sequential):
    def __init__(self) -> None:
        widths = {f"width_{n}": hidden(n) for n in (4, 16, 64)}
        super().__init__(Choice(widths, alpha="width"), nn.Linear(8, 1))


def hidden(n: int) -> nn.Module:
    """A hidden layer of n units; the norm and the activation are the same choice for every n."""
    norms = {"no_norm": nn.Identity(), "batch": nn.BatchNorm1d(n), "layer": nn.LayerNorm(n)}
    activations = {"relu": nn.ReLU(), "tanh": nn.Tanh(), "silu": nn.SiLU(), "linear": nn.Identity()}
    norm, activation = Choice(norms, alpha="norm"), Choice(activations, alpha="activation")
    return nn.Sequential(nn.Linear(10, n), norm, activation, nn.Linear(n, 8))


def main(out: str = "runs/table", epochs: int = 60) -> None:
    torch.manual_seed(0)
    X, y = (torch.tensor(array, dtype=torch.float32) for array in load_diabetes(return_X_y=True))
    X, y, order = X / X.std(0), y[:, None] / 100, torch.randperm(len(X))
    net, data, test = Net(), (X[order[:300]], y[order[:300]]), (X[order[300:]], y[order[300:]])
    measured = {"loss": nn.functional.mse_loss, "metric": nn.functional.l1_loss}
    rates = {"weight_lr": 0.02, "arch_lr": 0.02}
    config = pydarts.SearchConfig(epochs=epochs, batch_size=32, metric_mode="min", **rates)
    result = pydarts.search(data, config, network=net, **measured)
    result.save(out)
    quick = pydarts.TrainConfig.quick(epochs=epochs, batch_size=32, weight_lr=0.02)
    fixed = [fix(net, one) for one in [result.architecture, *pydarts.random_architectures(net, 3)]]
    runs = [pydarts.train(one, (data, test), quick, **measured) for one in [*fixed, result.fixed_network()]]
    searched, *random, tuned = [f"{100 * run.history[-1].metrics['l1_loss']:.1f}" for run in runs]
    print(f"{result.architecture}\nerror {searched}, fine-tuned {tuned}, random {', '.join(random)}")
    plt.plot(100 * test[1], 100 * fixed[0].eval()(test[0]).detach(), "o")
    plt.xlabel("progression after one year")
    plt.ylabel("predicted")
    plt.title(f"Mean absolute error: searched {searched}, random {', '.join(random)}")
    plt.savefig(f"{out}/table.png")


if __name__ == "__main__":
    typer.run(main)
