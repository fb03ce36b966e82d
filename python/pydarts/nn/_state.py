"""The base class of networks, which explains a state dict of another form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from .._values.checks import check_state


class CheckedModule(nn.Module):
    """A module whose `load_state_dict` names the cause if a wrapper renamed every entry."""

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Copy tensors from `state_dict`, as `torch.nn.Module.load_state_dict` does.

        Raises:
            DataError: a wrapper such as DataParallel has renamed every tensor, or they are nested.
            RuntimeError: names or shapes are wrong; the message lists them.
        """
        check_state(state_dict)
        return super().load_state_dict(state_dict, strict, assign)
