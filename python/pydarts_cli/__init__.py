"""The command `pydarts`.

This package is separate from `pydarts`, because importing `pydarts` loads PyTorch, which takes seconds. Here
PyTorch is loaded only when a command runs, so that help, usage errors and shell completion are immediate and
`pydarts doctor` can report an installation in which PyTorch cannot be imported.
"""


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        from .app import app
        from .output import never_fail

        never_fail()
        app(prog_name="pydarts")
    except KeyboardInterrupt:  # while the modules are loaded
        raise SystemExit(130) from None
