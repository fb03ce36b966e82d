//! One pass over a plan that computes each value and its derivative along a direction of the weights (forward-mode
//! differentiation, a Jacobian-vector product).
//!
//! ∇_w L(w, α)·v is the derivative of L along v, so it needs one tangent per value instead of a second backward pass.
//! Values and tangents are computed by ordinary libtorch operations: the gradient of ∇_w L·v with respect to α, the
//! Hessian-vector product of eq. 7, is one backward pass over them. ReLU and max pooling differentiate as double
//! backward does: the selected elements are constant.

use tch::Tensor;

use super::blocks::Blocks;
use super::executable::{Interpreter, Prepared, Value, broken_plan};
use super::execute::Forward;
use super::layout::{both, channels_second, pad};
use crate::error::Result;
use crate::nn::buffers::EPSILON;
use crate::plan::{Fill, Instruction, Op, Scale, WeightId};

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
}

impl Interpreter for Jvp<'_> {
    type Value = Dual;

    fn value(&self, instruction: &Instruction, prepared: &Prepared, inputs: &[&Dual]) -> Result<Dual> {
        self.dual(instruction, prepared, inputs)
    }
}

/// A pass along a direction.
pub struct Jvp<'a> {
    forward: Forward<'a>,
    direction: Vec<Tensor>,
    /// Blocks of values, and of their tangents.
    values: Blocks,
    tangents: Blocks,
}

impl<'a> Jvp<'a> {
    /// `direction` is flat, like the weights.
    pub fn new(forward: Forward<'a>, direction: &Tensor) -> Result<Self> {
        let direction = forward.executable.weights.of(direction)?;
        Ok(Jvp { forward, direction, values: Blocks::default(), tangents: Blocks::default() })
    }

    fn weight(&self, id: WeightId) -> &Tensor {
        &self.direction[self.forward.executable.weights.index[id.0]]
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
                let direction: Vec<Tensor> =
                    weights.iter().map(|weight| self.weight(*weight).shallow_clone()).collect();
                let along = (&input.value, input.tangent.as_ref());
                let (value, tangent) = self.forward.own_module_along(along, *module, weights, &direction)?;
                Ok(Dual { value, tangent })
            }
            Op::Conv { weight, .. } => {
                let value = self.forward.instruction(instruction, prepared, &[&first()?.value], &self.values)?;
                let moved = self.forward.convolution(&instruction.op, &first()?.value, self.weight(*weight))?;
                Ok(Dual { value, tangent: self.plus_linear(moved, instruction, prepared, inputs)? })
            }
            Op::Linear { weight, bias } => {
                let value = self.forward.instruction(instruction, prepared, &[&first()?.value], &self.values)?;
                let moved = first()?.value.f_linear(self.weight(*weight), Some(self.weight(*bias)))?;
                let tangent = match &first()?.tangent {
                    Some(tangent) => moved.f_add(&tangent.f_linear(self.forward.weight(*weight), None::<&Tensor>)?)?,
                    None => moved,
                };
                Ok(Dual { value, tangent: Some(tangent) })
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
        moved: Tensor,
        instruction: &Instruction,
        prepared: &Prepared,
        inputs: &[&Dual],
    ) -> Result<Option<Tensor>> {
        match self.linear(instruction, prepared, inputs)? {
            Some(mut tangent) => Ok(Some(tangent.f_add_(&moved)?)),
            None => Ok(Some(moved)),
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
            Scale::Mixing { alpha, .. } => (Some(self.forward.mixing[alpha.0].scale(prepared.scale)), None, None, None),
            Scale::Affine { weight, bias } => (
                Some(self.forward.weight(*weight)),
                Some(self.forward.weight(*bias)),
                Some(self.weight(*weight)),
                Some(self.weight(*bias)),
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
                Some(level.f_addcmul(tangent, &outer)?.f_addcmul(&normal, &along)?)
            }
        };
        if let (Some(factor_tangent), Some(shift_tangent)) = (factor_tangent, shift_tangent) {
            let moved = per_channel(shift_tangent)?.f_addcmul(&normal, &per_channel(factor_tangent)?)?;
            tangent = Some(match tangent {
                Some(tangent) => tangent.f_add(&moved)?,
                None => moved,
            });
        }
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
