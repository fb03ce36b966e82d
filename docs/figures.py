"""Draw the pictures of docs/algorithms: `python docs/figures.py [NAME …]`.

Numbers come from the library where it computes them: relaxations, schedules, terms, gradients of the engine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pydarts
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from pydarts import algorithms
from pydarts.nn import FunctionNetwork

FOLDER = Path(__file__).parent / "pictures" / "algorithms"
BLUE, ORANGE, GREEN, GREY = "#3b6fb6", "#d9822b", "#3f9e6e", "#9aa0a6"
STYLE = {
    "svg.hashsalt": "pydarts",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "legend.frameon": False,
}
ROW = torch.tensor([0.2, -0.1, 0.5], dtype=torch.float64)
"""Three logits, those of the test vectors."""
EPOCHS = 50


def panels(
    columns: int = 1, width: float = 6.4, height: float = 2.6, **options: Any
) -> tuple[Figure, list[Axes]]:
    """Return a figure with panels side by side."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False, **options)
    return figure, list(axes[0])


# ---- The toy of the DARTS paper, figure 2: one weight and one α


def toy(w: Any, m: Any, batch: Any) -> Any:
    """L_val for a batch of zeros, L_train for a batch of ones."""
    weight, alpha = w["w"], m["alpha"]
    if batch[0][0] == 0:
        return alpha * weight - 2 * alpha + 1
    return weight**2 - 2 * alpha * weight + alpha**2


def toy_search(hypergradient: Any, xi: float = 0.1, steps: int = 160) -> np.ndarray:
    """Return α after every step of a search from α = 2, w = −2."""
    batches = [[(torch.full((1,), kind), torch.zeros(1))] * steps for kind in (1.0, 0.0)]
    cfg = pydarts.SearchConfig(
        relaxation="identity", hypergradient=hypergradient, epochs=1, record="step", progress=False,
        weight_lr=xi, weight_lr_min=xi, weight_momentum=0.0, weight_decay=0.0, grad_clip=0.0,
        arch_optimizer="sgd", arch_lr=0.05, arch_weight_decay=0.0, precision="float64", device="cpu",
    )  # fmt: skip
    network = FunctionNetwork(toy, weights={"w": -2.0}, alphas={"alpha": 2.0})
    alphas: np.ndarray = pydarts.search((batches[0], batches[1]), cfg, network=network).alphas["alpha"]
    return alphas.ravel()


def darts() -> Figure:
    """α over the steps of the toy, by first order and by the unrolled step."""
    figure, (axis,) = panels()
    axis.plot(toy_search("first_order"), color=GREY, label="first order")
    for xi, colour in ((0.1, ORANGE), (0.25, GREEN), (0.5, BLUE)):
        axis.plot(toy_search("unrolled_exact", xi), color=colour, label=f"second order, ξ = {xi:g}")
    axis.axhline(1, color="black", linewidth=0.8, linestyle=":")
    axis.set(xlabel="step", ylabel="α", ylim=(0.5, 3.5))
    axis.annotate("optimum", (150, 1), (0, 3), textcoords="offset points", ha="right")
    axis.legend(loc="upper right")
    return figure


def milenas() -> Figure:
    """α over the steps of the toy, by first order and by the mixed level."""
    figure, (axis,) = panels()
    axis.plot(toy_search("first_order"), color=GREY, label="first order")
    for weight, colour in ((0.5, ORANGE), (1.0, BLUE)):
        label = f"mixed level, weight {weight:g}"
        axis.plot(toy_search(algorithms.MixedLevel(weight=weight)), color=colour, label=label)
    axis.set(xlabel="step", ylabel="α")
    axis.legend(loc="upper right")
    return figure


def implicit() -> Figure:
    """The gradient of α at (2, 2) by the number of products, for two solvers."""
    figure, (axis,) = panels()
    network = FunctionNetwork(toy, weights={"w": 2.0}, alphas={"alpha": 2.0})
    cfg = pydarts.SearchConfig(relaxation="identity", weight_decay=0.0, weight_momentum=0.0, progress=False)
    model = pydarts.SearchModule(network, config=cfg, precision="float64")
    train, valid = ((torch.full((1,), kind), torch.zeros(1)) for kind in (1.0, 0.0))

    def gradient(method: Any) -> float:
        return float(
            model.arch_gradient(train=train, valid=valid, hypergradient=method, xi=0.1)["alpha"].sum()
        )

    terms = range(13)
    neumann = [gradient(algorithms.Neumann(terms=k)) for k in terms]
    conjugate = [gradient(algorithms.ConjugateGradient(terms=k, damping=0.0)) for k in terms[1:]]
    axis.axhline(2, color="black", linewidth=0.8, linestyle=":")
    axis.plot(terms, neumann, "o-", color=BLUE, markersize=3, label="neumann, η = 0.1")
    axis.plot(terms[1:], conjugate, "o-", color=ORANGE, markersize=3, label="conjugate_gradient, δ = 0")
    axis.plot(0, gradient("t1_t2"), "D", color=GREEN, label="t1_t2")
    axis.plot(0, gradient("first_order"), "s", color=GREY, label="first_order")
    axis.annotate("implicit gradient", (0, 2), (0, 4), textcoords="offset points")
    axis.set(xlabel="products with the Hessian", ylabel="gradient of α", ylim=(-0.2, 2.5))
    axis.legend(loc="lower right")
    return figure


# ---- Samples of relaxations


def corners(m: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return the place of shares of three candidates in a triangle."""
    shares = m.numpy()
    return shares[:, 1] + shares[:, 2] / 2, shares[:, 2] * np.sqrt(3) / 2


def triangle(axis: Axes, m: torch.Tensor, mean: torch.Tensor, title: str) -> None:
    """Draw samples of three shares and their mean."""
    edge = corners(torch.eye(3, dtype=torch.float64)[[0, 1, 2, 0]])
    axis.plot(*edge, color="black", linewidth=0.8)
    axis.scatter(*corners(m), s=5, color=BLUE, alpha=0.5, linewidths=0, rasterized=True)
    axis.scatter(*corners(mean[None]), s=40, color=ORANGE, marker="D", zorder=3)
    for number, (x, y) in enumerate(zip(edge[0][:3], edge[1][:3], strict=True)):
        axis.annotate(
            str(number + 1), (x, y), (0, 4 if y > 0 else -12), textcoords="offset points", ha="center"
        )
    axis.set_title(title, pad=12)
    axis.set(aspect="equal", xlim=(-0.1, 1.1), ylim=(-0.12, 0.95))
    axis.set_axis_off()


def drawn(relaxation: Any, alpha: torch.Tensor, samples: int) -> torch.Tensor:
    """Return what a relaxation draws for a row in several steps."""
    return torch.stack([relaxation.sample(alpha, step=step) for step in range(samples)])


def snas() -> Figure:
    """Samples of the Gumbel-softmax at three temperatures."""
    temperatures = (1.0, 0.3, 0.03)
    figure, axes = panels(3, height=2.5)
    for axis, temperature in zip(axes, temperatures, strict=True):
        relaxation = algorithms.Gumbel(temperature=temperature)
        noise = drawn(relaxation, ROW, 300)
        m = torch.stack([relaxation.weights(ROW, noise=one) for one in noise])
        triangle(axis, m, relaxation.weights(ROW), f"λ = {temperature:g}")
    return figure


def drnas() -> Figure:
    """Samples of the Dirichlet relaxation for three rows of logits."""
    figure, axes = panels(3, height=2.5)
    relaxation = algorithms.Dirichlet()
    for axis, row in zip(axes, ([0.0, 0, 0], [2.0, 2, 2], [-1.0, -1, 1]), strict=True):
        alpha = torch.tensor(row, dtype=torch.float64)
        title = f"α = ({', '.join(f'{value:g}' for value in row)})"
        triangle(axis, drawn(relaxation, alpha, 300), relaxation.weights(alpha), title)
    return figure


def gdas() -> Figure:
    """The soft sample behind one draw at three temperatures."""
    figure, axes = panels(3, height=2.3, sharey=True)
    noise = torch.tensor([1.030930, -0.185627, 0.366513], dtype=torch.float64)
    for axis, temperature in zip(axes, (10.0, 1.0, 0.1), strict=True):
        soft = algorithms.Gumbel(temperature=temperature).weights(ROW, noise=noise)
        hard = algorithms.GumbelHard(temperature=temperature).weights(ROW, noise=noise)
        axis.bar(range(3), hard, width=0.8, color="none", edgecolor=BLUE, label="runs: m")
        axis.bar(range(3), soft, width=0.5, color=ORANGE, label="gradient: p̃")
        axis.set(
            title=f"τ = {temperature:g}", xticks=range(3), xticklabels=["1", "2", "3"], xlabel="candidate"
        )
    axes[0].legend(loc="upper right")
    return figure


def random_ws() -> Figure:
    """Three random architectures of a cell with 14 edges."""
    space = pydarts.Space.preset("darts")
    operations, edges = space.operations, space.edges
    figure, axes = panels(3, height=3.4, sharey=True)
    generator = np.random.default_rng(0)
    for step, axis in enumerate(axes):
        m = algorithms.Random().sample(torch.zeros(len(edges), len(operations)), step=step).numpy()
        for node in sorted({target for _, target in edges}):  # two edges into a node are kept
            into = [row for row, (_, target) in enumerate(edges) if target == node]
            m[generator.permutation(into)[2:]] = 0
        axis.imshow(m, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axis.set(title=f"step {step + 1}", xticks=range(len(operations)), yticks=range(len(edges)))
        axis.set_xticklabels(operations, rotation=90, fontsize=7)
        axis.set_yticklabels([f"{source} → {target}" for source, target in edges], fontsize=7)
        for row in range(1, len(edges)):
            if edges[row][1] != edges[row - 1][1]:
                axis.axhline(row - 0.5, color=GREY, linewidth=0.6)
    return figure


# ---- Schedules, terms and perturbations


def epochs_of(schedule: Any, epochs: int = EPOCHS) -> list[float]:
    """Return a schedule in every epoch."""
    return [schedule.at(epoch, epochs) for epoch in range(epochs)]


def darts_minus() -> Figure:
    """The weight of the auxiliary skip by epoch."""
    figure, (axis,) = panels()
    axis.plot(epochs_of(algorithms.Linear(1, 1 / EPOCHS)), color=BLUE, label="Linear(1, 0.02): published")
    axis.plot(epochs_of(algorithms.Cosine(1, 0)), color=ORANGE, label="Cosine(1, 0)")
    axis.set(xlabel="epoch", ylabel="β", ylim=(0, 1.05))
    axis.legend(loc="upper right")
    return figure


def sdarts() -> Figure:
    """The radius by epoch, and one perturbed row."""
    figure, (left, right) = panels(2)
    left.plot(epochs_of(algorithms.Linear(0.03, 0.2946)), color=BLUE)
    left.set(xlabel="epoch", ylabel="ε", ylim=(0, 0.32), title="the radius grows")
    m = algorithms.Softmax().weights(ROW)
    clipped = (m + torch.tensor([0.25, -0.3, 0.1], dtype=torch.float64)).clamp(0, 1)
    places = np.arange(3)
    right.bar(places - 0.2, m, 0.35, color=GREY, label="m: α step")
    right.bar(places + 0.2, clipped / clipped.sum(), 0.35, color=BLUE, label="m′: w step")
    right.set(
        xticks=places,
        xticklabels=["1", "2", "3"],
        xlabel="candidate",
        title="one draw, ε = 0.3",
        ylim=(0, 0.8),
    )
    right.legend(loc="upper center", ncols=2)
    return figure


def fair_darts() -> Figure:
    """The mixing weight of a logit, and the zero-one term with its slope."""
    figure, (left, right) = panels(2)
    alphas = np.linspace(-5, 5, 101)
    sigmoid, term = algorithms.Sigmoid(), algorithms.ZeroOne(weight=10.0)
    left.plot(alphas, [float(sigmoid.weights([alpha])) for alpha in alphas], color=BLUE)
    left.axhline(0.85, color="black", linewidth=0.8, linestyle=":")
    left.annotate("threshold 0.85", (-5, 0.87))
    left.set(xlabel="α", ylabel="m = σ(α)", title="mixing weight")
    values, slopes = zip(*(term.apply([alpha], relaxation="sigmoid") for alpha in alphas), strict=True)
    right.plot(alphas, values, color=BLUE, label="term")
    right.plot(alphas, [float(slope) for slope in slopes], color=ORANGE, label="its gradient")
    right.set(xlabel="α", title="zero-one term, weight 10")
    right.legend(loc="upper right")
    return figure


def beta_darts() -> Figure:
    """The slope of the term for each logit of a row, over the first logit."""
    figure, (axis,) = panels()
    term = algorithms.BetaDecay(weight=1.0)
    logits = np.linspace(-4, 4, 81)
    slopes = [term.apply([logit, 0.0, 0.0, 0.0])[1] for logit in logits]
    axis.plot(logits, [float(slope[0]) for slope in slopes], color=BLUE, label="first logit")
    axis.plot(logits, [float(slope[1]) for slope in slopes], color=ORANGE, label="each of the other three")
    axis.axvline(0, color="black", linewidth=0.8, linestyle=":")
    axis.set(xlabel="first logit (the others are 0)", ylabel="gradient of the term", ylim=(0, 1))
    axis.legend(loc="upper left")
    return figure


def robust_darts() -> Figure:
    """The stop rule on a sequence of curvatures."""
    measured = [0.2, 0.25, 0.3, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.9, 1.2, 1.5]
    at = [2 * number for number in range(len(measured))]
    means = {at[last]: np.mean(measured[max(0, last - 4) : last + 1]) for last in range(2, len(at))}
    figure, (axis,) = panels()
    axis.plot(at, measured, "o", color=GREY, label="curvature, every 2 epochs")
    axis.plot(
        list(means), list(means.values()), "o-", color=BLUE, markersize=3, label="mean of 5 measurements"
    )
    axis.annotate("", (22, means[22]), (14, means[14]), arrowprops={"arrowstyle": "->", "color": ORANGE})
    axis.annotate(f"× {means[22] / means[14]:.2f} > 1.3: stop", (17, 0.78), color=ORANGE, ha="right")
    axis.axvline(10, color="black", linewidth=0.8, linestyle=":")
    axis.annotate("returns to epoch 10", (10, 1.3), (4, 0), textcoords="offset points")
    axis.set(xlabel="epoch", ylabel="λmax", ylim=(0, 1.6))
    axis.legend(loc="upper left")
    return figure


def cost() -> Figure:
    """How each form changes a loss of 2, over the expected cost; 0 where E = R."""
    figure, (axis,) = panels()
    ratios = np.linspace(0.2, 2, 61)
    forms: Iterable[tuple[str, dict[str, float], str]] = (
        ("add", {"weight": 0.1}, BLUE),
        ("multiply", {"weight": 1.0, "exponent": 0.07}, ORANGE),
        ("log", {"weight": 0.01}, GREEN),
    )
    for form, numbers, colour in forms:
        term = algorithms.Flops(form=form, reference=5e8, **numbers)  # type: ignore[arg-type]
        losses = [term.apply([0.0], loss=2.0, costs=[ratio * 5e8])[0] for ratio in [*ratios, 1.0]]
        reached = ", ".join(f"{name} {number:g}" for name, number in numbers.items())
        change = np.array(losses[:-1]) - losses[-1]
        axis.plot(ratios, change, color=colour, label=f"{form}: {reached}")
    axis.axvline(1, color="black", linewidth=0.8, linestyle=":")
    axis.set(xlabel="expected cost E, in units of the reference R", ylabel="change of the objective")
    axis.legend(loc="lower right")
    return figure


# ---- Partial channels


def shuffled(channels: int, k: int) -> list[int]:
    """Return which channel is at each place after the shuffle."""
    mixed = max(1, channels // k)
    return sorted(range(channels), key=lambda channel: (channel % mixed, channel // mixed))


def pc_darts() -> Figure:
    """Eight channels with k = 4: what the operations read in two nodes in a row."""
    figure, (axis,) = panels(height=2.4)
    channels, k = 8, 4
    order = list(range(channels))
    colours = [matplotlib.colormaps["viridis"](channel / (channels - 1)) for channel in range(channels)]
    rows = []
    for _ in range(3):
        rows.append(order)
        order = [order[place] for place in shuffled(channels, k)]
    for (y, row), x in product(enumerate(rows), range(channels)):
        read = x < channels // k
        axis.add_patch(Rectangle((x, -y), 0.9, 0.7, color=colours[row[x]], alpha=1 if read else 0.35))
        place, colour = (x + 0.45, -y + 0.35), "white" if read else "black"
        axis.annotate(str(row[x]), place, ha="center", va="center", color=colour)
    for y in range(3):
        axis.add_patch(Rectangle((-0.06, -y - 0.06), 2.02, 0.82, fill=False, edgecolor=ORANGE, linewidth=1.5))
        axis.annotate(f"node {y + 1}", (-0.3, -y + 0.35), ha="right", va="center")
    axis.annotate("operations read these", (1, 0.85), ha="center", color=ORANGE)
    axis.annotate("these bypass", (5, 0.85), ha="center")
    axis.set(xlim=(-1.4, channels), ylim=(-2.2, 1.2))
    axis.set_axis_off()
    return figure


FIGURES: dict[str, Callable[[], Figure]] = {
    draw.__name__.replace("_", "-"): draw
    for draw in (
        darts, pc_darts, gdas, snas, drnas, fair_darts, darts_minus, sdarts, robust_darts, beta_darts,
        milenas, random_ws, implicit, cost,
    )
}  # fmt: skip


def main(names: Sequence[str]) -> None:
    """Draw the pictures."""
    torch.set_num_threads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in names or FIGURES:
        with matplotlib.rc_context(STYLE):
            path = FOLDER / f"{name}.svg"
            FIGURES[name]().savefig(path, metadata={"Date": None}, dpi=150)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
