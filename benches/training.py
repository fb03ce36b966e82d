"""Images a second of a training: `pydarts.train` against a plain loop, alternating.

The network is DARTS_V2 with an auxiliary head and drop path 0.2, trained as published: crops, flips, cutout
of 16 pixels, SGD, clipping at 5. `ours`: `pydarts.train` on arrays. `plain`: the same network in a loop as
the published code writes it, fed by a DataLoader that augments one image after the other in `--workers`
processes, and reading loss and accuracy after every step. A turn is a training of three epochs, of which the
last counts: the first warms up, and compiles steps without drop path, the second those with it. `ours` also
evaluates one image an epoch. The data: random bytes, or images of `--cifar FILE`, an npz of JPEG bytes, see
benches/README.md.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import numpy.typing as npt
import pydarts
import torch
from common import cifar_images, milliseconds, network_options, parser, provenance, publish, table
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

EPOCHS = 3
DROP_PATH, CUTOUT, AUXILIARY, CLIP = 0.2, 16, 0.4, 5.0
RATE, MOMENTUM, DECAY = 0.025, 0.9, 3e-4
Images = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]


def main() -> None:
    made = parser("training", __doc__)
    network_options(made, batch=96, size=None)
    made.set_defaults(channels=36, layers=20)
    made.add_argument("--cifar", type=Path, metavar="FILE", help="CIFAR-10 as an npz of JPEG bytes")
    made.add_argument("--steps", type=int, default=10, help="steps of an epoch (%(default)s)")
    made.add_argument("--rounds", type=int, default=5, help="trainings of each side (%(default)s)")
    made.add_argument("--workers", type=int, default=2, help="of the plain loop's DataLoader (%(default)s)")
    made.add_argument("--device", default="cpu", help='"cpu", "cuda" (%(default)s)')
    made.add_argument("--bfloat16", action="store_true", help="forward passes in bfloat16, on both sides")
    made.add_argument(
        "--compile", action="store_true", help="the network through torch.compile, on both sides"
    )
    given = made.parse_args()
    torch.set_num_threads(given.threads)
    count = given.batch * given.steps
    about = provenance(
        f"DARTS_V2, {given.channels} channels, {given.layers} cells, "
        f"{'CIFAR-10' if given.cifar else 'random images'}, batch {given.batch}, "
        f"{'bfloat16' if given.bfloat16 else 'float32'}{', compiled' if given.compile else ''}, "
        f"{given.threads} threads, {given.workers} workers of the plain loop; n = {given.rounds} epochs of "
        f"{given.steps} steps a side",
        given.device,
    )

    if given.cifar:
        data = cifar_images(given.cifar, count)
    else:
        rng = np.random.default_rng(0)
        data = (
            rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8),
            rng.integers(0, 10, count, dtype=np.int64),
        )
    sides = {"ours": ours, "plain": plain}
    times: dict[str, list[float]] = {side: [] for side in sides}
    losses: dict[str, float] = {}
    for turn in range(given.rounds):
        for side, run in sides.items():
            seconds, losses[side] = run(data, given)
            times[side].append(seconds)
            print(f"{turn} {side}: {count / seconds:.1f} images a second", flush=True)
    rows = [
        [
            side,
            f"{count / median(kept):.1f}",
            f"{count / min(kept):.1f}",
            milliseconds(median(kept) / given.steps),
            f"{losses[side]:.3f}",
        ]
        for side, kept in times.items()
    ]
    ratio = median(times["plain"]) / median(times["ours"]), min(times["plain"]) / min(times["ours"])
    rows.append(["ours / plain", *(f"{value:.2f}" for value in ratio), "", ""])
    header = ["side", "images a second, median", "most", "ms a step, median", "train loss, last"]
    publish(given.section, f"{about}\n\n{table(header, rows)}", given.write)


def network(given: Namespace) -> pydarts.nn.ConvolutionalNetwork:
    """The same initial weights each time."""
    torch.manual_seed(0)
    net = pydarts.build(
        pydarts.genotypes.DARTS_V2,
        channels=given.channels,
        layers=given.layers,
        num_classes=10,
        auxiliary=True,
        drop_path=DROP_PATH,
    )
    assert isinstance(net, pydarts.nn.ConvolutionalNetwork)
    return net


def ours(data: Images, given: Namespace) -> tuple[float, float]:
    """Seconds of the last epoch, and its training loss."""
    config = pydarts.TrainConfig.cifar10(
        epochs=EPOCHS,
        batch_size=given.batch,
        precision="bfloat16" if given.bfloat16 else "auto",
        compile=given.compile,
        device=given.device,
        progress=False,
    )
    x, y = data
    last = pydarts.train(network(given), (data, (x[:1], y[:1])), config).history[-1]
    return last.seconds, last.train_loss


# ---- the plain side


class Augmented(Dataset[tuple[Tensor, int]]):
    """An image at a time: crop, flip, normalise, cutout."""

    def __init__(self, data: Images) -> None:
        self.x, self.y = torch.from_numpy(data[0]), data[1]
        pixels = self.x.float() / 255
        self.mean, self.std = (values.view(3, 1, 1) for values in _statistics(pixels))

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        side = self.x.shape[-1]
        image = F.pad(self.x[index], [4] * 4)
        top, left = torch.randint(9, (2,)).tolist()
        image = image[:, top : top + side, left : left + side]
        if torch.rand(()) < 0.5:
            image = image.flip(2)
        image = (image.float() / 255 - self.mean) / self.std
        row, column = torch.randint(side, (2,)).tolist()
        half = CUTOUT // 2
        image[:, max(row - half, 0) : row + half, max(column - half, 0) : column + half] = 0
        return image, int(self.y[index])


def _statistics(pixels: Tensor) -> tuple[Tensor, Tensor]:
    return pixels.mean((0, 2, 3)), pixels.std((0, 2, 3))


def plain(data: Images, given: Namespace) -> tuple[float, float]:
    """Seconds of the last epoch, and its training loss."""
    net = network(given).to(given.device).train()
    forward: nn.Module = torch.compile(net) if given.compile else net  # type: ignore[assignment]
    optimizer = torch.optim.SGD(net.parameters(), RATE, MOMENTUM, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    on_gpu = given.device.startswith("cuda")
    loader = DataLoader(
        Augmented(data),
        given.batch,
        shuffle=True,
        num_workers=given.workers,
        pin_memory=on_gpu,
        persistent_workers=given.workers > 0,
    )
    for epoch in range(EPOCHS):
        net.drop_path = DROP_PATH * epoch / EPOCHS
        begun, losses, right = perf_counter(), 0.0, 0
        for images, labels in loader:
            x, y = images.to(given.device, non_blocking=True), labels.to(given.device, non_blocking=True)
            with torch.autocast(x.device.type, torch.bfloat16, enabled=given.bfloat16):
                logits, aside = forward(x)
            loss = F.cross_entropy(logits.float(), y)
            optimizer.zero_grad()
            (loss + AUXILIARY * F.cross_entropy(aside.float(), y)).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(net.parameters(), CLIP)
            optimizer.step()
            losses += loss.item()
            right += int((logits.argmax(1) == y).sum())
        schedule.step()
        seconds = perf_counter() - begun
    return seconds, losses / len(loader)


if __name__ == "__main__":
    main()
