//! One pass over a plan with the derivative along a direction of the weights carried beside each value.
//!
//! ∇_w L(w, α)·v is the derivative of L along one line, so it takes a second value beside each value of the plan
//! (forward-mode differentiation), not a second backward pass. Both are ordinary libtorch operations: the gradient of
//! ∇_w L·v by α, the Hessian-vector product of eq. 7, is one backward pass over them. ReLUs and max poolings keep the
//! choice they made, as double backward does.

use tch::Tensor;

use super::blocks::Parts;
use super::executable::{Rule, Step, Value, broken_plan};
use super::execute::Run;
use super::layout::channels_second;
use crate::error::Result;
use crate::nn::buffers::EPSILON;
use crate::plan::{Instruction, Op, Scale, WeightId};

/// A value and its derivative along the direction; none stands for zero.
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

impl Rule for Along<'_> {
    type Value = Dual;

    fn value(&self, instruction: &Instruction, step: &Step, inputs: &[&Dual]) -> Result<Dual> {
        self.dual(instruction, step, inputs)
    }
}

/// A pass along a direction.
pub struct Along<'a> {
    run: Run<'a>,
    direction: Vec<Tensor>,
    /// Blocks of values, and of their derivatives.
    values: Parts,
    tangents: Parts,
}

impl<'a> Along<'a> {
    /// `direction`: flat, as the weights.
    pub fn new(run: Run<'a>, direction: &Tensor) -> Result<Self> {
        let direction = run.schedule.kernels.views(direction)?;
        Ok(Along { run, direction, values: Parts::default(), tangents: Parts::default() })
    }

    fn weight(&self, id: WeightId) -> &Tensor {
        &self.direction[self.run.schedule.kernels.place[id.0]]
    }

    fn dual(&self, instruction: &Instruction, step: &Step, inputs: &[&Dual]) -> Result<Dual> {
        let first = || inputs.first().copied().ok_or_else(|| broken_plan(instruction));
        match &instruction.op {
            Op::BatchNorm { scale, .. } => self.batch_norm(first()?, scale, step),
            Op::Relu => {
                let value = first()?.value.f_relu()?;
                let chosen = value.f_detach()?;
                let tangent = first()?.tangent.as_ref().map(|tangent| chosen.f_threshold_backward(tangent, 0.0));
                Ok(Dual { value, tangent: tangent.transpose()? })
            }
            Op::MaxPool { kernel, stride, padding } => {
                max_pool(first()?, *kernel as i64, *stride as i64, *padding as i64)
            }
            Op::Conv { weight, .. } => {
                let value = self.run.instruction(instruction, step, &[&first()?.value], &self.values)?;
                let moved = self.run.convolution(&instruction.op, &first()?.value, self.weight(*weight))?;
                Ok(Dual { value, tangent: self.plus_linear(moved, instruction, step, inputs)? })
            }
            Op::Linear { weight, bias } => {
                let value = self.run.instruction(instruction, step, &[&first()?.value], &self.values)?;
                let moved = first()?.value.f_linear(self.weight(*weight), Some(self.weight(*bias)))?;
                let tangent = match &first()?.tangent {
                    Some(tangent) => moved.f_add(&tangent.f_linear(self.run.weight(*weight), None::<&Tensor>)?)?,
                    None => moved,
                };
                Ok(Dual { value, tangent: Some(tangent) })
            }
            _ => {
                let values: Vec<&Tensor> = inputs.iter().map(|input| &input.value).collect();
                // The derivative first: accumulating writes over a value.
                let tangent = self.linear(instruction, step, inputs)?;
                Ok(Dual { value: self.run.instruction(instruction, step, &values, &self.values)?, tangent })
            }
        }
    }

    /// The derivative of what is linear in its inputs: the same of their derivatives.
    fn linear(&self, instruction: &Instruction, step: &Step, inputs: &[&Dual]) -> Result<Option<Tensor>> {
        if inputs.iter().all(|input| input.tangent.is_none()) {
            return Ok(None);
        }
        let filled = inputs.iter().map(|input| match &input.tangent {
            Some(tangent) => Ok(tangent.shallow_clone()),
            None => Ok(input.value.f_zeros_like()?),
        });
        let filled = filled.collect::<Result<Vec<_>>>()?;
        self.run.instruction(instruction, step, &filled.iter().collect::<Vec<_>>(), &self.tangents).map(Some)
    }

    fn plus_linear(
        &self,
        moved: Tensor,
        instruction: &Instruction,
        step: &Step,
        inputs: &[&Dual],
    ) -> Result<Option<Tensor>> {
        match self.linear(instruction, step, inputs)? {
            Some(mut tangent) => Ok(Some(tangent.f_add_(&moved)?)),
            None => Ok(Some(moved)),
        }
    }

    /// y = s·x̂ + b with x̂ = (x − mean)·r and r = (var + ε)^−½, so
    /// y′ = s·r·(x′ − mean(x′) − x̂·mean(x̂·x′)) + s′·x̂ + b′.
    fn batch_norm(&self, input: &Dual, scale: &Scale, step: &Step) -> Result<Dual> {
        const POSITIONS: [i64; 3] = [0, 2, 3];
        let (none, x) = (None::<&Tensor>, &input.value);
        let (normal, _, r) = x.f_native_batch_norm(none, none, none, none, true, 0.0, EPSILON)?;
        let per_channel = |vector: &Tensor| vector.f_view([1, -1, 1, 1]);
        // Sums, divided when they are one number a channel: backwards, a mean fills a whole value.
        let sum = |x: &Tensor| x.f_sum_dim_intlist(POSITIONS.as_slice(), true, None);
        let (factor, shift, of_factor, of_shift) = match scale {
            Scale::One => (None, None, None, None),
            Scale::Mixing { alpha, .. } => (Some(self.run.mixing[alpha.0].scale(step.scale)), None, None, None),
            Scale::Affine { weight, bias } => (
                Some(self.run.weight(*weight)),
                Some(self.run.weight(*bias)),
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
                // Batch norm gives r without its derivative by x, which is −r²·x̂ / count: that of a term which is zero.
                let slope = sum(&normal.f_detach()?.f_mul(x)?)?;
                let nothing = slope.f_sub(&slope.f_detach()?)?.f_mul_scalar(1.0 / count)?;
                let r = r.f_sub(&r.f_square()?.f_mul(&nothing)?)?;
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
        if let (Some(of_factor), Some(of_shift)) = (of_factor, of_shift) {
            let moved = per_channel(of_shift)?.f_addcmul(&normal, &per_channel(of_factor)?)?;
            tangent = Some(match tangent {
                Some(tangent) => tangent.f_add(&moved)?,
                None => moved,
            });
        }
        Ok(Dual { value, tangent })
    }
}

/// The derivative of the largest is that of the place it was found at.
fn max_pool(input: &Dual, kernel: i64, stride: i64, padding: i64) -> Result<Dual> {
    let (value, places) =
        input.value.f_max_pool2d_with_indices([kernel, kernel], [stride, stride], [padding, padding], [1, 1], false)?;
    let Some(tangent) = &input.tangent else { return Ok(Dual { value, tangent: None }) };
    let size = value.size();
    let (n, c, h, w) = (size[0], size[1], size[2], size[3]);
    let flat = |x: &Tensor| x.f_permute([0, 2, 3, 1])?.f_reshape([n, -1, c]);
    let taken = flat(tangent)?.f_gather(1, &flat(&places)?, false)?;
    Ok(Dual { value, tangent: Some(channels_second(&taken.f_view([n, h, w, c])?)?) })
}
