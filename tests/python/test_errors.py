"""Bad input ends in an exception of the documented type that names cause and remedy, never in a hang."""

import inspect
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from conftest import make_arrays, make_config
from pydarts import search

Batch = tuple[torch.Tensor, torch.Tensor]
ROWS: dict[str, tuple[type[BaseException], str, Callable[[Path], object]]] = {}


def row(
    kind: type[BaseException], message: str
) -> Callable[[Callable[[Path], object]], Callable[[Path], object]]:
    """Enter a function that must raise `kind` with a message that matches."""

    def enter(function: Callable[[Path], object]) -> Callable[[Path], object]:
        ROWS[function.__name__.replace("_", " ")] = (kind, message, function)
        return function

    return enter


def batches(n: int = 3, size: int = 8) -> list[Batch]:
    return [(torch.rand(4, 1, size, size), torch.arange(4)) for _ in range(n)]


def with_batch(change: Callable[[torch.Tensor, torch.Tensor], Any]) -> object:
    """Search with a loader whose third batch is another."""
    loader = [*batches(2), change(*batches(1)[0])]
    return search((loader, batches()), make_config(num_classes=4, epochs=1))


def floats(**changes: Any) -> tuple[Any, Any]:
    X, y = make_arrays()
    return X.astype(np.float32) / 255, y


# ---- shape and dtype


@row(pydarts.DataError, r"X\[:, None\]")
def arrays_of_a_wrong_rank(_: Path) -> object:
    X, y = make_arrays()
    return search((X[:, 0], y), make_config())


@row(pydarts.DataError, r"batch 2.*\[N, C, H, W\]")
def a_batch_of_a_wrong_rank(_: Path) -> object:
    return with_batch(lambda x, y: (x[:, 0], y))


@row(pydarts.DataError, "in_channels is 3, but the images have 1")
def arrays_with_wrong_channels(_: Path) -> object:
    return search(make_arrays(), make_config(in_channels=3))


@row(pydarts.DataError, r"transpose\(0, 3, 1, 2\)")
def arrays_with_channels_last(_: Path) -> object:
    X, y = make_arrays(channels=3)
    return search((X.transpose(0, 2, 3, 1), y), make_config())


@row(pydarts.DataError, r"batch 2.*\[3, 8, 8\].*\[1, 8, 8\]")
def a_batch_with_wrong_channels(_: Path) -> object:
    return with_batch(lambda x, y: (x.repeat(1, 3, 1, 1), y))


@row(pydarts.DataError, r"batch 2.*\[1, 8, 6\].*\[1, 8, 8\]")
def one_batch_of_a_different_shape(_: Path) -> object:
    return with_batch(lambda x, y: (x[:, :, :, :6], y))


@row(pydarts.DataError, "uint8.*floating.*int32")
def images_of_a_wrong_dtype(_: Path) -> object:
    X, y = make_arrays()
    return search((X.astype(np.int32), y), make_config())


@row(pydarts.DataError, r"\[2, 3, 8, 8\].*\[batch, 1, 8, 8\]")
def a_wrong_batch_for_the_supernet(_: Path) -> object:
    net = pydarts.Supernet(channels=2, layers=3, num_classes=4, in_channels=1, image_size=8)
    return net.logits(torch.zeros(2, 3, 8, 8))


@row(pydarts.DataError, r"pair \(x, y\)")
def a_batch_that_is_no_pair(_: Path) -> object:
    return with_batch(lambda x, y: x)


# ---- labels


@row(pydarts.DataError, "num_classes=3.*number 3 is 3")
def labels_out_of_range(_: Path) -> object:
    return search(make_arrays(), make_config(num_classes=3))


@row(pydarts.DataError, "batch 2.*num_classes=4")
def labels_of_a_batch_out_of_range(_: Path) -> object:
    return with_batch(lambda x, y: (x, y + 1))


@row(pydarts.DataError, "validation.*num_classes=4")
def validation_labels_out_of_range(_: Path) -> object:
    late = [*batches(2), (torch.zeros(4, 1, 8, 8), torch.tensor([0, 1, 2, 4]))]
    return search((batches(5), late), make_config(num_classes=4, epochs=1))


@row(pydarts.DataError, "negative")
def negative_labels(_: Path) -> object:
    X, y = make_arrays()
    return search((X, y - 1), make_config())


@row(pydarts.DataError, r"integers.*float64.*astype\('int64'\)")
def float_labels(_: Path) -> object:
    X, y = make_arrays()
    return search((X, y.astype(float)), make_config())


@row(pydarts.DataError, "batch 2.*integers")
def float_labels_in_a_batch(_: Path) -> object:
    return with_batch(lambda x, y: (x, y.float()))


@row(pydarts.DataError, "40, but there are 48 images")
def labels_of_a_wrong_length(_: Path) -> object:
    X, y = make_arrays()
    return search((X, y[:40]), make_config())


@row(pydarts.DataError, "argmax")
def one_hot_labels(_: Path) -> object:
    X, y = make_arrays()
    return search((X, np.eye(4, dtype=int)[y]), make_config())


# ---- loaders


class Empty:
    def __iter__(self) -> Iterator[Batch]:
        return iter([])


@row(pydarts.DataError, "training loader is empty")
def an_empty_loader(_: Path) -> object:
    return search((Empty(), batches()), make_config())


@row(pydarts.DataError, "validation loader is empty")
def an_empty_validation_loader_of_known_sizes(_: Path) -> object:
    return search((batches(), Empty()), make_config(num_classes=4, in_channels=1, image_size=8))


class OncePerObject:
    """Re-iterable by its looks, but empty from the second pass on."""

    def __init__(self) -> None:
        self.once = iter(batches())

    def __iter__(self) -> Iterator[Batch]:
        yield from self.once


@row(pydarts.DataError, "empty")
def a_loader_that_runs_dry(_: Path) -> object:
    return search((OncePerObject(), batches()), make_config(num_classes=4))


@row(pydarts.DataError, "only once")
def an_iterator(_: Path) -> object:
    return search((iter(batches()), batches()), make_config())


@row(pydarts.DataError, r"pair \(train, valid\)")
def an_iterable_that_cannot_be_split(_: Path) -> object:
    return search(batches(), make_config())


@row(pydarts.DataError, r"batch_size=64.*another train_portion")
def fewer_images_than_a_batch(_: Path) -> object:
    return search(make_arrays(), make_config(batch_size=64))


@row(pydarts.DataError, "images.*empty")
def no_images(_: Path) -> object:
    X, y = make_arrays()
    return search((X[:0], y[:0]), make_config())


@row(pydarts.DataError, "cannot be a str")
def what_is_no_loader(_: Path) -> object:
    return search("digits", make_config())  # type: ignore[arg-type]


# ---- numbers


@row(pydarts.DataError, "image 17 .*NaN or infinity")
def nan_in_the_images(_: Path) -> object:
    X, y = floats()
    X[17, 0, 2, 2] = np.nan
    return search((X, y), make_config())


@row(pydarts.DataError, "batch 2 of the training loader holds NaN or infinity")
def infinity_in_a_batch(_: Path) -> object:
    return with_batch(lambda x, y: (x / 0, y))


class Exploding:
    """A loss that is NaN from some call on: the fifth is that of α in the third step, the sixth that of w."""

    def __init__(self, value: float, since: int = 5) -> None:
        self.calls, self.value, self.since = 0, value, since

    def __call__(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        loss = torch.nn.functional.cross_entropy(logits, targets)
        return loss * self.value if self.calls >= self.since else loss


@row(pydarts.NumericalError, "validation loss became NaN at step 2")
def a_loss_that_becomes_nan(_: Path) -> object:
    return search(make_arrays(), make_config(), loss=Exploding(float("nan")))


@row(pydarts.NumericalError, "became inf(inite)? at step 2")
def a_loss_that_becomes_infinite(_: Path) -> object:
    return search(make_arrays(), make_config(), loss=Exploding(float("inf")))


@row(pydarts.DataError, "batch of 1.*batches of at least 2")
def a_batch_of_one_where_batch_norm_needs_more(_: Path) -> object:
    return search(make_arrays(size=4), make_config(batch_size=1))


# ---- names and options


@row(pydarts.SpaceError, "did you mean.*sep_conv_3x3")
def an_unknown_operation(_: Path) -> object:
    return search(make_arrays(), make_config(operations=["none", "sep_conv_3"]))


@row(pydarts.ConfigError, "darts")
def an_unknown_space(_: Path) -> object:
    return search(make_arrays(), pydarts.SearchConfig(space="dart"))


@row(pydarts.SpaceError, r"cell 2.*1x1.*2x2")
def images_too_small_for_the_reductions(_: Path) -> object:
    return search(make_arrays(size=2), make_config())


@row(pydarts.ConfigError, "hypergradient.*first_order")
def an_unknown_method(_: Path) -> object:
    return search(make_arrays(), make_config(hypergradient="second_order"))


@row(pydarts.ConfigError, "unknown `method`")
def an_unknown_method_of_the_supernet(_: Path) -> object:
    net = pydarts.Supernet(channels=2, layers=3, num_classes=4, in_channels=1, image_size=8)
    batch = batches(1)[0]
    return net.arch_gradient(batch, batch, method="second_order")  # type: ignore[arg-type]


@row(pydarts.ConfigError, "device.*cuda")
def an_unknown_device(_: Path) -> object:
    return search(make_arrays(), make_config(device="tpu"))


@row(pydarts.ConfigError, "precision.*float32")
def an_unknown_precision(_: Path) -> object:
    return search(make_arrays(), make_config(precision="float16"))


@row(pydarts.ConfigError, "dtype must be one of float32, float64")
def an_unknown_dtype_of_the_supernet(_: Path) -> object:
    return pydarts.Supernet(dtype="float16")


@row(pydarts.ConfigError, "did you mean `epochs`")
def an_unknown_option(_: Path) -> object:
    return pydarts.SearchConfig(epoch=3)  # type: ignore[call-arg]


@row(pydarts.ConfigError, "train_portion.*1.5")
def an_option_out_of_range(_: Path) -> object:
    return pydarts.SearchConfig(train_portion=1.5)


@row(pydarts.ConfigError, "transforms")
def augmentation_of_a_loader(_: Path) -> object:
    return search((batches(), batches()), make_config(augment="cifar"))


@row(pydarts.GenotypeError, "sep_conv_3x3|position|column|unknown")
def a_malformed_genotype(_: Path) -> object:
    return pydarts.Genotype.from_notation("Genotype(normal=[('sep_conv_3', 1)], normal_concat=[2])")


@row(pydarts.DataError, "missing stem.conv.weight")
def weights_of_another_network(_: Path) -> object:
    net = pydarts.Supernet(channels=2, layers=3)
    net.load_state_dict({"conv.weight": torch.zeros(3)})
    return net


if not torch.cuda.is_available():

    @row(pydarts.DeviceError, "no CUDA.*cpu")
    def cuda_where_there_is_none(_: Path) -> object:
        return search(make_arrays(), make_config(device="cuda"))

    @row(pydarts.DeviceError, "no CUDA.*cpu")
    def cuda_for_the_supernet_where_there_is_none(_: Path) -> object:
        return pydarts.Supernet(channels=2, layers=3, device="cuda:0")


@row(pydarts.DeviceError, "tf32.*float32")
def tf32_on_the_cpu(_: Path) -> object:
    return search(make_arrays(), make_config(precision="tf32"))


# ---- checkpoints


def checkpoint(folder: Path, **changes: Any) -> Path:
    """Leave checkpoints of a short search; the newest one."""
    search(make_arrays(), make_config(checkpoint_dir=folder, **changes))
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.name)


def resume(folder: Path, **changes: Any) -> object:
    return search(make_arrays(), make_config(checkpoint_dir=folder, resume=True, epochs=4, **changes))


@row(pydarts.CheckpointError, "truncated")
def a_truncated_checkpoint(folder: Path) -> object:
    newest = checkpoint(folder)
    newest.write_bytes(newest.read_bytes()[:-100])
    return resume(folder)


@row(pydarts.CheckpointError, "not a whole checkpoint|not a pydarts checkpoint")
def what_is_not_a_checkpoint(folder: Path) -> object:
    checkpoint(folder).write_bytes(b"a shopping list")
    return resume(folder)


@row(pydarts.CheckpointError, "space|operations|nodes")
def a_checkpoint_of_another_space(folder: Path) -> object:
    checkpoint(folder)
    return resume(folder, operations=("none", "skip_connect", "conv_1x1"))


@row(pydarts.CheckpointError, "`?arch_lr`?.*0.5.*0.0003")
def a_checkpoint_of_another_config(folder: Path) -> object:
    checkpoint(folder)
    return resume(folder, arch_lr=0.5)


@row(pydarts.CheckpointError, "resume=True")
def a_folder_that_holds_another_search(folder: Path) -> object:
    checkpoint(folder)
    return search(make_arrays(), make_config(checkpoint_dir=folder))


@row(pydarts.CheckpointError, "genotype.json")
def a_damaged_result(folder: Path) -> object:
    search(make_arrays(), make_config(epochs=1)).save(folder)
    (folder / "genotype.json").write_text("{")
    return pydarts.SearchResult.load(folder)


@row(FileNotFoundError, "nowhere")
def a_result_that_is_not_there(folder: Path) -> object:
    return pydarts.SearchResult.load(folder / "nowhere")


@row(OSError, "file")
def a_checkpoint_folder_that_cannot_be_made(folder: Path) -> object:
    folder.mkdir(exist_ok=True)
    (folder / "file").write_text("in the way")
    return search(make_arrays(), make_config(checkpoint_dir=folder / "file" / "run"))


# ---- memory and the engine


@row(pydarts.OutOfMemoryError, r"estimates.*GiB.*batch_size=\d+")
def out_of_memory(folder: Path) -> object:
    code = """
        import resource, torch, numpy, pydarts
        torch.set_num_threads(1)
        cfg = pydarts.SearchConfig(
            channels=8, layers=3, nodes=2, epochs=1, batch_size=64, device="cpu", progress=False
        )
        X, y = numpy.zeros((256, 1, 64, 64), numpy.uint8), numpy.arange(256) % 4
        pydarts.search((X[:16, :, :8, :8].copy(), y[:16]), cfg.replace(batch_size=8))
        pages = int(open("/proc/self/statm").read().split()[0])
        limit = pages * resource.getpagesize() + 200 * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        try:
            pydarts.search((X, y), cfg)
        except pydarts.OutOfMemoryError as error:
            print(error)
    """
    if not Path("/proc/self/statm").exists():
        pytest.skip("memory can be limited on Linux only")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    raise pydarts.OutOfMemoryError(done.stdout)


@row(pydarts.EngineError, "libtorch")
def a_failure_inside_libtorch(_: Path) -> object:
    return search(make_arrays(), make_config(), loss=lambda logits, targets: logits.sum().to("meta"))


@row(pydarts.DataError, "scalar")
def a_loss_that_is_no_scalar(_: Path) -> object:
    return search(make_arrays(), make_config(), loss=lambda logits, targets: logits)


@row(pydarts.DataError, "no graph to the logits")
def a_loss_that_has_left_the_graph(_: Path) -> object:
    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return torch.tensor(torch.nn.functional.cross_entropy(logits, targets).item())

    return search(make_arrays(), make_config(), loss=loss)


@row(pydarts.ConfigError, "inference_mode")
def a_search_where_nothing_has_gradients(_: Path) -> object:
    with torch.inference_mode():
        return search(make_arrays(), make_config())


# ---- the tests


@pytest.mark.parametrize("name", ROWS)
def test_bad_input_raises_the_documented_exception(name: str, tmp_path: Path) -> None:
    kind, message, function = ROWS[name]
    with pytest.raises(kind, match=f"(?s){message}") as caught:
        function(tmp_path / "run")
    assert type(caught.value) is kind or kind is OSError


@pytest.mark.parametrize(
    "name", ["a loss that becomes nan", "infinity in a batch", "labels of a batch out of range"]
)
def test_a_search_that_fails_midway_keeps_the_last_good_state(name: str, tmp_path: Path) -> None:
    kind, _, function = ROWS[name]
    with pytest.raises(kind) as caught:
        function(tmp_path)
    result = caught.value.result  # type: ignore[attr-defined]
    assert result.status == "failed" and result.steps[-1] == 2
    assert all(np.isfinite(alpha).all() for alpha in result.alphas.values())
    assert all(torch.isfinite(value).all() for value in result.state_dict.values())


def test_a_failed_weight_step_takes_the_step_of_alpha_back() -> None:
    with pytest.raises(pydarts.NumericalError, match="training loss became NaN at step 2") as caught:
        search(make_arrays(), make_config(), loss=Exploding(float("nan"), since=6))
    failed = caught.value.result
    whole = search(make_arrays(), make_config(record="step"))
    assert failed is not None and failed.steps[-1] == 2
    for name, alpha in failed.alphas.items():  # recorded by epoch, so the last point is what was left
        assert np.array_equal(alpha[-1], whole.alphas[name][2])


def public_exceptions() -> set[type[BaseException]]:
    found = {name: getattr(pydarts, name) for name in pydarts.__all__}
    return {value for value in found.values() if inspect.isclass(value) and issubclass(value, BaseException)}


def test_every_public_exception_has_a_row() -> None:
    cuda = {pydarts.DeviceError} if torch.cuda.is_available() else set()
    assert public_exceptions() - {kind for kind, _, _ in ROWS.values()} - cuda == {pydarts.Error}


def test_every_public_exception_is_an_error_of_pydarts_and_a_builtin_one() -> None:
    builtin = {
        pydarts.ConfigError: ValueError,
        pydarts.SpaceError: ValueError,
        pydarts.GenotypeError: ValueError,
        pydarts.DataError: ValueError,
        pydarts.NumericalError: ArithmeticError,
        pydarts.CheckpointError: ValueError,
        pydarts.DeviceError: RuntimeError,
        pydarts.OutOfMemoryError: MemoryError,
        pydarts.EngineError: RuntimeError,
    }
    assert public_exceptions() == {pydarts.Error, *builtin}
    for kind, base in builtin.items():
        assert issubclass(kind, pydarts.Error) and issubclass(kind, base)
        assert kind.__module__ == "pydarts" and kind.__doc__


def test_messages_hold_no_trace_of_the_machinery(tmp_path: Path) -> None:
    with pytest.raises(pydarts.ConfigError) as caught:
        pydarts.SearchConfig(epochs=0)
    assert json.dumps(str(caught.value)).isascii()
    assert "Traceback" not in str(caught.value) and "ErrorKind" not in str(caught.value)
