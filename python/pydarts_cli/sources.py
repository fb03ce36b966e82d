"""The inputs of commands: genotypes by name or file, folders of runs, networks."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .answer import USAGE, Problem, cut, nearest, quoted

if TYPE_CHECKING:
    from pydarts import Genotype, SearchResult
    from pydarts.benchmarks import NASBench201
    from pydarts.nn import Network

# The names in `pydarts.genotypes`, for shell completion without importing it.
_PUBLISHED = ("DARTS_V1", "DARTS_V2", "PC_DARTS_CIFAR", "PC_DARTS_IMAGENET", "DARTS_RNN_V1", "DARTS_RNN_V2")

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="folder of a search", show_default=False)]
GenotypeArgument = Annotated[
    str,
    typer.Argument(
        metavar="GENOTYPE",
        help="name of a published genotype (DARTS_V2), file (JSON, the paper's notation, NNI's or "
        "NAS-Bench-301's dictionary), folder of a search, or the text of a genotype in quotes",
        autocompletion=lambda: list(_PUBLISHED),
        show_default=False,
    ),
]
BenchmarkOption = Annotated[
    Path | None,
    typer.Option(
        "--benchmark", metavar="FILE", help="table of NAS-Bench-201 (.npz or .csv), for a search in its space"
    ),
]


def benchmark_of(path: Path | None) -> NASBench201 | None:
    """Read the table of a benchmark."""
    if path is None:
        return None
    import pydarts

    return pydarts.benchmarks.NASBench201(path)


def cells_of(folder: Path) -> SearchResult:
    """Load the result of a search for cells from its folder.

    Raises:
        Problem: as for `run_of`, or the search had a user-defined network, which has no genotype.
        pydarts.CheckpointError: a file of the result is broken.
    """
    result = run_of(folder)
    if not hasattr(result, "genotype"):
        from pydarts._values.words import listed

        raise Problem(
            f"{folder} is a search with a network of your own, which has no genotype; it picked "
            f"{listed(picks(result))}"
        )
    return result


def picks(result: SearchResult) -> list[str]:
    """Return what a search with a user-defined network picked, one choice per line."""
    from pydarts._results.decisions import picked

    return [f"{name}: {value}" for name, value in picked(result.architecture)]


def run_of(folder: Path) -> SearchResult:
    """Load the result of a search from its folder.

    Raises:
        Problem: the path is not a folder, or the folder has no result.
        pydarts.CheckpointError: a file of the result is broken.
    """
    if folder.is_file():
        raise Problem(f"{folder} is a file; expected the folder of a search")
    if not folder.is_dir():
        raise Problem(
            f"no folder {str(folder)!r}; create one with "
            f"`pydarts search --data digits --out {quoted(folder)}`"
        )
    if not (folder / "result.json").is_file():
        if (folder / "training.json").is_file():
            raise Problem(
                f"{folder} contains a training, not a search; to plot it, use `pydarts plot {quoted(folder)}`"
            )
        if (folder / "checkpoints").is_dir():
            what = "training" if any(folder.glob("checkpoints/training-*")) else "search"
            raise Problem(
                f"{folder} contains the checkpoints of an unfinished {what}; repeat the command of that "
                f"{what} with --resume"
            )
        raise Problem(f"{folder} contains no result of a search")
    import pydarts

    return pydarts.SearchResult.load(folder)


def genotype_of(source: str) -> Genotype:
    """Return the genotype that a name, a file, a folder or a text specifies.

    Raises:
        Problem: `source` is none of these.
        pydarts.Error: the file is broken.
    """
    import pydarts

    if source in pydarts.genotypes.__all__:
        found: Genotype = getattr(pydarts.genotypes, source)
        return found
    if is_text(source):
        return read_genotype(source)
    path = Path(source)
    # Other than the methods of `Path`, these functions do not fail for a name that is too long.
    if source and os.path.isdir(path):
        trained = (path / "network.safetensors").is_file() and not (path / "genotype.json").is_file()
        return _trained(path) if trained else cells_of(path).genotype
    if path.suffix == ".safetensors" and os.path.isfile(path):
        return _trained(path)
    if os.path.isfile(path):
        try:
            return read_genotype(path.read_text(encoding="utf-8-sig"))
        except UnicodeDecodeError as error:
            raise Problem(f"{path} is not UTF-8 text; expected a genotype") from error
        except pydarts.GenotypeError as error:
            raise Problem(f"{path}: {error}") from error
    meant = nearest(source.upper(), pydarts.genotypes.__all__)
    remedy = f"did you mean {meant}?" if meant else f"published genotypes: {', '.join(_PUBLISHED)}"
    raise Problem(f"{cut(source)!r} is neither a published genotype nor a file or folder; {remedy}", USAGE)


def is_text(source: str) -> bool:
    """Return whether an argument is the text of a genotype instead of a name or path.

    >>> is_text("Genotype(normal=[])"), is_text("DARTS_V2")
    (True, False)
    """
    return any(mark in source for mark in "({|") and not os.path.exists(source)


def is_run(source: str) -> bool:
    """Return whether an argument is the folder of a search."""
    return source != "" and os.path.isfile(os.path.join(source, "result.json"))


def read_genotype(text: str) -> Genotype:
    """Parse a genotype in any notation.

    >>> import pydarts
    >>> read_genotype(str(pydarts.genotypes.DARTS_V2)) == pydarts.genotypes.DARTS_V2
    True
    """
    from pydarts import Genotype

    try:
        values = json.loads(text)
    except ValueError:
        return Genotype.from_notation(text.strip())
    except RecursionError:
        values = None  # the reader below says so
    is_mapping = isinstance(values, dict)
    if is_mapping and any(key.startswith("normal/") for key in values):
        return Genotype.from_nni(_without_repetition(text))
    if is_mapping and any(key.startswith("NetworkSelectorDatasetInfo:") for key in values):
        return Genotype.from_nasbench301(_without_repetition(text))
    return Genotype.from_json(text)


def _without_repetition(text: str) -> dict[str, Any]:
    from pydarts import GenotypeError
    from pydarts._values.record import distinct

    try:
        values: dict[str, Any] = json.loads(text, object_pairs_hook=distinct)
    except ValueError as error:
        raise GenotypeError(str(error)) from error
    return values


def _trained(source: Path) -> Genotype:
    network = network_of(source)
    assert network is not None
    return network.genotype


def network_of(source: Path) -> Network | None:
    """Load the network from a .safetensors file or the folder of a training; None if `source` is neither.

    Raises:
        pydarts.CheckpointError: the file is broken.
    """
    import pydarts
    from pydarts.nn._module import SavedModule

    file = source / "network.safetensors" if os.path.isdir(source) else source
    if file.suffix == ".safetensors" and os.path.isfile(file):
        found = pydarts.load_network(file)
        if isinstance(found, SavedModule):
            raise Problem(
                f"{cut(str(file))!r} holds the weights of {found.name}, not its code; use it from Python: "
                "pydarts.load_network(path, network)"
            )
        return found
    return None


def about(genotype: Genotype) -> dict[str, Any]:
    """Return a genotype as plain data."""
    return {"genotype": genotype.to_dict(), "notation": str(genotype)}
