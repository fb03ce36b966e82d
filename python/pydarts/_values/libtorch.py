"""Import PyTorch before the extension, which links its libraries, and require version 2.11."""

_REMEDY = "install it with: pip install 'torch>=2.11,<2.12'"

try:
    import torch
except ImportError as error:
    raise ImportError(
        f"pydarts runs on the libraries of PyTorch 2.11, which is missing; {_REMEDY}"
    ) from error


def require_version(version: str) -> None:
    """Raise ImportError unless `version` is a PyTorch 2.11.

    >>> require_version("2.11.0+cpu")
    """
    if version.split("+")[0].split(".")[:2] != ["2", "11"]:
        raise ImportError(f"pydarts is built for PyTorch 2.11 and found {version}; {_REMEDY}")


require_version(str(torch.__version__))
