//! One pass over a plan: each instruction as the libtorch operations that compute it.

use std::cell::RefCell;

use tch::{Kind, Tensor};

use super::activations::{gate, gates};
use super::blocks::Parts;
use super::executable::{Rule, Schedule, Step, Value, broken_plan};
use super::layout::{batch_to_space, channels_second, interleave, repeat, shift, space_to_batch, subsampled};
use super::mixing::{MixingWeights, in_kind, mixtures};
use super::weight_gradients::{self, Outside};
use crate::error::{Error, Result};
use crate::nn::Mode;
use crate::nn::buffers::{EPSILON, MOMENTUM};
use crate::nn::kernels::cross_entropy::Decoder;
use crate::nn::kernels::gates::Mixture;
use crate::nn::networks::dropout::Masks;
use crate::plan::{Instruction, Op, Place, Scale, WeightId};

/// One pass over the plan: what its instructions look up.
pub struct Run<'a> {
    pub schedule: &'a Schedule,
    kernels: &'a [Tensor],
    pub mixing: &'a [MixingWeights],
    mode: Mode,
    parts: Parts,
    /// Element type of the activations.
    compute: Kind,
    /// Element type of the logits.
    kind: Kind,
    /// What dropout drops; absent where it drops nothing.
    masks: Option<&'a Masks>,
    /// Operations whose weights autograd does not see, as they come; absent where it is to see all.
    outside: Option<RefCell<Vec<Outside>>>,
}

impl<'a> Run<'a> {
    /// With the kernels of the schedule and the mixing weights.
    pub fn new(
        schedule: &'a Schedule,
        kernels: &'a [Tensor],
        mixing: &'a [MixingWeights],
        mode: Mode,
        compute: Kind,
        kind: Kind,
    ) -> Self {
        Run { schedule, kernels, mixing, mode, parts: Parts::default(), compute, kind, masks: None, outside: None }
    }

    /// The same, with gradients by weights taken outside autograd where that is faster.
    pub fn with_weights_outside(self) -> Self {
        Run { outside: Some(RefCell::default()), ..self }
    }

    /// The same with dropout.
    pub fn with_masks(self, masks: &'a Masks) -> Self {
        Run { masks: Some(masks), ..self }
    }

    fn mask(&self, place: Place) -> Option<&Tensor> {
        self.masks.and_then(|masks| masks.at(place))
    }

    /// Ones that scale a batch norm of half-width numbers: libtorch takes their statistics in the numbers of the scale,
    /// and without one in their own. None where that is no matter.
    pub fn unit_scale(&self, x: &Tensor) -> Result<Option<Tensor>> {
        let narrower = x.f_kind()? != self.kind;
        Ok(narrower.then(|| Tensor::f_ones([x.size()[1]], (self.kind, x.device()))).transpose()?)
    }

    /// A weight, or the group that begins with it.
    pub fn weight(&self, id: WeightId) -> &Tensor {
        &self.kernels[self.schedule.kernels.place[id.0]]
    }

    /// The value of one instruction; `parts` are those of the values it belongs to.
    pub fn instruction(
        &self,
        instruction: &Instruction,
        step: &Step,
        inputs: &[&Tensor],
        parts: &Parts,
    ) -> Result<Tensor> {
        let input = || inputs.first().copied().ok_or_else(|| broken_plan(instruction));
        match &instruction.op {
            Op::Conv { weight, .. } => {
                let (x, kernel) = (input()?, self.weight(*weight));
                let outside = self.outside.as_ref().filter(|_| Outside::suits_convolution(&instruction.op, x, kernel));
                let Some(outside) = outside else { return self.convolution(&instruction.op, x, kernel) };
                let y = self.convolution(&instruction.op, x, &kernel.f_detach()?)?;
                let place = self.schedule.kernels.place[weight.0];
                outside.borrow_mut().push(Outside::convolution(&instruction.op, place, kernel, x, &y)?);
                Ok(y)
            }
            Op::BatchNorm { scale, .. } => {
                let unit = if matches!(scale, Scale::One) { self.unit_scale(input()?)? } else { None };
                let (scale, shift) = match scale {
                    Scale::One => (unit.as_ref(), None),
                    Scale::Affine { weight, bias } => (Some(self.weight(*weight)), Some(self.weight(*bias))),
                    Scale::Mixing { alpha, .. } => (Some(self.mixing[alpha.0].scale(step.scale)), None),
                };
                let running = step.running.as_ref().ok_or_else(|| broken_plan(instruction))?;
                let running = (self.mode != Mode::Search).then_some((&running.0, &running.1));
                let (mean, variance) = running.unzip();
                let training = self.mode != Mode::Evaluation;
                Ok(input()?.f_batch_norm(scale, shift, mean, variance, training, MOMENTUM, EPSILON, true)?)
            }
            Op::Relu => Ok(input()?.f_relu()?),
            Op::MaxPool { kernel, stride, padding } => {
                let (k, s, p) = (*kernel as i64, *stride as i64, *padding as i64);
                Ok(input()?.f_max_pool2d([k, k], [s, s], [p, p], [1, 1], false)?)
            }
            Op::AvgPool { kernel, stride, padding } => {
                let (k, s, p) = (*kernel as i64, *stride as i64, *padding as i64);
                Ok(input()?.f_avg_pool2d([k, k], [s, s], [p, p], false, false, None)?)
            }
            Op::Shift => shift(input()?),
            // Channels come second in an image, and features last, however many tokens there are at once.
            Op::Concat { blocks: 1 } if instruction.shape.0.len() == 1 => Ok(Tensor::f_cat(inputs, -1)?),
            Op::Concat { blocks: 1 } => Ok(Tensor::f_cat(inputs, 1)?),
            Op::Concat { blocks } => interleave(inputs, *blocks as i64),
            Op::Mix { alpha, terms } => {
                self.mixing[alpha.0].mix(inputs, terms)?.ok_or_else(|| broken_plan(instruction))
            }
            Op::Subsample { factor } => {
                let x = subsampled(input()?, [*factor as i64; 2])?;
                channels_second(&x.f_permute([0, 2, 3, 1])?.f_contiguous()?)
            }
            Op::SpaceToBatch { factor } => space_to_batch(input()?, *factor as i64),
            Op::BatchToSpace { factor } => batch_to_space(input()?, *factor as i64),
            Op::Repeat { times } => repeat(input()?, *times as i64),
            Op::Slice { index, of } => {
                let whole = instruction.inputs.first().ok_or_else(|| broken_plan(instruction))?;
                parts.take(*whole, input()?, 1, (*index, *of))
            }
            Op::Stack => Ok(Tensor::f_cat(inputs, 0)?),
            Op::Mixtures { alpha, rows, columns } => {
                let shape = [rows.len() as i64, columns.len() as i64];
                mixtures(input()?, &self.mixing[alpha.0].scale(step.scale).f_view(shape)?)
            }
            Op::Unstack { index, of } => {
                let whole = instruction.inputs.first().ok_or_else(|| broken_plan(instruction))?;
                parts.take(*whole, input()?, 0, (*index, *of))
            }
            Op::Add => match inputs {
                [one, other] => Ok(one.f_add(other)?),
                _ => Err(broken_plan(instruction)),
            },
            Op::Accumulate => match inputs {
                [into, value] => Ok(into.shallow_clone().f_add_(value)?),
                _ => Err(broken_plan(instruction)),
            },
            Op::GlobalAvgPool => Ok(input()?.f_mean_dim([2i64, 3].as_slice(), false, None)?),
            Op::Lookup { weight } => {
                let weight = self.weight(*weight);
                let rows = match self.mask(Place::Rows) {
                    Some(mask) => weight.f_mul(mask)?,
                    None => weight.shallow_clone(),
                };
                in_kind(&Tensor::f_embedding(&rows, input()?, -1, false, false)?, self.compute)
            }
            Op::Mask { place } => match self.mask(*place) {
                Some(mask) => Ok(input()?.f_mul(&in_kind(mask, self.compute)?)?),
                None => Ok(input()?.shallow_clone()),
            },
            Op::Product { weight, rows: (first, count) } => {
                let (x, whole) = (input()?, self.weight(*weight));
                let by = |whole: &Tensor| {
                    let rows = whole.f_narrow(0, *first as i64, *count as i64)?;
                    Ok::<_, Error>(x.f_matmul(&in_kind(&rows, self.compute)?)?)
                };
                let outside = self.outside.as_ref().filter(|_| Outside::suits_product(x, whole));
                let Some(outside) = outside else { return by(whole) };
                let y = by(&whole.f_detach()?)?;
                let place = self.schedule.kernels.place[weight.0];
                outside.borrow_mut().push(Outside::product(place, *first, x, &y)?);
                Ok(y)
            }
            Op::Gate { activation } => match inputs {
                [state, gates] => gate(*activation, state, gates),
                _ => Err(broken_plan(instruction)),
            },
            Op::Gates { alpha, rows, columns } => match inputs {
                [states, stacked] => {
                    let shape = [rows.len() as i64, columns.len() as i64];
                    let scale = self.mixing[alpha.0].scale(step.scale);
                    let weights = in_kind(&scale.f_view(shape)?, self.compute)?;
                    let outside = self.outside.as_ref().filter(|_| Outside::suits_gates(states, stacked));
                    let Some(outside) = outside else { return gates(columns, states, stacked, &weights) };
                    let mixture = Mixture::new(columns, states, stacked, &weights)?;
                    let place = self.schedule.place_of_scale(self.mixing, *alpha, step.scale);
                    let (y, one) = Outside::gates(place, mixture, [states, stacked])?;
                    if scale.requires_grad() {
                        outside.borrow_mut().push(one);
                    }
                    Ok(y)
                }
                _ => Err(broken_plan(instruction)),
            },
            Op::Mean => {
                let sum = Tensor::f_stack(inputs, 0)?;
                Ok(sum.f_mean_dim([0i64].as_slice(), false, None)?)
            }
            Op::Linear { weight, bias } => {
                let x = in_kind(input()?, self.kind)?;
                Ok(x.f_linear(self.weight(*weight), Some(self.weight(*bias)))?)
            }
        }
    }

    /// The mean cross-entropy of what the decoder `instruction` makes of `x`, the output under its mask, and how many
    /// `targets` have the largest logit; none where that is better left to autograd.
    pub fn scored(&self, instruction: &Instruction, x: &Tensor, targets: &Tensor) -> Result<Option<(Tensor, Tensor)>> {
        let (Op::Linear { weight, bias }, Some(outside)) = (&instruction.op, &self.outside) else { return Ok(None) };
        let decoder = Decoder { weight: self.weight(*weight), bias: self.weight(*bias) };
        if !decoder.suits(x) {
            return Ok(None);
        }
        let by_decoder = decoder.weight.requires_grad();
        let scored = decoder.score(x, targets, self.mask(Place::Output), by_decoder)?;
        let correct = scored.correct.shallow_clone();
        let places = [weight, bias].map(|id| self.schedule.kernels.place[id.0]);
        let (loss, gradients) = weight_gradients::loss(scored, x, places)?;
        outside.borrow_mut().extend(gradients);
        Ok(Some((loss, correct)))
    }

    /// The convolution `op` of `x` with a kernel of its shape.
    pub fn convolution(&self, op: &Op, x: &Tensor, kernel: &Tensor) -> Result<Tensor> {
        let Op::Conv { stride, padding, dilation, groups, .. } = op else {
            return Err(Error::engine("not a convolution"));
        };
        let kernel = in_kind(kernel, self.compute)?;
        let (pointwise, strided) = (kernel.size()[2..] == [1, 1], *stride != [1, 1]);
        let (x, stride) = match pointwise && strided {
            true => (subsampled(x, pair(stride))?, [1, 1]),
            false => (x.shallow_clone(), pair(stride)),
        };
        let dilation = [*dilation as i64; 2];
        Ok(x.f_conv2d(&kernel, None::<Tensor>, stride, pair(padding), dilation, *groups as i64)?)
    }
}

impl Rule for Run<'_> {
    type Value = Tensor;

    fn value(&self, instruction: &Instruction, step: &Step, inputs: &[&Tensor]) -> Result<Tensor> {
        self.instruction(instruction, step, inputs, &self.parts)
    }

    fn outside(&self) -> Vec<Outside> {
        self.outside.as_ref().map(RefCell::take).unwrap_or_default()
    }
}

impl Value for Tensor {
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self]
    }

    fn like(&self, mut tensors: Vec<Tensor>) -> Tensor {
        tensors.pop().unwrap_or_else(|| self.shallow_clone())
    }
}

fn pair(v: &[usize; 2]) -> [i64; 2] {
    [v[0] as i64, v[1] as i64]
}
