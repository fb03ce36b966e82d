"""The package as a whole: what it exports, what it needs, what it documents."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pydarts
import pytest
from pydarts import datasets
from pydarts._values import libtorch

PACKAGE = Path(pydarts.__file__).parent


def test_the_public_surface_is_the_explicit_list() -> None:
    shown = {name for name in vars(pydarts) if not name.startswith("_")}
    assert shown <= set(pydarts.__all__)
    assert set(pydarts.__all__) >= {
        "search", "SearchConfig", "SearchResult", "Space", "Genotype", "Supernet", "derive", "genotypes",
        "datasets", "benchmarks", "Callback", "StepInfo", "EpochInfo", "__version__",
    }  # fmt: skip
    assert all(hasattr(pydarts, name) for name in pydarts.__all__)


def test_everything_public_is_documented() -> None:
    for name in pydarts.__all__:
        thing = getattr(pydarts, name)
        if name == "__version__":
            continue
        assert inspect.getdoc(thing), name
        if inspect.isclass(thing) and not issubclass(thing, BaseException):
            for member, value in vars(thing).items():
                if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
                    assert inspect.getdoc(value), f"{name}.{member}"


def test_the_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").exists() and (PACKAGE / "_core.pyi").exists()


def test_the_stub_names_what_the_extension_has() -> None:
    import ast

    stub = ast.parse((PACKAGE / "_core.pyi").read_text())
    named = {node.name for node in stub.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    real = {name for name in dir(pydarts._core) if not name.startswith("_")}
    assert named - {"Source", "Observer"} == real


def test_every_module_says_in_its_first_line_what_it_is() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert path.read_text().startswith('"""'), path.relative_to(PACKAGE)


@pytest.mark.parametrize("version", ["2.10.1", "2.12.0", "1.11.0", "2.1.1+cpu"])
def test_another_torch_is_refused_with_the_remedy(version: str) -> None:
    with pytest.raises(ImportError, match=r"pip install 'torch>=2\.11,<2\.12'"):
        libtorch.require_version(version)


def test_this_torch_is_accepted() -> None:
    for version in ("2.11.0", "2.11.1+cu130", "2.11.0a0+git"):
        libtorch.require_version(version)


def test_a_missing_torch_is_an_import_error_that_says_what_to_install() -> None:
    code = "import sys; sys.modules['torch'] = None; import pydarts"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    assert "ImportError: pydarts runs on the libraries of PyTorch 2.11, which is missing" in done.stderr


def test_importing_waits_for_nothing_that_only_pictures_need() -> None:
    code = (
        "import sys, pydarts; assert 'plots' in dir(pydarts); told = sys.modules.keys() & "
        "{'matplotlib', 'networkx', 'jinja2', 'pandas', 'plotly', 'IPython'}; "
        "assert not told, told; pydarts.plots.cells; assert 'matplotlib' in sys.modules; pydarts.xyzzy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.stderr.splitlines()[-1] == "AttributeError: module 'pydarts' has no attribute 'xyzzy'"


def test_digits_are_real_bytes_with_a_channel() -> None:
    X, y = datasets.digits()
    assert X.shape == (1797, 1, 8, 8) and X.dtype == "uint8" and (X.min(), X.max()) == (0, 255)
    assert y.shape == (1797,) and sorted(set(y.tolist())) == list(range(10))
    assert len(set(X.reshape(-1).tolist())) == 17, "sixteen steps of brightness and black"


def test_digits_without_scikit_learn_name_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        datasets.digits()


# The installation of pydarts or of an extra of it by name, also with uv, pipx, conda and poetry.
_FROM_INDEX = re.compile(
    r"\b(?:pip[x3]?|uv|conda|mamba|poetry)\s+(?:pip\s+)?(?:install|add|download)\b[^\n`]*?"
    r"(?<![\w./-])pydarts(?![\w./-])|['\"]pydarts\[[\w,-]+\]"
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("pip install pydarts", True),
        ("%pip install -U pydarts", True),
        ("pip install --force-reinstall --no-deps pydarts", True),
        ("pip install 'pydarts[report]'", True),
        ("the extra 'pydarts[wandb]'", True),
        ("uv add pydarts==1.0", True),
        ("pip install plotly` for a report of pydarts", False),
        ("pip install .", False),
        ("pip install '.[report]'", False),
        ("pip install ./pydarts", False),
    ],
)
def test_the_pattern_of_an_installation_by_name(text: str, found: bool) -> None:
    assert bool(_FROM_INDEX.search(text)) == found


def test_no_file_says_to_install_pydarts_by_name() -> None:
    """On the public index, the name belongs to another project."""
    root = PACKAGE.parents[1]
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a clone")
    found = []
    for name in filter(None, listed.stdout.split("\0")):
        path = root / name
        if path.is_file() and path != Path(__file__):
            text = path.read_bytes().decode(errors="ignore")
            found += [f"{name}: {match[0]}" for match in _FROM_INDEX.finditer(text)]
    assert not found


@pytest.mark.parametrize(
    "name", ["algorithms", "benchmarks", "datasets", "genotypes", "loggers", "nn", "plots"]
)
def test_completion_offers_public_names_only(name: str) -> None:
    module = getattr(pydarts, name)
    assert sorted(public for public in dir(module) if not public.startswith("_")) == sorted(module.__all__)
