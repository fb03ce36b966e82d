//! One forward pass over a plan: computes each instruction with libtorch.

use std::cell::RefCell;

use tch::{Kind, Tensor};

use super::blocks::{Blocks, cut};
use super::executable::{Executable, Interpreter, Prepared, Value, broken_plan};
use super::layout::{batch_to_space, both, concat, pad, repeat, shift, shuffle, space_to_batch, subsample};
use super::mixing::{MixingWeights, mixtures};
use super::pooling::avg_pool;
use super::thinned::Thinned;
use super::weight_gradients::Deferred;
use crate::error::{Error, Result};
use crate::nn::networks::drop::DropMasks;
use crate::nn::networks::dropout::Masks;
use crate::nn::networks::noise::Noise;
use crate::nn::networks::user_operation::Own;
use crate::nn::{Mode, NamedBuffers};
use crate::plan::{DropoutTarget, Instruction, Op, WeightId};

/// One forward pass, with everything that its instructions look up.
pub struct Forward<'a> {
    pub executable: &'a Executable,
    weights: &'a [Tensor],
    pub mixing: &'a [MixingWeights],
    pub(super) mode: Mode,
    blocks: Blocks,
    /// Dtype of the activations.
    pub(super) compute: Kind,
    /// Dtype of the logits.
    pub(super) kind: Kind,
    /// The dropout masks; None without dropout.
    masks: Option<&'a Masks>,
    /// The masks of drop path and skip dropout; None where nothing is dropped.
    drop: Option<&'a DropMasks>,
    /// What the operation `noise` draws; None without it.
    noise: Option<&'a Noise>,
    /// The modules of user-defined operations, with their buffers.
    pub(super) own: Option<(&'a Own, &'a NamedBuffers)>,
    /// What the pass leaves out.
    thinned: Option<&'a Thinned>,
    /// Operations whose weights are outside the graph, in order; None if all weights are part of it.
    pub(super) deferred: Option<RefCell<Vec<Deferred>>>,
}

impl<'a> Forward<'a> {
    /// A pass with these weight views and mixing weights.
    pub fn new(
        executable: &'a Executable,
        weights: &'a [Tensor],
        mixing: &'a [MixingWeights],
        mode: Mode,
        compute: Kind,
        kind: Kind,
    ) -> Self {
        let blocks = Blocks::default();
        let (masks, drop, noise, own, thinned, deferred) = (None, None, None, None, None, None);
        Forward { executable, weights, mixing, mode, blocks, compute, kind, masks, drop, noise, own, thinned, deferred }
    }

    /// The same, with weight gradients computed outside autograd where that is faster.
    pub fn with_deferred_weights(self) -> Self {
        Forward { deferred: Some(RefCell::default()), ..self }
    }

    /// The same with dropout.
    pub fn with_masks(self, masks: &'a Masks) -> Self {
        Forward { masks: Some(masks), ..self }
    }

    /// The same with drop path and skip dropout.
    pub fn with_drop(self, drop: Option<&'a DropMasks>) -> Self {
        Forward { drop, ..self }
    }

    /// The same with the operation `noise`.
    pub fn with_noise(self, noise: Option<&'a Noise>) -> Self {
        Forward { noise, ..self }
    }

    /// The same with modules of user-defined operations.
    pub fn with_own(self, own: Option<(&'a Own, &'a NamedBuffers)>) -> Self {
        Forward { own, ..self }
    }

    /// The same without some operations.
    pub fn with_thinned(self, thinned: Option<&'a Thinned>) -> Self {
        Forward { thinned, ..self }
    }

    pub(super) fn mask(&self, target: DropoutTarget) -> Option<&Tensor> {
        self.masks.and_then(|masks| masks.at(target))
    }

    /// A weight, or the group that begins with it.
    pub fn weight(&self, id: WeightId) -> &Tensor {
        &self.weights[self.weight_leaf(id)]
    }

    /// The index of a weight among the leaves.
    pub(super) fn weight_leaf(&self, id: WeightId) -> usize {
        self.executable.weights.index[id.0]
    }

    /// The value of one instruction. `blocks` are those of the values that `inputs` belong to.
    pub fn instruction(
        &self,
        instruction: &Instruction,
        prepared: &Prepared,
        inputs: &[&Tensor],
        blocks: &Blocks,
    ) -> Result<Tensor> {
        let broken = || broken_plan(instruction);
        let x = || inputs.first().copied().ok_or_else(broken);
        let pair = || match inputs {
            [one, other] => Ok((*one, *other)),
            _ => Err(broken()),
        };
        let whole = || instruction.inputs.first().copied().ok_or_else(broken);
        let block = |dim, index: &usize, count: &usize| {
            blocks.take(whole()?, x()?, *index, |x| Ok(x.f_chunk(*count as i64, dim)?))
        };
        match &instruction.op {
            Op::Conv { weight, .. } => self.deferrable_convolution(&instruction.op, x()?, *weight),
            Op::BatchNorm { scale, .. } => self.batch_norm(x()?, scale, prepared)?.ok_or_else(broken),
            Op::Linear { weight, bias } => self.linear(x()?, *weight, *bias),
            Op::Relu => Ok(x()?.f_relu()?),
            Op::MaxPool { kernel, stride, padding, ceil } => {
                Ok(x()?.f_max_pool2d(both(*kernel), both(*stride), both(*padding), [1, 1], *ceil)?)
            }
            Op::Bias { weight } => Ok(x()?.f_add(&self.weight(*weight).f_view([1, -1, 1, 1])?)?),
            Op::AvgPool { kernel, stride, padding, outside, ceil, .. } => match &prepared.pooling {
                Some(pooling) if pooling.applies_to(x()?) => pooling.apply(x()?),
                _ => avg_pool(x()?, [*kernel, *stride, *padding].map(both), *outside as i64, *ceil),
            },
            Op::GlobalAvgPool => Ok(x()?.f_mean_dim([2i64, 3].as_slice(), false, None)?),

            Op::Pad { left, fill } => pad(x()?, *left as i64, *fill),
            Op::Shift { by } => shift(x()?, *by),
            Op::Concat { blocks } => concat(inputs, instruction.shape.0.len(), *blocks as i64),
            Op::Subsample { factors } => subsample(x()?, both(*factors)),
            Op::SpaceToBatch { factors } => space_to_batch(x()?, both(*factors)),
            Op::BatchToSpace { factors } => batch_to_space(x()?, both(*factors)),
            Op::Repeat { times } => repeat(x()?, *times as i64),
            Op::Slice { index, of } => block(1, index, of),
            Op::Cut { at, rest } => cut(whole()?, x()?, (*at as i64, *rest), blocks),
            Op::Shuffle { by } => shuffle(x()?, *by as i64),
            Op::Stack => Ok(Tensor::f_cat(inputs, 0)?),
            Op::Unstack { index, of } => block(0, index, of),

            Op::Mix { alpha, terms } => self.mixing[alpha.0].mix(inputs, terms)?.ok_or_else(broken),
            Op::Mixtures { alpha, rows, columns } => {
                let weights = self.mixing[alpha.0].matrix(prepared.scale, [rows.len(), columns.len()])?;
                mixtures(x()?, &weights)
            }
            Op::Add => pair().and_then(|(one, other)| Ok(one.f_add(other)?)),
            Op::Accumulate => pair().and_then(|(into, value)| Ok(into.shallow_clone().f_add_(value)?)),
            Op::Mean => Ok(Tensor::f_stack(inputs, 0)?.f_mean_dim([0i64].as_slice(), false, None)?),

            Op::Noise { .. } => self.drawn(instruction, x()?),
            Op::Own { module, weights, .. } => self.own_module(x()?, *module, weights),
            Op::Lookup { weight } => self.lookup(x()?, *weight),
            Op::Mask { target } => self.dropout(x()?, *target),
            Op::Drop { mask } => self.drop.map_or_else(|| Ok(x()?.shallow_clone()), |drop| drop.apply(x()?, *mask)),
            Op::Product { weight, rows } => self.product(x()?, *weight, *rows),
            Op::Gate { activation } => pair().and_then(|(state, gates)| self.gate(*activation, state, gates)),
            Op::Gates { alpha, rows, columns } => self.gates(pair()?, *alpha, rows.len(), columns, prepared),
        }
    }

    /// The noise of an edge, for as many examples as `x` has.
    fn drawn(&self, instruction: &Instruction, x: &Tensor) -> Result<Tensor> {
        let noise = self.noise.ok_or_else(|| Error::engine("the noise of the network is missing"))?;
        let [channels, height, width] = instruction.shape.0[..] else { return Err(broken_plan(instruction)) };
        let size = [x.size()[0], channels as i64, height as i64, width as i64];
        noise.draw(&instruction.scope, size, (self.compute, x.device()))
    }
}

impl Interpreter for Forward<'_> {
    type Value = Tensor;

    fn value(&self, instruction: &Instruction, prepared: &Prepared, inputs: &[&Tensor]) -> Result<Tensor> {
        self.instruction(instruction, prepared, inputs, &self.blocks)
    }

    fn thinned(&self) -> Option<&Thinned> {
        self.thinned
    }

    fn take_deferred(&self) -> Vec<Deferred> {
        self.deferred.as_ref().map(RefCell::take).unwrap_or_default()
    }
}

impl Value for Tensor {
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self]
    }

    fn like(&self, mut tensors: Vec<Tensor>) -> Tensor {
        tensors.pop().unwrap_or_else(|| self.shallow_clone())
    }

    fn constant(tensor: Tensor) -> Tensor {
        tensor
    }
}
