//! Runs a plan on libtorch: the supernet as a [`Network`].

use std::cell::Cell;
use std::sync::Arc;

use tch::{Device, Kind, Reduction, Tensor};

use super::mixed::MixingWeights;
use super::statistics::{EPSILON, MOMENTUM};
use super::{Loss, Mode, Network, Statistics};
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::params::Table;
use crate::plan::{Instruction, Op, Plan, StatisticId, ValueId, passes};

/// A loss (logits, targets) ↦ scalar of the user's; cross-entropy without one.
pub trait Criterion: Send + Sync {
    /// The scalar to differentiate; `logits` [N, classes] are part of the graph.
    fn loss(&self, logits: &Tensor, targets: &Tensor) -> Result<Tensor>;
}

/// Turns TensorFloat-32 products on and off. libtorch keeps this switch out of tch's reach, so the binding
/// brings it.
pub trait MatrixPrecision: Send + Sync {
    /// Allows or forbids TensorFloat-32 in products of float32 tensors.
    fn allow_tf32(&self, on: bool) -> Result<()>;
}

/// How a plan is run; the plan says what.
pub struct SupernetOptions {
    /// Element type of w, α, statistics, and of the loss.
    pub kind: Kind,
    /// Element type of the activations: `kind`, or bfloat16 over float32 weights.
    pub compute: Kind,
    /// Where everything lies.
    pub device: Device,
    /// The loss; cross-entropy by default.
    pub criterion: Option<Arc<dyn Criterion>>,
    /// Products in TensorFloat-32 outside the exact passes.
    pub tf32: bool,
    /// The switch for it; absent where the device has no TensorFloat-32.
    pub switch: Option<Arc<dyn MatrixPrecision>>,
}

/// A plan and when its values die: a pass without a graph then holds only what is alive.
struct Schedule {
    plan: Plan,
    last_uses: Vec<Vec<ValueId>>,
}

impl Schedule {
    fn new(plan: Plan) -> Self {
        let last_uses = plan.last_uses();
        Schedule { plan, last_uses }
    }
}

/// A plan, ready to run.
pub struct Supernet {
    /// The plan as rewritten for the search.
    search: Schedule,
    /// The plan as lowered. Evaluation runs this one: running statistics that a rewritten plan moves together are
    /// still apart here, whatever values were loaded into them.
    evaluation: Schedule,
    weights: Table,
    alphas: Table,
    statistics: Statistics,
    /// Positions a batch norm averages over in one image, the smallest of the plan.
    smallest_area: i64,
    options: SupernetOptions,
    exact: Cell<bool>,
}

impl Supernet {
    /// Tables and running statistics for a lowered plan, which is rewritten here; the weights are the caller's.
    pub fn new(plan: Plan, options: SupernetOptions) -> Result<Self> {
        let weights = Table::of_weights(&plan);
        let alphas = Table::of_alphas(&plan);
        let statistics = Statistics::new(Table::of_statistics(&plan), options.kind, options.device)?;
        let normalised = plan.instructions.iter().filter(|i| matches!(i.op, Op::BatchNorm { .. }));
        let area = |i: &Instruction| i.shape.0[1..].iter().product::<usize>() as i64;
        let smallest_area = normalised.map(area).min().unwrap_or(i64::MAX);
        let search = Schedule::new(passes::run(plan.clone(), &passes::all())?);
        let evaluation = Schedule::new(plan);
        let exact = Cell::new(false);
        Ok(Supernet { search, evaluation, weights, alphas, statistics, smallest_area, options, exact })
    }

    /// What a search runs.
    pub fn plan(&self) -> &Plan {
        &self.search.plan
    }

    /// [N, C, H, W] ↦ [N, classes].
    pub fn logits(&self, w: &Tensor, alpha: &Tensor, x: &Tensor, mode: Mode) -> Result<Tensor> {
        self.check_batch(x, mode)?;
        self.set_switch()?;
        let compute = if self.exact.get() { self.options.kind } else { self.options.compute };
        let weights = self.weights.views(w)?;
        let mixing = self.alphas.views(alpha)?.iter().map(MixingWeights::new).collect::<Result<Vec<_>>>()?;
        let run = Run { net: self, weights, mixing, mode, compute, batch: x.size()[0] };
        let Schedule { plan, last_uses } = if mode == Mode::Evaluation { &self.evaluation } else { &self.search };
        let mut values: Vec<Option<Tensor>> = Vec::new();
        values.resize_with(plan.values(), || None);
        values[plan.input.0] = Some(laid_out(&x.f_to_kind(compute)?)?);
        for (instruction, dying) in plan.instructions.iter().zip(last_uses) {
            let inputs = instruction
                .inputs
                .iter()
                .map(|id| values[id.0].as_ref().ok_or_else(|| broken_plan(instruction)))
                .collect::<Result<Vec<_>>>()?;
            let value = run.instruction(instruction, &inputs)?;
            values[instruction.output.0] = Some(value);
            for id in dying {
                values[id.0] = None;
            }
        }
        values[plan.output.0].take().ok_or_else(|| Error::engine("the plan never computes its output"))
    }

    /// The switch belongs to the whole process, so every pass sets it anew.
    fn set_switch(&self) -> Result<()> {
        match &self.options.switch {
            Some(switch) => switch.allow_tf32(self.options.tf32 && !self.exact.get()),
            None => Ok(()),
        }
    }

    fn check_batch(&self, x: &Tensor, mode: Mode) -> Result<()> {
        let size = x.size();
        let expected: Vec<i64> = self.search.plan.input_shape.0.iter().map(|&n| n as i64).collect();
        if size.len() != expected.len() + 1 || size[1..] != expected {
            return Err(Error::data(format!(
                "a batch has shape {size:?}; this network takes [batch, {}, {}, {}]",
                expected[0], expected[1], expected[2]
            )));
        }
        if size[0] == 0 {
            return Err(Error::data("a batch is empty; drop it or give it at least one example"));
        }
        if mode != Mode::Evaluation && size[0].saturating_mul(self.smallest_area) < 2 {
            return Err(Error::data(format!(
                "a batch of {} leaves batch norm a single value per channel in the deepest cells, which has no \
                 variance; use batches of at least 2 (drop_last=True), fewer reduction cells or larger images",
                size[0]
            )));
        }
        Ok(())
    }
}

/// Images with channels innermost on the CPU; every operation hands the layout on. oneDNN's depthwise convolutions
/// need no reordering then, and pooling runs along the channels: a step of the default network takes two thirds of
/// the time. On a GPU the layout stays as it is.
fn laid_out(x: &Tensor) -> Result<Tensor> {
    if x.device() != Device::Cpu {
        return Ok(x.shallow_clone());
    }
    let size = x.size();
    let (channels, height, width) = (size[1], size[2], size[3]);
    let inner = x.f_permute([0, 2, 3, 1])?.f_contiguous()?;
    // Permuting back would leave the strides of a single channel ambiguous, and libtorch takes those for NCHW.
    Ok(inner.f_as_strided(size, [height * width * channels, 1, width * channels, channels], None)?)
}

fn broken_plan(instruction: &Instruction) -> Error {
    Error::engine(format!("the plan reads a value that is not alive, in {}", instruction.scope))
}

/// One pass over the plan: what its instructions look up.
struct Run<'a> {
    net: &'a Supernet,
    weights: Vec<Tensor>,
    mixing: Vec<MixingWeights>,
    mode: Mode,
    compute: Kind,
    batch: i64,
}

impl Run<'_> {
    fn instruction(&self, instruction: &Instruction, inputs: &[&Tensor]) -> Result<Tensor> {
        let input = || inputs.first().copied().ok_or_else(|| broken_plan(instruction));
        let pair = |v: &[usize; 2]| [v[0] as i64, v[1] as i64];
        match &instruction.op {
            Op::Conv { weight, stride, padding, dilation, groups } => {
                let kernel = self.weights[weight.0].f_to_kind(self.compute)?;
                let (pointwise, strided) = (kernel.size()[2..] == [1, 1], *stride != [1, 1]);
                let (x, stride) = match pointwise && strided {
                    true => (subsampled(input()?, pair(stride))?, [1, 1]),
                    false => (input()?.shallow_clone(), pair(stride)),
                };
                let dilation = [*dilation as i64; 2];
                Ok(x.f_conv2d(&kernel, None::<Tensor>, stride, pair(padding), dilation, *groups as i64)?)
            }
            Op::BatchNorm { statistic, aliases, affine } => {
                let affine = affine.as_ref().map(|(scale, shift)| (&self.weights[scale.0], &self.weights[shift.0]));
                self.batch_norm(input()?, affine, *statistic, aliases)
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
            Op::Concat => Ok(Tensor::f_cat(inputs, 1)?),
            Op::Mix { alpha, terms } => {
                self.mixing[alpha.0].mix(inputs, terms)?.ok_or_else(|| broken_plan(instruction))
            }
            Op::Zeros => {
                let mut size: Vec<i64> = instruction.shape.0.iter().map(|&n| n as i64).collect();
                size.insert(0, self.batch);
                Ok(Tensor::f_zeros(size, (self.compute, self.net.options.device))?)
            }
            Op::GlobalAvgPool => Ok(input()?.f_mean_dim([2i64, 3].as_slice(), false, None)?),
            Op::Linear { weight, bias } => {
                let x = input()?.f_to_kind(self.net.options.kind)?;
                Ok(x.f_linear(&self.weights[weight.0], Some(&self.weights[bias.0]))?)
            }
        }
    }

    fn batch_norm(
        &self,
        x: &Tensor,
        affine: Option<(&Tensor, &Tensor)>,
        statistic: StatisticId,
        aliases: &[StatisticId],
    ) -> Result<Tensor> {
        let statistics = &self.net.statistics;
        let running = (self.mode != Mode::Search).then(|| statistics.of(statistic.0));
        let training = self.mode != Mode::Evaluation;
        let before = match (self.mode, aliases) {
            (Mode::Weights, [_, ..]) => Some(statistics.remember(statistic.0)?),
            _ => None,
        };
        let ((scale, shift), (mean, variance)) = (affine.unzip(), running.unzip());
        let y = x.f_batch_norm(scale, shift, mean, variance, training, MOMENTUM, EPSILON, true)?;
        if let Some(before) = before {
            aliases.iter().try_for_each(|alias| statistics.follow(statistic.0, &before, alias.0))?;
        }
        Ok(y)
    }
}

/// x[:, :, ::s, ::t], all that a 1×1 convolution of stride (s, t) reads. It is not left to the convolution itself:
/// oneDNN's strided 1×1 kernels write past their buffers for few channels in the channels-last layout (seen with
/// libtorch 2.11, weight gradient, one thread).
fn subsampled(x: &Tensor, stride: [i64; 2]) -> Result<Tensor> {
    Ok(x.f_slice(2, None, None, stride[0])?.f_slice(3, None, None, stride[1])?)
}

/// x[:, :, 1:, 1:], with one zero row/column at the bottom/right of each odd dimension: the second half of a
/// factorized reduction then has the size of the first, ⌈H/2⌉ × ⌈W/2⌉.
fn shift(x: &Tensor) -> Result<Tensor> {
    let size = x.size();
    let (h, w) = (size[2], size[3]);
    let shifted = x.f_narrow(2, 1, h - 1)?.f_narrow(3, 1, w - 1)?;
    if h % 2 == 0 && w % 2 == 0 {
        return Ok(shifted);
    }
    Ok(shifted.f_constant_pad_nd([0, w % 2, 0, h % 2])?)
}

impl Network for Supernet {
    fn weights(&self) -> &Table {
        &self.weights
    }

    fn alphas(&self) -> &Table {
        &self.alphas
    }

    fn statistics(&self) -> Option<&Statistics> {
        Some(&self.statistics)
    }

    fn loss(&self, w: &Tensor, alpha: &Tensor, batch: &Batch, mode: Mode) -> Result<Loss> {
        let logits = self.logits(w, alpha, &batch.inputs, mode)?;
        let value = match &self.options.criterion {
            Some(criterion) => criterion.loss(&logits, &batch.targets)?,
            None => logits.f_cross_entropy_loss(&batch.targets, None::<Tensor>, Reduction::Mean, -100, 0.0)?,
        };
        let _guard = tch::no_grad_guard();
        let correct = logits.f_detach()?.f_argmax(-1, false)?.f_eq_tensor(&batch.targets)?.f_sum(Kind::Int64)?;
        Ok(Loss { value, correct })
    }

    fn set_exact(&self, on: bool) -> Result<()> {
        self.exact.set(on);
        self.set_switch()
    }

    fn kind(&self) -> Kind {
        self.options.kind
    }

    fn device(&self) -> Device {
        self.options.device
    }

    fn activation_bytes(&self) -> u64 {
        let (arch, weight) = self.search.plan.cost().bytes_per_image(self.options.compute.elt_size_in_bytes());
        arch.max(weight)
    }
}
