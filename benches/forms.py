"""Ways to compute the separable convolutions of the edges that leave one node, in plain PyTorch.

Depthwise convolution, pointwise convolution and batch norm of several edges, forward and backward, by all
gradients and by the input's alone, on images that lie channels-last. `edges`: each edge by itself;
`grouped`: the input repeated, one grouped convolution of each kind; `block`: one depthwise convolution
with a multiplier, then a block-diagonal pointwise one; `dense`: both composed into one dense kernel for
all edges. The plan compiler uses the first two: `grouped` on small images, `edges` on large ones.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from common import alternate, parser, provenance, publish, table
from torch import Tensor

SITES = [(16, 32, 3), (16, 32, 5), (32, 16, 3), (32, 16, 5), (64, 8, 3), (64, 8, 5)]


def main() -> None:
    made = parser("forms", __doc__)
    made.add_argument("--batch", type=int, default=16, help="images (%(default)s)")
    made.add_argument("--edges", type=int, default=4, help="edges (%(default)s)")
    made.add_argument("--rounds", type=int, default=9, help="alternations that count (%(default)s)")
    made.add_argument("--warm", type=int, default=2, help="alternations before those (%(default)s)")
    given = made.parse_args()
    torch.set_num_threads(given.threads)
    about = provenance(
        f"{given.edges} edges, batch {given.batch}, float32, {given.threads} threads; "
        f"n = {given.rounds} alternations; milliseconds, median, by all gradients / by the input's alone"
    )
    forms = {"edges": edges, "grouped": grouped, "block": block, "dense": dense}
    rows = []
    for channels, size, kernel in SITES:
        x = torch.randn(given.batch, channels, size, size).to(memory_format=torch.channels_last)
        depthwise = [torch.randn(channels, 1, kernel, kernel) for _ in range(given.edges)]
        pointwise = [torch.randn(channels, channels, 1, 1) for _ in range(given.edges)]
        sides = {}
        for name, form in forms.items():
            for weights in (True, False):
                sides[f"{name} {weights}"] = pass_of(form, x, depthwise, pointwise, weights)
        times = alternate(sides, given.rounds, given.warm)
        middle = {name: f"{1e3 * sorted(taken)[len(taken) // 2]:.1f}" for name, taken in times.items()}
        cells = [f"{middle[f'{name} True']} / {middle[f'{name} False']}" for name in forms]
        rows.append([f"{channels}, {size}², {kernel}×{kernel}", *cells])
    publish(given.section, f"{about}\n\n{table(['channels, size, kernel', *forms], rows)}", given.write)


Form = Callable[[Tensor, list[Tensor], list[Tensor]], list[Tensor]]


def pass_of(
    form: Form, x: Tensor, depthwise: list[Tensor], pointwise: list[Tensor], weights: bool
) -> Callable[[], object]:
    """Forward and backward of a form."""
    image = x.detach().requires_grad_()
    kernels = [kernel.detach().requires_grad_(weights) for kernel in depthwise + pointwise]
    first, second = kernels[: len(depthwise)], kernels[len(depthwise) :]

    def run() -> object:
        loss = torch.stack([part.sum() for part in form(image, first, second)]).sum()
        return torch.autograd.grad(loss, [image, *kernels] if weights else [image])

    return run


def norm(x: Tensor) -> Tensor:
    return F.batch_norm(x, None, None, training=True)


def edges(x: Tensor, depthwise: list[Tensor], pointwise: list[Tensor]) -> list[Tensor]:
    padding, groups = depthwise[0].shape[-1] // 2, x.shape[1]
    apart = zip(depthwise, pointwise, strict=True)
    return [norm(F.conv2d(F.conv2d(x, dw, padding=padding, groups=groups), pw)) for dw, pw in apart]


def grouped(x: Tensor, depthwise: list[Tensor], pointwise: list[Tensor]) -> list[Tensor]:
    n, c, h, w = x.shape
    count, padding = len(depthwise), depthwise[0].shape[-1] // 2
    inner = x.permute(0, 2, 3, 1).unsqueeze(3).expand(n, h, w, count, c).reshape(n, h, w, count * c)
    hidden = F.conv2d(inner.permute(0, 3, 1, 2), torch.cat(depthwise), padding=padding, groups=count * c)
    return [norm(F.conv2d(hidden, torch.cat(pointwise), groups=count))]


def block(x: Tensor, depthwise: list[Tensor], pointwise: list[Tensor]) -> list[Tensor]:
    c, count, padding = x.shape[1], len(depthwise), depthwise[0].shape[-1] // 2
    multiplied = torch.stack(depthwise, 1).flatten(0, 1)  # channel by channel, its edges side by side
    hidden = F.conv2d(x, multiplied, padding=padding, groups=c)
    kernel = torch.stack(pointwise)[:, :, :, 0, 0]  # [edge, out, in]
    diagonal = torch.einsum("eoi,ef->eoif", kernel, torch.eye(count)).reshape(count * c, c * count, 1, 1)
    return [norm(F.conv2d(hidden, diagonal))]


def dense(x: Tensor, depthwise: list[Tensor], pointwise: list[Tensor]) -> list[Tensor]:
    padding = depthwise[0].shape[-1] // 2
    kernel = torch.cat([pw * dw.transpose(0, 1) for dw, pw in zip(depthwise, pointwise, strict=True)])
    return [norm(F.conv2d(x, kernel.contiguous(memory_format=torch.channels_last), padding=padding))]


if __name__ == "__main__":
    main()
