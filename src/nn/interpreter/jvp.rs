//! One pass over a plan that computes each value and its derivative along a direction of weights and mixing weights
//! (forward-mode differentiation, a Jacobian-vector product).
//!
//! ∇_w L(w, m)·v + ∇_m L(w, m)·u is the derivative of L along (v, u), so it needs one tangent per value instead of a
//! second backward pass. Values and tangents are computed by ordinary libtorch operations: its gradients with respect to
//! m and w, products of second derivatives with (v, u), are one backward pass over them. ReLU and max pooling differentiate as double
//! backward does: the selected elements are constant.

use tch::Tensor;

use super::blocks::Blocks;
use super::executable::{Interpreter, Prepared, Value, broken_plan};
use super::execute::Forward;
use super::layout::{both, channels_second, pad};
use super::mixing::{MixingWeights, mixtures};
use super::thinned::Thinned;
use super::weight_gradients::Deferred;
use crate::error::Result;
use crate::nn::Along;
use crate::nn::buffers::EPSILON;
use crate::nn::gradients::add;
use crate::params::Table;
use crate::plan::{AlphaId, Fill, Instruction, Op, Scale, WeightId};

/// A value and its derivative along the direction, its tangent; None is zero.
pub struct Dual {
    pub value: Tensor,
    pub tangent: Option<Tensor>,
}

impl Value for Dual {
    fn tensors(&self) -> Vec<&Tensor> {
        [&self.value].into_iter().chain(&self.tangent).collect()
    }

    fn like(&self, tensors: Vec<Tensor>) -> Dual {
        let mut tensors = tensors.into_iter();
        Dual { value: tensors.next().unwrap_or_else(|| self.value.shallow_clone()), tangent: tensors.next() }
    }

    fn constant(value: Tensor) -> Dual {
        Dual { value, tangent: None }
    }
}

impl Interpreter for Jvp<'_> {
    type Value = Dual;

    fn value(&self, instruction: &Instruction, prepared: &Prepared, inputs: &[&Dual]) -> Result<Dual> {
        self.dual(instruction, prepared, inputs)
    }

    fn take_deferred(&self) -> Vec<Deferred> {
        self.forward.take_deferred()
    }

    fn thinned(&self) -> Option<&Thinned> {
        self.forward.thinned()
    }
}

/// A pass along a direction.
pub struct Jvp<'a> {
    forward: Forward<'a>,
    /// The tangents of weights and of mixing weights, as the pass reads those; None: zero.
    direction: Option<Vec<Tensor>>,
    mixing: Option<Vec<MixingWeights>>,
    /// Blocks of values, and of their tangents.
    values: Blocks,
    tangents: Blocks,
}

impl<'a> Jvp<'a> {
    /// `alphas` describes the tables of the flat m.
    pub fn new(forward: Forward<'a>, along: Along, alphas: &Table) -> Result<Self> {
        let executable = forward.executable;
        let direction = along.w.map(|w| executable.weights.of(w)).transpose()?;
        let mixing = along.m.map(|m| executable.mixing(alphas.views(m)?)).transpose()?;
        Ok(Jvp { forward, direction, mixing, values: Blocks::default(), tangents: Blocks::default() })
    }

    /// The tangent of a weight.
    fn weight(&self, id: WeightId) -> Option<&Tensor> {
        self.direction.as_ref().map(|all| &all[self.forward.executable.weights.index[id.0]])
    }

    /// The tangents of the mixing weights of a table.
    fn mixing(&self, alpha: AlphaId) -> Option<&MixingWeights> {
        self.mixing.as_ref().map(|all| &all[alpha.0])
    }

    fn dual(&self, instruction: &Instruction, prepared: &Prepared, inputs: &[&Dual]) -> Result<Dual> {
        let first = || inputs.first().copied().ok_or_else(|| broken_plan(instruction));
        match &instruction.op {
            Op::BatchNorm { scale, .. } => self.batch_norm(first()?, scale, prepared),
            Op::Relu => {
                let value = first()?.value.f_relu()?;
                let output = value.f_detach()?;
                let tangent = first()?.tangent.as_ref().map(|tangent| output.f_threshold_backward(tangent, 0.0));
                Ok(Dual { value, tangent: tangent.transpose()? })
            }
            Op::MaxPool { kernel, stride, padding, ceil } => {
                max_pool(first()?, [*kernel, *stride, *padding].map(both), *ceil)
            }
            Op::Pad { left, fill } => {
                let value = pad(&first()?.value, *left as i64, *fill)?;
                let tangent = first()?.tangent.as_ref().map(|tangent| pad(tangent, *left as i64, Fill::Zero));
                Ok(Dual { value, tangent: tangent.transpose()? })
            }
            Op::Own { module, weights, .. } => {
                let input = first()?;
                let tangent = |weight: &WeightId| match self.weight(*weight) {
                    Some(tangent) => Ok(tangent.shallow_clone()),
                    None => self.forward.weight(*weight).f_zeros_like(),
                };
                let direction = weights.iter().map(tangent).collect::<Result<Vec<_>, _>>()?;
                let along = (&input.value, input.tangent.as_ref());
                let (value, tangent) = self.forward.own_module_along(along, *module, weights, &direction)?;
                Ok(Dual { value, tangent })
            }
            Op::Noise { .. } => {
                let value = self.forward.instruction(instruction, prepared, &[&first()?.value], &self.values)?;
                Ok(Dual { value, tangent: None })
            }
            Op::Conv { weight, .. } => {
                let value = self.forward.instruction(instruction, prepared, &[&first()?.value], &self.values)?;
                let by_weight = |kernel| self.forward.convolution(&instruction.op, &first()?.value, kernel);
                let moved = self.weight(*weight).map(by_weight).transpose()?;
                Ok(Dual { value, tangent: self.plus_linear(moved, instruction, prepared, inputs)? })
            }
            Op::Linear { weight, bias } => {
                let value = self.forward.instruction(instruction, prepared, &[&first()?.value], &self.values)?;
                let x = first()?;
                let by_weight = |matrix| x.value.f_linear(matrix, self.weight(*bias));
                let mut tangent = self.weight(*weight).map(by_weight).transpose()?;
                let by_input = |x: &Tensor| x.f_linear(self.forward.weight(*weight), None::<&Tensor>);
                add(&mut tangent, x.tangent.as_ref().map(by_input).transpose()?)?;
                Ok(Dual { value, tangent })
            }
            Op::Bias { weight } => {
                let value = self.forward.instruction(instruction, prepared, &[&first()?.value], &self.values)?;
                let moved = |bias: &Tensor| bias.f_view([1, -1, 1, 1]);
                let moved = self.weight(*weight).map(moved).transpose()?;
                let tangent = match (&first()?.tangent, moved) {
                    (Some(tangent), Some(moved)) => Some(tangent.f_add(&moved)?),
                    (None, Some(moved)) => Some(moved.f_expand_as(&value)?),
                    (tangent, None) => tangent.as_ref().map(Tensor::shallow_clone),
                };
                Ok(Dual { value, tangent })
            }
            Op::Mix { alpha, terms } => {
                let values: Vec<&Tensor> = inputs.iter().map(|input| &input.value).collect();
                let by_weights = |mixing: &MixingWeights| mixing.mix(&values, terms);
                let moved = self.mixing(*alpha).map(by_weights).transpose()?.flatten();
                // The tangent first: the order of the graph is that in which gradients are added.
                let tangent = self.plus_linear(moved, instruction, prepared, inputs)?;
                Ok(Dual { value: self.forward.instruction(instruction, prepared, &values, &self.values)?, tangent })
            }
            Op::Mixtures { alpha, rows, columns } => {
                let x = &first()?.value;
                let by_weights =
                    |mixing: &MixingWeights| mixtures(x, &mixing.matrix(prepared.scale, [rows.len(), columns.len()])?);
                let moved = self.mixing(*alpha).map(by_weights).transpose()?;
                let tangent = self.plus_linear(moved, instruction, prepared, inputs)?;
                Ok(Dual { value: self.forward.instruction(instruction, prepared, &[x], &self.values)?, tangent })
            }
            _ => {
                let values: Vec<&Tensor> = inputs.iter().map(|input| &input.value).collect();
                // The tangent first: Accumulate overwrites a value.
                let tangent = self.linear(instruction, prepared, inputs)?;
                Ok(Dual { value: self.forward.instruction(instruction, prepared, &values, &self.values)?, tangent })
            }
        }
    }

    /// The tangent of an operation that is linear in its inputs: the operation applied to their tangents.
    fn linear(&self, instruction: &Instruction, prepared: &Prepared, inputs: &[&Dual]) -> Result<Option<Tensor>> {
        if inputs.iter().all(|input| input.tangent.is_none()) {
            return Ok(None);
        }
        let filled = inputs.iter().map(|input| match &input.tangent {
            Some(tangent) => Ok(tangent.shallow_clone()),
            None => Ok(input.value.f_zeros_like()?),
        });
        let filled = filled.collect::<Result<Vec<_>>>()?;
        self.forward.instruction(instruction, prepared, &filled.iter().collect::<Vec<_>>(), &self.tangents).map(Some)
    }

    fn plus_linear(
        &self,
        moved: Option<Tensor>,
        instruction: &Instruction,
        prepared: &Prepared,
        inputs: &[&Dual],
    ) -> Result<Option<Tensor>> {
        match (self.linear(instruction, prepared, inputs)?, moved) {
            (Some(mut tangent), Some(moved)) => Ok(Some(tangent.f_add_(&moved)?)),
            (tangent, moved) => Ok(tangent.or(moved)),
        }
    }

    /// y = s·x̂ + b with x̂ = (x − mean)·r and r = (var + ε)^−½, so
    /// y′ = s·r·(x′ − mean(x′) − x̂·mean(x̂·x′)) + s′·x̂ + b′.
    fn batch_norm(&self, input: &Dual, scale: &Scale, prepared: &Prepared) -> Result<Dual> {
        const POSITIONS: [i64; 3] = [0, 2, 3];
        let (none, x) = (None::<&Tensor>, &input.value);
        let (normal, _, r) = x.f_native_batch_norm(none, none, none, none, true, 0.0, EPSILON)?;
        let per_channel = |vector: &Tensor| vector.f_view([1, -1, 1, 1]);
        // Sums, which are divided once they are one number per channel: the backward of a mean fills a whole value.
        let sum = |x: &Tensor| x.f_sum_dim_intlist(POSITIONS.as_slice(), true, None);
        let (factor, shift, factor_tangent, shift_tangent) = match scale {
            Scale::One => (None, None, None, None),
            Scale::Mixing { alpha, .. } => {
                let tangent = self.mixing(*alpha).map(|mixing| mixing.scale(prepared.scale));
                (Some(self.forward.mixing[alpha.0].scale(prepared.scale)), None, tangent, None)
            }
            Scale::Affine { weight, bias } => (
                Some(self.forward.weight(*weight)),
                Some(self.forward.weight(*bias)),
                self.weight(*weight),
                self.weight(*bias),
            ),
        };
        let factor = factor.map(per_channel).transpose()?;
        let mut value = match &factor {
            Some(factor) => normal.f_mul(factor)?,
            None => normal.shallow_clone(),
        };
        if let Some(shift) = shift {
            value = value.f_add(&per_channel(shift)?)?;
        }
        let mut tangent = match &input.tangent {
            None => None,
            Some(tangent) => {
                let count = x.numel() as f64 / r.numel() as f64;
                let r = per_channel(&r.f_detach()?)?;
                // libtorch returns r without its derivative with respect to x, −r²·x̂ / count. Subtract a term that is
                // zero and has this derivative.
                let slope = sum(&normal.f_detach()?.f_mul(x)?)?;
                let zero = slope.f_sub(&slope.f_detach()?)?.f_mul_scalar(1.0 / count)?;
                let r = r.f_sub(&r.f_square()?.f_mul(&zero)?)?;
                let outer = match &factor {
                    Some(factor) => r.f_mul(factor)?,
                    None => r,
                };
                let minus = outer.f_mul_scalar(-1.0 / count)?;
                let along = sum(&normal.f_mul(tangent)?)?.f_mul(&minus)?;
                let level = sum(tangent)?.f_mul(&minus)?;
                Some(level.f_addcmul(tangent, &outer)?.f_addcmul_(&normal, &along)?)
            }
        };
        let moved = match (factor_tangent.map(per_channel).transpose()?, shift_tangent.map(per_channel).transpose()?) {
            (Some(factor), Some(shift)) => Some(shift.f_addcmul(&normal, &factor)?),
            (Some(factor), None) => Some(normal.f_mul(&factor)?),
            (None, _) => None,
        };
        add(&mut tangent, moved)?;
        Ok(Dual { value, tangent })
    }
}

/// The tangent of a maximum is the tangent of the element that was selected.
fn max_pool(input: &Dual, [kernel, stride, padding]: [[i64; 2]; 3], ceil: bool) -> Result<Dual> {
    let (value, indices) = input.value.f_max_pool2d_with_indices(kernel, stride, padding, [1, 1], ceil)?;
    let Some(tangent) = &input.tangent else { return Ok(Dual { value, tangent: None }) };
    let size = value.size();
    let (n, c, h, w) = (size[0], size[1], size[2], size[3]);
    let flat = |x: &Tensor| x.f_permute([0, 2, 3, 1])?.f_reshape([n, -1, c]);
    let selected = flat(tangent)?.f_gather(1, &flat(&indices)?, false)?;
    Ok(Dual { value, tangent: Some(channels_second(&selected.f_view([n, h, w, c])?)?) })
}
