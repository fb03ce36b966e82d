"""The bilevel toy of the paper's figure 2 in plain floats: L_val = αw - 2α + 1, L_train = w² - 2αw + α²."""


def valid_loss(alpha: float, w: float) -> float:
    return alpha * w - 2.0 * alpha + 1.0


def train_loss(alpha: float, w: float) -> float:
    return w * w - 2.0 * alpha * w + alpha * alpha


def weight_gradient(alpha: float, w: float) -> float:
    """∂w L_train."""
    return 2.0 * w - 2.0 * alpha


def arch_gradient(alpha: float, w: float, xi: float) -> float:
    """d/dα L_val(w', α) with w' = w - ξ ∂w L_train(w, α); ξ = 0 is first order.

    ∂α L_val = w' - 2, ∂w L_val = α, dw'/dα = 2ξ. The losses are quadratic, so the central difference
    gives the same number.
    """
    virtual = w - xi * weight_gradient(alpha, w)
    return (virtual - 2.0) + 2.0 * xi * alpha


def trajectory(
    steps: int,
    *,
    xi: float,
    arch_lr: float,
    lr: float | None = None,
    alpha: float = 2.0,
    w: float = -2.0,
) -> list[tuple[float, float]]:
    """The points (α, w), the initial one first: α by gradient descent at `arch_lr`, then w at `lr`.

    `lr` is ξ unless given; it must be given for ξ = 0, or w would stand still.
    """
    rate = xi if lr is None else lr
    if rate == 0.0:
        raise ValueError("give lr: with lr = 0 the weight never moves")
    points = [(alpha, w)]
    for _ in range(steps):
        alpha -= arch_lr * arch_gradient(alpha, w, xi)
        w -= rate * weight_gradient(alpha, w)
        points.append((alpha, w))
    return points


def fixed_point(xi: float) -> float:
    """Where α and w rest: w = α and w - 2 + 2ξα = 0. The bilevel optimum, 1, is reached at ξ = 1/2."""
    return 2.0 / (1.0 + 2.0 * xi)
