//! Gradients with respect to weights that are computed by hand instead of by autograd.
//!
//! Autograd differentiates with respect to the results of these operations. From those gradients the weights' follow
//! when the backward pass is over: all depthwise kernels in parallel, all products with one matrix as one product.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};
use crate::nn::kernels::cross_entropy::DecoderLoss;
use crate::nn::kernels::depthwise::{Depthwise, KernelGradient};
use crate::nn::kernels::gates::GateMixture;
use crate::nn::precision::in_kind;
use crate::plan::Op;

/// An operation whose weight is outside the autograd graph: its gradient is computed after the backward pass.
pub struct Deferred {
    /// The weight's index among the leaves.
    leaf: usize,
    /// The result, with respect to which autograd differentiates.
    pub y: Tensor,
    operation: Operation,
}

/// What was computed with the weight.
enum Operation {
    /// A depthwise convolution of `x`.
    Depthwise { convolution: Depthwise, x: Tensor },
    /// A product of `x` with as many rows of the weight as `x` has columns, beginning with `first`.
    Product { first: usize, x: Tensor },
    /// A mixture of gates; the weight is its mixing weights.
    Gates(GateMixture),
    /// A loss whose gradient with respect to the weight is known.
    Loss(Tensor),
}

impl Deferred {
    /// Whether to defer the gradient with respect to a convolution's kernel: if it is depthwise and on the CPU. Without
    /// a graph to `x`, the result would not be part of any graph.
    pub fn applies_to_convolution(op: &Op, x: &Tensor, kernel: &Tensor) -> bool {
        let Op::Conv { groups, .. } = op else { return false };
        let channels = *groups as i64;
        let depthwise = channels > 1 && x.size()[1] == channels && kernel.size()[..2] == [channels, 1];
        let known = x.device() == Device::Cpu && matches!(x.kind(), Kind::Float | Kind::Double);
        depthwise && known && kernel.kind() == x.kind() && x.requires_grad() && kernel.requires_grad()
    }

    /// Whether to defer the gradient with respect to a matrix: whenever `x` has a graph.
    pub fn applies_to_product(x: &Tensor, weight: &Tensor) -> bool {
        x.requires_grad() && weight.requires_grad()
    }

    /// Whether to compute a mixture of gates with the CPU kernel. Without a graph to states and gates, the result would
    /// not be part of any graph.
    pub fn applies_to_gates(states: &Tensor, gates: &Tensor) -> bool {
        let known = matches!(states.kind(), Kind::Float | Kind::Double) && states.kind() == gates.kind();
        known && states.device() == Device::Cpu && states.requires_grad() && gates.requires_grad()
    }

    /// The depthwise convolution `op` of `x` with a kernel, and its result `y`.
    pub fn convolution(op: &Op, leaf: usize, kernel: &Tensor, x: &Tensor, y: &Tensor) -> Result<Self> {
        let (Op::Conv { stride, padding, dilation, .. }, [batch, channels, height, width], [_, _, tall, wide]) =
            (op, extents(x)?, extents(y)?)
        else {
            return Err(Error::engine(format!("expected a convolution, got {op:?}")));
        };
        let [_, _, rows, columns] = extents(kernel)?;
        let convolution = Depthwise {
            batch,
            channels,
            input: [height, width],
            output: [tall, wide],
            kernel: [rows, columns],
            stride: *stride,
            padding: *padding,
            dilation: *dilation,
        };
        Ok(Deferred { leaf, y: y.shallow_clone(), operation: Operation::Depthwise { convolution, x: x.f_detach()? } })
    }

    /// The product `y` of `x` and the matrix's rows that begin with `first`.
    pub fn product(leaf: usize, first: usize, x: &Tensor, y: &Tensor) -> Result<Self> {
        Ok(Deferred { leaf, y: y.shallow_clone(), operation: Operation::Product { first, x: x.f_detach()? } })
    }

    /// A mixture of gates in the graph of its states and gates. Autograd differentiates an expression that is linear in
    /// both, with their derivatives as coefficients; its value is then replaced by the kernel's.
    pub fn gates(leaf: usize, mixture: GateMixture, [states, gates]: [&Tensor; 2]) -> Result<(Tensor, Self)> {
        let [value, by_state, by_gate] = mixture.value()?;
        let [batch, units] = value.size()[..] else {
            return Err(Error::engine(format!("expected a mixture [batch, units], got shape {:?}", value.size())));
        };
        let sum_over_states = |x: &Tensor, by: &Tensor, width: i64| {
            let scaled = x.f_mul(by)?.f_view([-1, batch, width])?;
            scaled.f_sum_dim_intlist([0i64].as_slice(), false, None)
        };
        let halves = sum_over_states(gates, &by_gate, 2 * units)?.f_split(units, 1)?;
        let mut y = sum_over_states(states, &by_state, units)?;
        for half in halves {
            y = y.f_add(&half)?;
        }
        y.f_data()?.f_copy_(&value)?;
        let deferred = Deferred { leaf, y: y.shallow_clone(), operation: Operation::Gates(mixture) };
        Ok((y, deferred))
    }

    /// A decoder's loss in the graph of its input `x`; `leaves` are the indices of its weight and bias. Autograd
    /// differentiates an expression that is linear in `x`, whose value is then replaced by the loss.
    pub fn loss(result: DecoderLoss, x: &Tensor, leaves: [usize; 2]) -> Result<(Tensor, Vec<Self>)> {
        let y = x.f_mul(&result.x_gradient)?.f_sum(None)?;
        y.f_data()?.f_copy_(&result.loss)?;
        let gradients = result.decoder_gradients.into_iter().flatten();
        let deferred = |(leaf, gradient)| Deferred { leaf, y: y.shallow_clone(), operation: Operation::Loss(gradient) };
        let deferred = leaves.into_iter().zip(gradients).map(deferred).collect();
        Ok((y, deferred))
    }
}

fn extents(tensor: &Tensor) -> Result<[usize; 4]> {
    let extents: Vec<usize> = tensor.size().into_iter().map(|extent| extent as usize).collect();
    let error = |extents| Error::engine(format!("expected a tensor of 4 dimensions, got shape {extents:?}"));
    extents.try_into().map_err(error)
}

/// The gradients with respect to the weights of `all`, each with the index of its leaf. `result_gradients`: those with
/// respect to the results, in the same order; `leaves`: all leaves.
pub fn weight_gradients(
    all: &[Deferred],
    result_gradients: &[Tensor],
    leaves: &[&Tensor],
) -> Result<Vec<(usize, Tensor)>> {
    let (mut kernels, mut depthwise) = (Vec::new(), Vec::new());
    let (mut gated, mut mixtures, mut others) = (Vec::new(), Vec::new(), Vec::new());
    let mut products: BTreeMap<(usize, usize), (Vec<Tensor>, Vec<Tensor>)> = BTreeMap::new();
    for (one, gradient) in all.iter().zip(result_gradients) {
        match &one.operation {
            Operation::Depthwise { convolution, x } => {
                kernels.push(one.leaf);
                depthwise.push(KernelGradient::new(*convolution, x, gradient)?);
            }
            Operation::Gates(mixture) => {
                gated.push(one.leaf);
                mixtures.push((mixture, gradient));
            }
            Operation::Loss(weight_gradient) => others.push((one.leaf, weight_gradient.f_mul(gradient)?)),
            Operation::Product { first, x } => {
                let (xs, gs) = products.entry((one.leaf, *first)).or_default();
                xs.push(x.f_flatten(0, -2)?);
                gs.push(gradient.f_flatten(0, -2)?);
            }
        }
    }
    for (leaf, gradient) in gated.into_iter().zip(GateMixture::weight_gradients(&mixtures)?) {
        others.push((leaf, gradient.f_view_as(leaves[leaf])?));
    }
    let mut found: Vec<_> = kernels.into_iter().zip(KernelGradient::compute(&depthwise)?).chain(others).collect();
    for ((leaf, first), (xs, gs)) in products {
        found.push((leaf, matrix_gradient(leaves[leaf], first, &xs, &gs)?));
    }
    Ok(found)
}

/// The gradient with respect to a matrix from all products with its rows that begin with `first`, as one product.
fn matrix_gradient(matrix: &Tensor, first: usize, xs: &[Tensor], gs: &[Tensor]) -> Result<Tensor> {
    let gradient = Tensor::f_cat(xs, 0)?.f_transpose(0, 1)?.f_mm(&Tensor::f_cat(gs, 0)?)?;
    let gradient = in_kind(&gradient, matrix.f_kind()?)?;
    let (above, rows) = (first as i64, gradient.size()[0]);
    match matrix.size()[0] - above - rows {
        0 if above == 0 => Ok(gradient),
        below => Ok(gradient.f_constant_pad_nd([0, 0, above, below])?),
    }
}
