"""Search cells with an operation of your own. Run: python examples/operation.py [--out FOLDER]"""

import matplotlib.pyplot as plt
import pydarts
import torch
import typer
from torch import Tensor, nn


class Gated(nn.Module):
    """A depthwise convolution whose channels are weighted by the whole image (squeeze and excitation)."""

    def __init__(self, channels: int, stride: int, affine: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False)
        self.norm = nn.BatchNorm2d(channels, affine=affine)
        self.gate = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x.relu()))
        return x * self.gate(x.mean((2, 3))).sigmoid()[:, :, None, None]


def main(out: str = "runs/operation", epochs: int = 8) -> None:
    torch.manual_seed(0)
    X, y = pydarts.datasets.digits()
    gated = pydarts.Operation("gated_conv_3x3", Gated)
    space = pydarts.Space(operations=["none", "skip_connect", "max_pool_3x3", "sep_conv_3x3", gated])
    sizes = {"channels": 4, "layers": 3}
    config = pydarts.SearchConfig(space=space, epochs=epochs, batch_size=64, arch_lr=0.02, **sizes)
    result = pydarts.search((X, y), config)
    result.save(out)
    quick, scores = pydarts.TrainConfig.quick(epochs=epochs), []
    for genotype in [result.genotype, *pydarts.random_genotypes(space, 3)]:
        net = pydarts.build(genotype, operations=[gated], num_classes=10, in_channels=1, **sizes)
        scores.append(f"{pydarts.train(net, (X, y), quick).history[-1].valid_accuracy:.1%}")
        print(f"accuracy {scores[-1]}: {genotype}")
    searched, *random = scores
    result.plot_cells()[0].figure.suptitle(f"Accuracy: searched {searched}, random {', '.join(random)}")
    plt.savefig(f"{out}/operation.png")


if __name__ == "__main__":
    typer.run(main)
