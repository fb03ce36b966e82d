"""The command `pydarts`.

A package of its own, beside `pydarts`: to import that one loads PyTorch, which takes seconds. Nothing here
does so before a command runs, so help, usage errors and a shell's completion answer at once, and `pydarts
doctor` can say what is wrong where PyTorch cannot be loaded at all.
"""


def main() -> None:
    """Run the command line; ends the process with its exit code."""
    try:
        from .app import app

        app(prog_name="pydarts")
    except KeyboardInterrupt:  # while it loads
        raise SystemExit(130) from None
