"""What people call and pass: the error names what to call instead."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from conftest import make_arrays, make_config
from pydarts import SearchConfig, TrainConfig, compare, search, search_many, train
from torch.utils.data import DataLoader, Dataset

X, Y = make_arrays()
V2 = pydarts.genotypes.DARTS_V2


def network(**changes: Any) -> Any:
    sizes: dict[str, Any] = {"channels": 2, "layers": 3, "num_classes": 4, "in_channels": 1}
    return pydarts.build(V2, **(sizes | changes))


class Rows(Dataset[Any]):
    """Examples as Hugging Face's data sets give them, or triples."""

    def __init__(self, make: Callable[[int], Any]) -> None:
        self.make = make

    def __len__(self) -> int:
        return 48

    def __getitem__(self, index: int) -> Any:
        return self.make(index)


def loader(make: Callable[[int], Any]) -> Any:
    return DataLoader(Rows(make), batch_size=8)


IMAGES = torch.as_tensor(X).float() / 255
any_: Any = None  # calls that type checkers rightly refuse
a_search: Any = search
a_train: Any = train
Row = tuple[type[Exception], tuple[str, ...], Callable[[], Any]]
CALLS: dict[str, Row] = {
    "search(X, y)": (pydarts.ConfigError, ("ndarray", "search((X, y), cfg)"), lambda: a_search(X, Y)),
    "search(X, list)": (pydarts.ConfigError, ("search((X, y), cfg)",), lambda: a_search(X, Y.tolist())),
    "search(X, tensor)": (pydarts.ConfigError, ("search((X, y)",), lambda: a_search(X, torch.as_tensor(Y))),
    "train(net, X, y)": (pydarts.ConfigError, ("(X, y), cfg",), lambda: a_train(network(), X, Y)),
    "an option": (TypeError, ("`epochs`", "SearchConfig(epochs=1)"), lambda: a_search((X, Y), epochs=1)),
    "config=": (TypeError, ("`config`", "`cfg`"), lambda: a_search((X, Y), config=make_config())),
    "arrays=": (TypeError, ("`arrays`", "`data`"), lambda: a_search(arrays=(X, Y))),
    "criterion=": (TypeError, ("`loss`",), lambda: a_search((X, Y), criterion=print)),
    "lr=": (TypeError, ("`lr`", "`weight_lr`", "SearchConfig("), lambda: a_search((X, Y), lr=1)),
    "an option of train": (
        TypeError,
        ("TrainConfig(weight_lr=0.1)",),
        lambda: a_train(V2, (X, Y), weight_lr=0.1),
    ),
    "config= of train": (TypeError, ("`cfg`",), lambda: a_train(V2, (X, Y), config=TrainConfig())),
    "an option of search_many": (
        TypeError,
        ("SearchConfig(layers=3)",),
        lambda: search_many((X, Y), layers=3),  # type: ignore[call-arg]
    ),
    "an option of compare": (
        TypeError,
        ("select=TrainConfig(epochs=3)",),
        lambda: compare({"a": V2}, (X, Y), epochs=3),  # type: ignore[call-arg]
    ),
    "a dict": (pydarts.ConfigError, ("SearchConfig(epochs=1)",), lambda: a_search((X, Y), {"epochs": 1})),
    "an empty dict": (pydarts.ConfigError, ("SearchConfig()",), lambda: a_search((X, Y), {})),
    "a class": (pydarts.ConfigError, ("SearchConfig()",), lambda: a_search((X, Y), SearchConfig)),
    "another config": (pydarts.ConfigError, ("TrainConfig",), lambda: a_search((X, Y), TrainConfig())),
    "a dict for train": (pydarts.ConfigError, ("TrainConfig(",), lambda: a_train(V2, (X, Y), {"epochs": 1})),
    "select of a dict": (
        pydarts.ConfigError,
        ("select", "TrainConfig("),
        lambda: compare({"a": V2}, (X, Y), {}),
    ),  # type: ignore[arg-type]
    "no y": (pydarts.DataError, ("y is None",), lambda: a_search((X, None))),
    "y is text": (pydarts.DataError, ("str",), lambda: a_search((X, "labels"))),
    "names of classes": (pydarts.DataError, ("np.unique",), lambda: a_search((X, ["cat", "dog"] * 24))),
    "images of several sizes": (
        pydarts.DataError,
        ("X",),
        lambda: a_search(([np.zeros((1, 8, 8)), np.zeros((1, 9, 9))], [0, 1])),
    ),
    "a dict of data": (pydarts.DataError, ("'x'", "'y'"), lambda: a_search({"x": X, "y": Y})),
    "batches of dicts": (
        pydarts.DataError,
        ("'image'", "'label'", "'id'", "unpack", 'batch["image"]', 'batch["label"]'),
        lambda: search(loader(lambda i: {"image": IMAGES[i], "label": int(Y[i]), "id": i}), make_config()),
    ),
    "triples": (
        pydarts.DataError,
        ("3", "unpack", "batch[0], batch[1]"),
        lambda: search(loader(lambda i: (IMAGES[i], int(Y[i]), i)), make_config()),
    ),
    "regression": (pydarts.DataError, ("float", "regression", "loss"), lambda: a_search((X, Y + 0.5))),
    "unscaled probabilities": (pydarts.DataError, ("1, 1",), lambda: a_search((X, np.ones((48, 4))))),
    "several labels": (pydarts.DataError, ("multi-label",), lambda: a_search((X, np.ones((48, 4), int)))),
    "one-hot integers": (pydarts.DataError, ("argmax(1)",), lambda: a_search((X, np.eye(4, dtype=int)[Y]))),
    "a column": (pydarts.DataError, ("reshape(-1)",), lambda: a_search((X, Y[:, None]))),
    "a column of a regression": (pydarts.DataError, ("loss=",), lambda: a_search((X, Y[:, None] + 0.5))),
    "masks": (pydarts.DataError, ("masks",), lambda: a_search((X, np.zeros((48, 8, 8), int)))),
    "volumes": (pydarts.DataError, ("volumes",), lambda: a_search((X[:, :, None], Y))),
    "signals": (
        pydarts.DataError,
        ("darts-1d", "[48, 2, 64]"),
        lambda: a_search((np.zeros((48, 2, 64), np.float32), Y)),
    ),
    "flat images": (pydarts.DataError, ("reshape",), lambda: a_search((X.reshape(48, 64), Y))),
    "a string of text": (
        pydarts.DataError,
        ("datasets.corpus",),
        lambda: search(("to be", "or not"), SearchConfig(space="darts-rnn")),  # type: ignore[arg-type]
    ),
    "words": (
        pydarts.DataError,
        ("datasets.corpus",),
        lambda: search((["to", "be"], ["or"]), SearchConfig(space="darts-rnn")),  # type: ignore[arg-type]
    ),
    "a corpus": (
        pydarts.DataError,
        ("text.train, text.valid",),
        lambda: search(
            pydarts.datasets.corpus("a b\n" * 20),  # type: ignore[arg-type]
            SearchConfig(space="darts-rnn"),
        ),
    ),
    "a frozen network": (
        pydarts.ConfigError,
        ("requires_grad_(True)",),
        lambda: train(network().requires_grad_(False), (X, Y)),
    ),
    "cost of a name": (TypeError, ("build", "str"), lambda: pydarts.cost("DARTS_V2")),  # type: ignore[arg-type]
    "cost of a network with arguments of build": (
        TypeError,
        ("layers",),
        lambda: pydarts.cost(pydarts.build(V2, channels=2, layers=3), layers=3),
    ),
    "build of text": (pydarts.GenotypeError, ("from_notation",), lambda: pydarts.build("DARTS_V2")),  # type: ignore[call-overload]
    "build of a network": (
        pydarts.GenotypeError,
        ("network.genotype",),
        lambda: pydarts.build(network()),
    ),
    "an argument of build": (
        pydarts.ConfigError,
        ("drop_path_prob", "`drop_path`"),
        lambda: network(drop_path_prob=0.2),
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_error_names_the_remedy(name: str) -> None:
    kind, facts, act = CALLS[name]
    with pytest.raises(kind) as caught:
        act()
    assert type(caught.value) is kind
    assert all(fact in str(caught.value) for fact in facts), str(caught.value)


NAMES = [
    (lambda: SearchConfig(lr=0.1), ("weight_lr", "arch_lr")),  # type: ignore[call-arg]
    (lambda: SearchConfig(batchsize=8), ("batch_size",)),  # type: ignore[call-arg]
    (lambda: SearchConfig(num_epochs=8), ("epochs",)),  # type: ignore[call-arg]
    (lambda: SearchConfig(learning_rate=0.1), ("weight_lr", "arch_lr")),  # type: ignore[call-arg]
    (lambda: SearchConfig(hypergradient="second_order"), ("`unrolled`",)),  # type: ignore[arg-type]
    (lambda: TrainConfig(lr=0.1), ("weight_lr",)),  # type: ignore[call-arg]
    (lambda: TrainConfig.quick(n_epochs=1), ("epochs",)),
    (lambda: SearchConfig(operations=["none", "skip"]), ("skip_connect",)),
]


@pytest.mark.parametrize(("act", "meant"), NAMES)
def test_other_names_of_options_lead_to_ours(act: Callable[[], Any], meant: tuple[str, ...]) -> None:
    with pytest.raises(pydarts.Error) as caught:
        act()
    text = str(caught.value)
    assert all(name in text for name in meant) and "slowness" not in text and "tanh" not in text


def test_a_learning_rate_below_the_last_one_is_answered_with_the_last_one() -> None:
    for space, rate in (("darts", 1e-4), ("darts-rnn", 5.0)):
        with pytest.raises(pydarts.ConfigError, match=rf"weight_lr_min={rate:g}\b|weight_lr_min={rate}\b"):
            SearchConfig(space=space, weight_lr=rate)


def test_a_result_stands_for_its_genotype(tiny_result: pydarts.SearchResult) -> None:
    net = pydarts.build(tiny_result, channels=2, layers=3, num_classes=4, in_channels=1)
    assert net.genotype == tiny_result.genotype
    config = TrainConfig(epochs=1, batch_size=8, progress=False)
    assert train(tiny_result, (X, Y), config).network.genotype == tiny_result.genotype


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
def test_a_state_dict_of_a_wrapper_is_recognised(prefix: str) -> None:
    net = network()
    state = {prefix + name: value for name, value in net.state_dict().items()}
    for target in (net, pydarts.Supernet(channels=2, layers=3, num_classes=4, in_channels=1, image_size=8)):
        with pytest.raises(pydarts.DataError, match=prefix):
            target.load_state_dict(state)
        with pytest.raises(pydarts.DataError, match="state_dict"):
            target.load_state_dict({"epoch": torch.tensor(1), "state_dict": state})
    torch.nn.modules.utils.consume_prefix_in_state_dict_if_present(state, prefix)
    net.load_state_dict(state)
    torch.nn.DataParallel(net).load_state_dict({f"module.{name}": value for name, value in state.items()})


@pytest.mark.parametrize("act", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_supernet_names_what_to_do_instead_of_copying(act: Callable[[Any], Any]) -> None:
    net = pydarts.Supernet(channels=2, layers=3, num_classes=4, in_channels=1, image_size=8)
    with pytest.raises(TypeError, match="set_alphas"):
        act(net)


def test_signals_can_be_searched_as_the_error_says() -> None:
    signals = np.random.default_rng(0).normal(size=(48, 2, 64)).astype(np.float32)[:, :, None]
    config = make_config(space=pydarts.Space(reductions=[], nodes=2), epochs=1, nodes=2, operations=None)
    assert search((signals, Y), config).status == "complete"


# ---- gradients without a limit


@pytest.mark.parametrize("off", [0, 0.0, None, float("inf"), np.float64("inf")])
def test_clipping_can_be_turned_off(off: Any) -> None:
    config = make_config(grad_clip=off)
    assert config.grad_clip == 0 == config.replace(seed=1).grad_clip
    assert SearchConfig.from_json(config.to_json()) == config
    if off is not None:  # of a training, None selects the published value
        training = TrainConfig(grad_clip=off)
        assert training.grad_clip == 0 and TrainConfig.from_dict(training.to_dict()) == training


@pytest.mark.parametrize("changes", [{}, {"hypergradient": "unrolled"}])
def test_a_search_without_clipping_is_that_with_a_huge_limit(changes: Any) -> None:
    off, huge = (search((X, Y), make_config(grad_clip=limit, **changes)) for limit in (None, 1e30))
    near = search((X, Y), make_config(grad_clip=1e-3, **changes))
    for name, alpha in off.alphas.items():
        assert np.array_equal(alpha, huge.alphas[name]) and not np.array_equal(alpha, near.alphas[name])
    assert all(torch.equal(value, huge.state_dict[name]) for name, value in off.state_dict.items())


@pytest.mark.parametrize("rate", ["weight_lr", "arch_lr"])
def test_a_rate_beyond_float32_is_a_numerical_error(rate: str) -> None:
    with pytest.raises(pydarts.NumericalError) as caught:
        search((X, Y), make_config(**{rate: 1e300}))
    assert caught.value.result.steps == (0,)


def test_a_training_without_clipping_is_that_with_a_huge_limit() -> None:
    def trained(limit: float) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        config = TrainConfig(epochs=1, batch_size=8, grad_clip=limit, progress=False)
        return train(network(), (X, Y), config).network.state_dict()

    off, huge, near = (trained(limit) for limit in (float("inf"), 1e30, 1e-3))
    assert all(torch.equal(value, huge[name]) for name, value in off.items())
    assert not all(torch.equal(value, near[name]) for name, value in off.items())
