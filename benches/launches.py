"""Operations that a search step dispatches, pydarts against plain eager PyTorch.

On a GPU each of them is about one launch. torch.profiler sees every operation that passes libtorch's
dispatcher, whether Rust or Python calls it, backward included. An operation counts once if it touches
elements; those that only look at memory in another way, or only call others, do not count themselves. The
number depends on the size of the images through the rule that groups edges alone: the default, 16×16, is the
largest at which the CPU groups every site, as a GPU does at any size, and `space_to_batch` is left out,
as it is there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from common import METHODS, network_options, parser, provenance, publish, table
from sides import Setting, build, prepare
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile

PASSES = ("share", "fold", "group", "sum", "mixtures")
# Look at memory in another way, or make none but uninitialised.
VIEWS = """
    view empty empty_like empty_strided new_empty new_empty_strided resize_ as_strided as_strided_ slice
    narrow permute detach detach_ expand expand_as unsqueeze unsqueeze_ squeeze squeeze_ select transpose t
    unbind chunk split split_with_sizes alias _reshape_alias _unsafe_view view_as lift_fresh resolve_conj
    resolve_neg result_type data requires_grad_ size stride set_ is_same_size _local_scalar_dense
"""
# Only call others, which count.
COMPOSITE = """
    conv2d convolution _convolution batch_norm _batch_norm_impl_index max_pool2d linear matmul to _to_copy
    clone contiguous reshape flatten cross_entropy_loss nll_loss nll_loss_nd softmax log_softmax isfinite
    norm zeros zeros_like ones ones_like new_zeros sum_to_size slice_backward select_backward
    constant_pad_nd pad relu stack one_hot item is_nonzero value_selecting_reduction_backward
"""


def main() -> None:
    made = parser("launches", __doc__)
    network_options(made, batch=4, size=16)
    made.add_argument("--methods", nargs="+", choices=METHODS, default=["first_order", "unrolled"])
    made.add_argument("--top", type=int, default=0, help="operations to print a side (%(default)s)")
    given = made.parse_args()
    prepare(Setting.of(given))
    about = provenance(
        f"{given.channels} channels, {given.layers} cells, {given.size}×{given.size}, "
        f"passes {', '.join(PASSES)}; one step, counts that do not vary"
    )
    rows = []
    for method in given.methods:
        setting = Setting.of(given, method=method, passes=PASSES)
        counts = {side: dispatched(build(side, setting)) for side in ("ours", "plain")}
        for side, count in counts.items() if given.top else ():
            print(f"{method}, {side}:", ", ".join(f"{name} {n}" for name, n in count.most_common(given.top)))
        mine, theirs = counts["ours"].total(), counts["plain"].total()
        rows.append([method, f"{mine}", f"{theirs}", f"{mine / theirs:.3f}"])
    publish(
        given.section,
        f"{about}\n\n{table(['step', 'pydarts', 'plain PyTorch', 'ratio'], rows)}",
        given.write,
    )


def dispatched(step: Callable[[], object]) -> Counter[str]:
    """The operations of one step that count, after one that warms up."""
    step()
    with profile(activities=[ProfilerActivity.CPU]) as made:
        step()
    counts: Counter[str] = Counter()
    for event in made.events():
        if event.cpu_parent is None:
            count(event, counts)
    return counts


def count(event: FunctionEvent, counts: Counter[str]) -> None:
    """Adds an operation, or those that it calls."""
    name = event.name.removeprefix("aten::")
    if name in VIEWS.split() and name != event.name:
        return
    if name == event.name or name in COMPOSITE.split():
        for child in event.cpu_children:
            count(child, counts)
    else:
        counts[name] += 1


if __name__ == "__main__":
    main()
