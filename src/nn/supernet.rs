//! Runs a plan on libtorch: the supernet as a [`Network`].

use std::cell::Cell;
use std::sync::Arc;

use tch::{Device, Kind, Reduction, Tensor};

use super::run::Run;
use super::schedule::Schedule;
use super::tangent::Along;
use super::{Loss, Mode, Network, Statistics};
use crate::config::Rewrite;
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::params::Table;
use crate::plan::passes::{self, Pass};
use crate::plan::{Instruction, Op, Plan};

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
    /// Rewrites of the plan that the search runs; by default those that suit device and images.
    pub passes: Option<Vec<Rewrite>>,
}

/// The largest images, in pixels, of which a CPU takes the edges of a group together.
const GROUPED_PIXELS: usize = 16 * 16;

impl SupernetOptions {
    fn passes(&self, plan: &Plan) -> Vec<&'static dyn Pass> {
        let (height, width) = plan.geometry.image_size;
        let on_cpu = self.device == Device::Cpu;
        let suits = |rewrite: &Rewrite| match rewrite {
            // Dilation costs nothing in libtorch's depthwise kernels for CUDA.
            Rewrite::SpaceToBatch => on_cpu,
            // On a CPU the overhead of a call rules small images, the cache large ones. Measured, 2 threads: a step on
            // 8×8 images takes 23 % less in groups, on 16×16 1 to 14 % less, on 32×32 14 % more.
            Rewrite::Group => !on_cpu || height * width <= GROUPED_PIXELS,
            Rewrite::Share | Rewrite::Fold => true,
        };
        let chosen = match &self.passes {
            Some(given) => given.clone(),
            None => Rewrite::ALL.iter().copied().filter(suits).collect(),
        };
        chosen.into_iter().map(passes::of).collect()
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
        let rewritten = passes::run(plan.clone(), &options.passes(&plan))?;
        // The rewritten plan says in which order weights and statistics lie in their vectors.
        let weights = Table::of_weights(&rewritten);
        let alphas = Table::of_alphas(&rewritten);
        let statistics = Statistics::new(Table::of_statistics(&rewritten), options.kind, options.device)?;
        let normalised = plan.instructions.iter().filter(|i| matches!(i.op, Op::BatchNorm { .. }));
        let area = |i: &Instruction| i.shape.elements() as i64 / i.shape.channels() as i64;
        let smallest_area = normalised.map(area).min().unwrap_or(i64::MAX);
        let search = Schedule::new(rewritten, &weights, &statistics, options.kind, options.device)?;
        let evaluation = Schedule::new(plan, &weights, &statistics, options.kind, options.device)?;
        let exact = Cell::new(false);
        Ok(Supernet { search, evaluation, weights, alphas, statistics, smallest_area, options, exact })
    }

    /// What a search runs.
    pub fn plan(&self) -> &Plan {
        &self.search.plan
    }

    /// [N, C, H, W] ↦ [N, classes].
    pub fn logits(&self, w: &Tensor, alpha: &Tensor, x: &Tensor, mode: Mode) -> Result<Tensor> {
        self.run(w, alpha, x, mode)?.output(x)
    }

    /// A pass for the images `x`.
    fn run(&self, w: &Tensor, alpha: &Tensor, x: &Tensor, mode: Mode) -> Result<Run<'_>> {
        self.check_batch(x, mode)?;
        self.set_switch()?;
        let compute = if self.exact.get() { self.options.kind } else { self.options.compute };
        let schedule = if mode == Mode::Evaluation { &self.evaluation } else { &self.search };
        Run::new(schedule, &self.statistics, self.alphas.views(alpha)?, w, mode, compute, self.options.kind)
    }

    fn criterion(&self, logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
        match &self.options.criterion {
            Some(criterion) => criterion.loss(logits, targets),
            None => Ok(logits.f_cross_entropy_loss(targets, None::<Tensor>, Reduction::Mean, -100, 0.0)?),
        }
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
        let value = self.criterion(&logits, &batch.targets)?;
        let _guard = tch::no_grad_guard();
        let correct = logits.f_detach()?.f_argmax(-1, false)?.f_eq_tensor(&batch.targets)?.f_sum(Kind::Int64)?;
        Ok(Loss { value, correct })
    }

    fn slope(&self, w: &Tensor, alpha: &Tensor, direction: &Tensor, batch: &Batch) -> Result<Tensor> {
        let run = self.run(w, alpha, &batch.inputs, Mode::Search)?;
        let (logits, tangent) = Along::new(run, direction)?.output(&batch.inputs)?;
        if !logits.requires_grad() {
            return Err(Error::engine("a slope is asked for where nothing is differentiated"));
        }
        let loss = self.criterion(&logits, &batch.targets)?;
        // The chain rule through the logits: a loss of the user's needs to know nothing of tangents.
        let of_logits = Tensor::f_run_backward(&[&loss], &[&logits], true, true)?;
        Ok(of_logits[0].f_mul(&tangent)?.f_sum(None)?)
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
