//! Runs a plan on libtorch: the supernet as a [`Network`].

use tch::{Device, Kind, Reduction, Tensor};

use super::micro_batch;
use crate::config::{Memory, Method};
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::nn::gradients::{By, Gradients};
use crate::nn::interpreter::backward::{self, Cut};
use crate::nn::interpreter::executable::Schedule;
use crate::nn::interpreter::execute::Run;
use crate::nn::interpreter::jvp::{Along, Dual};
use crate::nn::interpreter::layout::laid_out;
use crate::nn::interpreter::leaves::Parameters;
use crate::nn::interpreter::mixing::{MixingWeights, in_kind};
use crate::nn::precision::Arithmetic;
use crate::nn::{Loss, Mode, Network, NetworkOptions, Statistics};
use crate::params::Table;
use crate::plan::{Instruction, Op, Peak, Plan, Segment};

/// A plan, ready to run.
pub struct Supernet {
    /// The plan as rewritten for the search.
    search: Schedule,
    /// The plan as lowered. Evaluation runs this one: running statistics that a rewritten plan moves together are
    /// still apart here, whatever values were loaded into them.
    evaluation: Schedule,
    /// What a backward pass differentiates at once.
    cells: Vec<Segment>,
    /// What a pass along a direction, which keeps twice as much, computes at once.
    along: Vec<Segment>,
    weights: Table,
    alphas: Table,
    statistics: Statistics,
    /// Positions a batch norm averages over in one image, the smallest of the plan.
    smallest_area: i64,
    options: NetworkOptions,
    arithmetic: Arithmetic,
}

impl Supernet {
    /// Tables and running statistics for a lowered plan, which is rewritten here; the weights are the caller's.
    pub fn new(plan: Plan, options: NetworkOptions) -> Result<Self> {
        if plan.recurrence.is_some() {
            return Err(Error::engine("a plan that reads words, where images are read"));
        }
        let (numbers, rewritten) = (&options.numbers, options.rewrite(plan.clone())?);
        // The rewritten plan says in which order weights and statistics lie in their vectors.
        let weights = Table::of_weights(&rewritten);
        let alphas = Table::of_alphas(&rewritten);
        let statistics = Statistics::new(Table::of_statistics(&rewritten), numbers.kind, options.device)?;
        let normalised = plan.instructions.iter().filter(|i| matches!(i.op, Op::BatchNorm { .. }));
        let area = |i: &Instruction| i.shape.elements() as i64 / i.shape.channels() as i64;
        let smallest_area = normalised.map(area).min().unwrap_or(i64::MAX);
        let search = Schedule::new(rewritten, &weights, &statistics, numbers.kind, options.device)?;
        let evaluation = Schedule::new(plan, &weights, &statistics, numbers.kind, options.device)?;
        let arithmetic = Arithmetic::new(numbers.clone());
        let cells = search.plan.cells();
        let along = match options.memory {
            Memory::Keep => search.plan.halves(),
            Memory::Recompute => search.plan.cells(),
        };
        Ok(Supernet {
            search,
            evaluation,
            cells,
            along,
            weights,
            alphas,
            statistics,
            smallest_area,
            options,
            arithmetic,
        })
    }

    /// What a search runs.
    pub fn plan(&self) -> &Plan {
        &self.search.plan
    }

    /// [N, C, H, W] ↦ [N, classes].
    pub fn logits(&self, w: &Tensor, alpha: &Tensor, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let schedule = self.schedule(mode);
        let images = self.images(x, mode)?;
        let before = self.remember(schedule, mode)?;
        let (kernels, mixing) = (schedule.kernels.views(w)?, schedule.mixing(self.alphas.views(alpha)?)?);
        let logits = schedule.run(images, &self.run(&kernels, &mixing, mode)?)?;
        self.follow(schedule, before)?;
        Ok(logits)
    }

    /// Images as the plan's input.
    fn images(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        self.check_batch(x, mode)?;
        laid_out(&in_kind(x, self.arithmetic.compute())?)
    }

    /// A pass with these kernels and mixing weights.
    fn run<'a>(&'a self, kernels: &'a [Tensor], mixing: &'a [MixingWeights], mode: Mode) -> Result<Run<'a>> {
        self.arithmetic.set_switch()?;
        Ok(Run::new(self.schedule(mode), kernels, mixing, mode, self.arithmetic.compute(), self.options.numbers.kind))
    }

    /// The running statistics before a pass that moves some of them through others.
    fn remember(&self, schedule: &Schedule, mode: Mode) -> Result<Option<(Tensor, Tensor)>> {
        let moves = mode == Mode::Weights && schedule.followers.is_some();
        moves.then(|| self.statistics.remember()).transpose()
    }

    fn follow(&self, schedule: &Schedule, before: Option<(Tensor, Tensor)>) -> Result<()> {
        match (&schedule.followers, before) {
            (Some(followers), Some(before)) => self.statistics.follow(followers, &before),
            _ => Ok(()),
        }
    }

    fn schedule(&self, mode: Mode) -> &Schedule {
        if mode == Mode::Evaluation { &self.evaluation } else { &self.search }
    }

    fn loss_of(&self, logits: &Tensor, batch: &Batch) -> Result<Loss> {
        let value = self.criterion(logits, &batch.targets)?;
        let _guard = tch::no_grad_guard();
        let correct = logits.f_detach()?.f_argmax(-1, false)?.f_eq_tensor(&batch.targets)?.f_sum(Kind::Int64)?;
        Ok(Loss { value, correct, carried: None })
    }

    fn criterion(&self, logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
        match &self.options.criterion {
            Some(criterion) => criterion.loss(logits, targets),
            None => Ok(logits.f_cross_entropy_loss(targets, None::<Tensor>, Reduction::Mean, -100, 0.0)?),
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
                 variance; use batches and micro-batches of at least 2 (drop_last=True), fewer reduction cells or larger images",
                size[0]
            )));
        }
        Ok(())
    }

    /// Loss and gradients of what is computed at once.
    fn gradients_of(&self, w: &Tensor, alpha: &Tensor, part: &Batch, mode: Mode, by: By) -> Result<Gradients> {
        let schedule = self.schedule(mode);
        let of = Parameters::new(schedule, w, alpha, &self.alphas, by)?;
        let images = self.images(&part.inputs, mode)?;
        let before = self.remember(schedule, mode)?;
        // Running statistics move once, however often a segment is computed.
        let again = if mode == Mode::Weights { Mode::Search } else { mode };
        let rule = |first| {
            let run = self.run(&of.kernels, &of.mixing, if first { mode } else { again })?;
            Ok(run.with_weights_outside())
        };
        let finish = |logits: Tensor| {
            let loss = self.loss_of(&logits, part)?;
            Ok((loss.value.shallow_clone(), loss))
        };
        let cut = Cut { segments: &self.cells, again: self.options.memory == Memory::Recompute };
        let (loss, found) = backward::backward(schedule, cut, images, rule, &of, finish)?;
        self.follow(schedule, before)?;
        let (of_alpha, of_w) = of.flat(schedule, found)?;
        Gradients::new(loss, of_alpha, of_w)
    }

    /// ∇²_{α,w} L·direction of what is computed at once.
    fn product_of(&self, w: &Tensor, alpha: &Tensor, direction: &Tensor, part: &Batch) -> Result<Tensor> {
        let schedule = self.schedule(Mode::Search);
        let of = Parameters::new(schedule, w, alpha, &self.alphas, By::Alpha)?;
        let images = self.images(&part.inputs, Mode::Search)?;
        let rule = |_| Along::new(self.run(&of.kernels, &of.mixing, Mode::Search)?, direction);
        let finish = |logits: Dual| {
            let (value, Some(tangent)) = (logits.value, logits.tangent) else {
                return Err(Error::engine("logits that do not depend on the weights"));
            };
            if !value.requires_grad() {
                return Ok((tangent.f_sum(None)?, ()));
            }
            let loss = self.criterion(&value, &part.targets)?;
            // The chain rule through the logits: a loss of the user's needs to know nothing of tangents.
            let of_logits = Tensor::f_run_backward(&[&loss], &[&value], true, true)?;
            Ok((of_logits[0].f_mul(&tangent)?.f_sum(None)?, ()))
        };
        let start = Dual { value: images, tangent: None };
        let cut = Cut { segments: &self.along, again: true };
        let ((), found) = backward::backward(schedule, cut, start, rule, &of, finish)?;
        let (of_alpha, _) = of.flat(schedule, found)?;
        of_alpha.ok_or_else(|| Error::engine("the product was not asked for"))
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
        self.loss_of(&self.logits(w, alpha, &batch.inputs, mode)?, batch)
    }

    fn gradients(&self, w: &Tensor, alpha: &Tensor, batch: &Batch, mode: Mode, by: By) -> Result<Gradients> {
        let of_part = |part: &Batch| self.gradients_of(w, alpha, part, mode, by);
        micro_batch::gradients(batch, self.options.micro_batch, mode, &self.statistics, of_part)
    }

    fn hessian_product(&self, w: &Tensor, alpha: &Tensor, direction: &Tensor, batch: &Batch) -> Result<Tensor> {
        let of_part = |part: &Batch| self.product_of(w, alpha, direction, part);
        micro_batch::mean(batch, self.options.micro_batch, of_part)
    }

    fn set_exact(&self, on: bool) -> Result<()> {
        self.arithmetic.set_exact(on)
    }

    fn kind(&self) -> Kind {
        self.options.numbers.kind
    }

    fn device(&self) -> Device {
        self.options.device
    }

    fn peak(&self, method: Method) -> Peak {
        self.options.peak(&self.search.plan, method)
    }
}
