"""Find bodies that were warm before heat spread: a U-Net. Run: python examples/segment.py [--out FOLDER]"""

import matplotlib.pyplot as plt
import pydarts
import torch
import typer
from pydarts.nn import Choice, fix
from torch import Tensor, nn


class Level(nn.Module):
    def __init__(self, inputs: int, c: int, inner: nn.Module) -> None:
        super().__init__()
        self.down, self.up = block(inputs, c), block(3 * c, c)
        self.inner = nn.Sequential(nn.MaxPool2d(2), inner, nn.Upsample(scale_factor=2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(x)
        return self.up(torch.cat([x, self.inner(x)], 1))


def block(inputs: int, c: int) -> Choice:
    convs = {f"conv_{k}": nn.Conv2d(inputs, c, k, padding="same") for k in (1, 3, 5, 7)}
    return Choice({name: nn.Sequential(conv, nn.BatchNorm2d(c), nn.ReLU()) for name, conv in convs.items()})


def heat(n: int) -> tuple[Tensor, Tensor]:
    """Temperatures [n, 1, 32, 32] by the heat equation, with noise, and which pixels were warm before."""
    grid, k = torch.arange(32), 2 * torch.pi * torch.fft.fftfreq(32)
    x, y, r = 3 + 26 * torch.rand(n, 3, 1, 1), 3 + 26 * torch.rand(n, 3, 1, 1), 2 + 3 * torch.rand(n, 3, 1, 1)
    warm = ((grid - x) ** 2 + (grid[:, None] - y) ** 2 < r**2).any(1, keepdim=True)
    later = torch.fft.ifft2(torch.fft.fft2(warm) * (-5 * (k**2 + k[:, None] ** 2)).exp()).real
    return later + torch.randn(later.shape) / 20, warm[:, 0].long()


def iou(output: Tensor, warm: Tensor) -> Tensor:
    found = output.argmax(1)
    return ((found & warm).sum((1, 2)) / (found | warm).sum((1, 2))).mean()


def main(out: str = "runs/segment", epochs: int = 15) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(Level(1, 6, Level(6, 12, block(12, 24))), nn.Conv2d(6, 2, 1))
    data, (X, y), measured = heat(400), heat(100), {"loss": nn.functional.cross_entropy, "metric": iou}
    config = pydarts.SearchConfig(epochs=epochs, batch_size=16, weight_lr=0.1, arch_lr=0.02)
    result = pydarts.search(data, config, network=net, **measured)
    result.save(out)
    quick = pydarts.TrainConfig.quick(epochs=epochs, batch_size=16)
    fixed = [fix(net, one) for one in [result.architecture, *pydarts.random_architectures(net, 3)]]
    runs = [pydarts.train(one, (data, (X, y)), quick, **measured) for one in [*fixed, result.fixed_network()]]
    searched, *random, tuned = [f"{run.history[-1].metrics['iou']:.1%}" for run in runs]
    print(f"{result.architecture}\nIoU {searched}, fine-tuned {tuned}, random {', '.join(random)}")
    found = fixed[0].eval()(X[:5]).argmax(1)
    plt.imshow(torch.cat([*torch.cat([X[:5, 0], y[:5], found], 1)], 1).numpy())
    plt.title(f"IoU: searched {searched}, random {', '.join(random)}")
    plt.savefig(f"{out}/segment.png")


if __name__ == "__main__":
    typer.run(main)
