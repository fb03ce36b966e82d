"""Names and options that cannot be, a row for each."""

from pathlib import Path

import pydarts
import torch
from bad_data import batches
from conftest import make_arrays, make_config
from pydarts import search
from rows import Rows

ROWS = Rows()
row = ROWS.row


@row(pydarts.SpaceError, "sep_conv_3x3")
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


@row(pydarts.ConfigError, "method")
def an_unknown_method_of_the_supernet(_: Path) -> object:
    net = pydarts.Supernet(channels=2, layers=3, num_classes=4, in_channels=1, image_size=8)
    batch = batches(1)[0]
    return net.arch_gradient(batch, batch, hypergradient="second_order")  # type: ignore[arg-type]


@row(pydarts.ConfigError, "device.*cuda")
def an_unknown_device(_: Path) -> object:
    return search(make_arrays(), make_config(device="tpu"))


@row(pydarts.ConfigError, "precision.*float32")
def an_unknown_precision(_: Path) -> object:
    return search(make_arrays(), make_config(precision="float16"))


@row(pydarts.ConfigError, "precision.*float32.*float64")
def an_unknown_precision_of_the_supernet(_: Path) -> object:
    return pydarts.Supernet(precision="float16")


@row(pydarts.ConfigError, "epochs")
def an_unknown_option(_: Path) -> object:
    return pydarts.SearchConfig(epoch=3)  # type: ignore[call-arg]


@row(pydarts.ConfigError, "train_portion.*1.5")
def an_option_out_of_range(_: Path) -> object:
    return pydarts.SearchConfig(train_portion=1.5)


@row(pydarts.ConfigError, "transforms")
def augmentation_of_a_loader(_: Path) -> object:
    return search((batches(), batches()), make_config(augment="cifar"))


@row(pydarts.GenotypeError, "sep_conv_9x8")
def a_malformed_genotype(_: Path) -> object:
    return pydarts.Genotype.from_notation("Genotype(normal=[('sep_conv_9x8', 1)], normal_concat=[2])")


@row(pydarts.DataError, r"stem\.conv\.weight")
def weights_of_another_network(_: Path) -> object:
    net = pydarts.Supernet(channels=2, layers=3)
    net.load_state_dict({"conv.weight": torch.zeros(3)})
    return net


if not torch.cuda.is_available():

    @row(pydarts.DeviceError, "CUDA.*cpu")
    def cuda_where_there_is_none(_: Path) -> object:
        return search(make_arrays(), make_config(device="cuda"))

    @row(pydarts.DeviceError, "CUDA.*cpu")
    def cuda_for_the_supernet_where_there_is_none(_: Path) -> object:
        return pydarts.Supernet(channels=2, layers=3, device="cuda:0")


@row(pydarts.DeviceError, "tf32.*float32")
def tf32_on_the_cpu(_: Path) -> object:
    return search(make_arrays(), make_config(precision="tf32"))
