//! The supernet: runs the plan of a network of images.

use tch::{Device, Kind, Reduction, Tensor};

use crate::config::{Memory, Method};
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::event::Metrics;
use crate::nn::gradients::{By, Gradients, gradient, leaf};
use crate::nn::interpreter::backward::{Division, backward};
use crate::nn::interpreter::executable::Executable;
use crate::nn::interpreter::execute::Forward;
use crate::nn::interpreter::jvp::{Dual, Jvp};
use crate::nn::interpreter::layout::channels_last;
use crate::nn::interpreter::leaves::Leaves;
use crate::nn::interpreter::mixing::MixingWeights;
use crate::nn::interpreter::thinned::Thinned;
use crate::nn::networks::drop::DropMasks;
use crate::nn::networks::examples::Examples;
use crate::nn::networks::noise::Noise;
use crate::nn::networks::sampled::{Sampled, Searched};
use crate::nn::networks::user_operation::{Own, SupernetBuffers};
use crate::nn::precision::{Arithmetic, in_kind};
use crate::nn::{Along, Buffers, Loss, Mode, Network, NetworkOptions, Parts, Role, Statistics};
use crate::params::Table;
use crate::plan::{Peak, Plan};

/// Buffers before a pass; empty where a pass moves exactly those that it should.
struct Before {
    statistics: Option<(Tensor, Tensor)>,
    own: Vec<Tensor>,
}

/// A plan, ready to run.
pub struct Supernet {
    /// The plan as rewritten for the search.
    search: Searched,
    /// What the search runs if passes compute only sampled operations.
    sparse: Option<Searched>,
    /// The lowered plan, which evaluation runs. A rewritten plan moves some running statistics through others; loaded
    /// values may differ between them, and here each batch norm reads its own.
    evaluation: Executable,
    weights: Table,
    alphas: Table,
    mixing: Table,
    buffers: SupernetBuffers,
    /// What rests where operations are sampled.
    sampled: Option<Sampled>,
    /// The modules of user-defined operations.
    own: Option<Own>,
    examples: Examples,
    options: NetworkOptions,
    arithmetic: Arithmetic,
    drop: Option<DropMasks>,
    noise: Option<Noise>,
}

impl Supernet {
    /// Rewrites a lowered plan and prepares it; weights and α belong to the caller.
    pub fn new(plan: Plan, options: NetworkOptions) -> Result<Self> {
        if plan.recurrence.is_some() {
            return Err(Error::engine("expected the plan of a network of images, got a recurrent one"));
        }
        let (numbers, rewritten) = (&options.numbers, options.rewrite(plan.clone())?);
        // The rewritten plan determines the order of weights and statistics in their vectors.
        let weights = Table::of_weights(&rewritten);
        let (alphas, mixing) = (Table::of_alphas(&rewritten), Table::of_mixing(&rewritten));
        let statistics = Statistics::new(Table::of_statistics(&rewritten), numbers.kind, options.device)?;
        let examples = Examples::of(&plan);
        let prepare = |plan| Executable::new(plan, &weights, &statistics, numbers.kind, options.device);
        let searched = |plan| Ok::<_, Error>(Searched::new(prepare(plan)?, options.memory));
        let search = searched(rewritten)?;
        let by_edge =
            || Ok::<_, Error>(Searched::in_one(prepare(options.rewrite_by_edge(plan.clone())?)?, options.memory));
        let sparse = options.sparse.then(by_edge).transpose()?;
        let tables = [&weights, statistics.table(), &mixing];
        let sampled = options.samples.then(|| Sampled::new(&plan, tables, options.device)).transpose()?;
        let evaluation = prepare(plan)?;
        let arithmetic = Arithmetic::new(numbers.clone());
        let (own, buffers) = Own::new(&search.executable.plan, options.own.as_ref(), numbers.kind, options.device)?;
        let buffers = SupernetBuffers { statistics, own: buffers };
        let noise = Noise::new(&search.executable.plan, options.seed);
        let drop = DropMasks::new(&search.executable.plan, options.drop, (numbers.kind, options.device))?;
        Ok(Supernet {
            search,
            sparse,
            evaluation,
            weights,
            alphas,
            mixing,
            buffers,
            sampled,
            own,
            examples,
            options,
            arithmetic,
            drop,
            noise,
        })
    }

    /// The rewritten plan, which the search runs.
    pub fn plan(&self) -> &Plan {
        &self.search.executable.plan
    }

    /// Writes the initial weights of the modules of user-defined operations, once.
    pub fn write_initial(&self, w: &Tensor) -> Result<()> {
        self.own.as_ref().map_or(Ok(()), |own| own.write_initial(&self.weights, w))
    }

    /// Copies of the masks of drop path and skip dropout by name.
    pub fn masks(&self) -> Result<Vec<(String, Tensor)>> {
        self.drop.as_ref().map_or_else(|| Ok(Vec::new()), DropMasks::named)
    }

    /// The logits [N, classes] of images [N, C, H, W].
    pub fn logits(&self, w: &Tensor, m: &Tensor, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let executable = self.executable(mode);
        let images = self.images(x, mode)?;
        let thinned = self.thinned(executable, (m, m.requires_grad()), &images, mode)?;
        let before = self.remember(mode)?;
        let (weights, mixing) = (executable.weights.of(w)?, executable.mixing(self.mixing.views(m)?)?);
        let forward = self.forward((&weights, &mixing), mode, thinned.as_ref())?;
        let logits = executable.run(images, &forward)?;
        self.settle(before, m)?;
        Ok(logits)
    }

    /// Checks images and converts them to the plan's input.
    fn images(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        self.examples.check(x, mode)?;
        let x = in_kind(x, self.arithmetic.compute())?;
        // A sequence is an image of height 1.
        channels_last(&if x.dim() == 3 { x.f_unsqueeze(2)? } else { x })
    }

    /// What a pass leaves out. An evaluation without gradients reads the mixing weights too, on the CPU: those of a single
    /// architecture are mostly 0.
    fn thinned(
        &self,
        executable: &Executable,
        (m, by_m): (&Tensor, bool),
        images: &Tensor,
        mode: Mode,
    ) -> Result<Option<Thinned>> {
        let thins = match mode {
            Mode::Evaluation => self.options.device == Device::Cpu && !m.requires_grad(),
            _ => self.sparse.is_some(),
        };
        if !thins {
            return Ok(None);
        }
        let options = (self.arithmetic.compute(), self.options.device);
        let thinned = Thinned::new(&executable.plan, (&self.mixing, m), images.size()[0], options)?;
        Ok(thinned.map(|thinned| if by_m { thinned } else { thinned.without_gradients() }))
    }

    fn forward<'a>(
        &'a self,
        (weights, mixing): (&'a [Tensor], &'a [MixingWeights]),
        mode: Mode,
        thinned: Option<&'a Thinned>,
    ) -> Result<Forward<'a>> {
        self.arithmetic.set_switch()?;
        let (compute, kind) = (self.arithmetic.compute(), self.options.numbers.kind);
        let forward = Forward::new(self.executable(mode), weights, mixing, mode, compute, kind);
        let forward = forward.with_drop(self.drop.as_ref().filter(|_| mode != Mode::Evaluation));
        let forward = forward.with_noise(self.noise.as_ref());
        Ok(forward.with_own(self.own.as_ref().map(|own| (own, &self.buffers.own))).with_thinned(thinned))
    }

    /// Prepares the buffers for a pass. Returns copies of them if the pass moves some running statistics through others, or
    /// moves what must rest.
    fn remember(&self, mode: Mode) -> Result<Option<Before>> {
        if mode == Mode::Evaluation {
            self.buffers.statistics.correct()?;
        }
        if mode != Mode::Weights {
            return Ok(None);
        }
        let copies = self.sparse.is_none() && (self.search.executable.followers.is_some() || self.sampled.is_some());
        let statistics = copies.then(|| self.buffers.statistics.remember()).transpose()?;
        let own = if copies && self.sampled.is_some() { self.buffers.own.copies()? } else { Vec::new() };
        Ok(Some(Before { statistics, own }))
    }

    /// After a pass of the weight step at mixing weights `m`: moves statistics through others, restores what rests, and
    /// counts the pass.
    fn settle(&self, before: Option<Before>, m: &Tensor) -> Result<()> {
        let Some(Before { statistics: before, own }) = before else { return Ok(()) };
        let statistics = &self.buffers.statistics;
        if let (Some(followers), Some(before)) = (&self.search.executable.followers, &before) {
            statistics.follow(followers, before)?;
        }
        let Some(sampled) = &self.sampled else { return statistics.count(None) };
        let moved = sampled.statistics.parts(m)?;
        if let Some(before) = &before {
            statistics.restore(before, &moved)?;
        }
        if let (false, Some(modules)) = (own.is_empty(), &self.own) {
            modules.restore(&self.buffers.own, &own, &sampled.own.parts(m)?)?;
        }
        statistics.count(Some(&moved))
    }

    fn searched(&self) -> &Searched {
        self.sparse.as_ref().unwrap_or(&self.search)
    }

    fn executable(&self, mode: Mode) -> &Executable {
        if mode == Mode::Evaluation { &self.evaluation } else { &self.searched().executable }
    }

    fn loss_of(&self, logits: &Tensor, batch: &Batch) -> Result<Loss> {
        let value = self.criterion(logits, &batch.targets)?;
        let _guard = tch::no_grad_guard();
        Ok(Loss { value, correct: self.correct(&logits.f_detach()?, &batch.targets)?, carried: None })
    }

    /// The number of correct predictions of labels [N] or, in a cross-entropy, of the largest probabilities [N, classes].
    fn correct(&self, logits: &Tensor, targets: &Tensor) -> Result<Option<Tensor>> {
        let cross_entropy = || self.options.criterion.as_ref().is_none_or(|criterion| criterion.is_cross_entropy());
        let labels = match targets.is_floating_point() {
            false if targets.dim() == 1 && targets.f_kind()? == Kind::Int64 => targets.shallow_clone(),
            true if targets.size() == logits.size() && cross_entropy() => targets.f_argmax(-1, false)?,
            _ => return Ok(None),
        };
        Ok(Some(logits.f_argmax(-1, false)?.f_eq_tensor(&labels)?.f_sum(Kind::Int64)?))
    }

    fn criterion(&self, logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
        match &self.options.criterion {
            Some(criterion) => criterion.loss(logits, targets),
            None => Ok(logits.f_cross_entropy_loss(targets, None::<Tensor>, Reduction::Mean, -100, 0.0)?),
        }
    }
}

impl Network for Supernet {
    fn weights(&self) -> &Table {
        &self.weights
    }

    fn alphas(&self) -> &Table {
        &self.alphas
    }

    fn mixing(&self) -> &Table {
        &self.mixing
    }

    fn touched(&self, m: &Tensor) -> Result<Option<Tensor>> {
        self.sampled.as_ref().map(|sampled| sampled.weights.elements(m)).transpose()
    }

    fn buffers(&self) -> Option<&dyn Buffers> {
        Some(&self.buffers)
    }

    fn loss(&self, w: &Tensor, m: &Tensor, batch: &Batch, mode: Mode) -> Result<Loss> {
        let logits = self.logits(w, m, &batch.inputs, mode)?;
        if let (Some(measure), Mode::Evaluation) = (&self.options.measure, mode) {
            measure.add(&logits, &batch.targets)?;
        }
        self.loss_of(&logits, batch)
    }

    fn gradients(&self, w: &Tensor, m: &Tensor, batch: &Batch, mode: Mode, by: By) -> Result<Gradients> {
        let executable = self.executable(mode);
        let images = self.images(&batch.inputs, mode)?;
        let evaluates = mode == Mode::Evaluation;
        let thinned = if evaluates { None } else { self.thinned(executable, (m, by.alpha()), &images, mode)? };
        let leaves = match &thinned {
            Some(thinned) => Leaves::thinned(executable, (w, m), &self.mixing, by, thinned)?,
            None => Leaves::new(executable, w, m, &self.mixing, by)?,
        };
        let before = self.remember(mode)?;
        // Running statistics move when a segment is computed for the first time, not again.
        let second = if mode == Mode::Weights { Mode::Search } else { mode };
        let interpreter = |first| {
            let mode = if first { mode } else { second };
            let forward = self.forward((&leaves.weights, &leaves.mixing), mode, thinned.as_ref())?;
            Ok(forward.with_deferred_weights())
        };
        let finish = |logits: Tensor| {
            let loss = self.loss_of(&logits, batch)?;
            Ok((loss.value.shallow_clone(), loss.detached()?))
        };
        let of_evaluation = evaluates.then(|| executable.plan.cells());
        let segments = of_evaluation.as_ref().unwrap_or(&self.searched().cells);
        let division = Division { segments, recompute: self.options.memory == Memory::Recompute };
        let (loss, gradients) = backward(executable, division, images, interpreter, &leaves, finish)?;
        self.settle(before, m)?;
        let (m_gradient, w_gradient) = leaves.flatten(executable, gradients)?;
        Gradients::new(loss, m_gradient, w_gradient)
    }

    fn gradients_along(&self, w: &Tensor, m: &Tensor, along: Along, batch: &Batch, by: By) -> Result<Gradients> {
        let executable = self.executable(Mode::Search);
        let leaves = Leaves::new(executable, w, m, &self.mixing, by)?;
        let images = self.images(&batch.inputs, Mode::Search)?;
        // Along m, operations of weight 0 have a tangent.
        let whole = along.m.is_some();
        let thinned = if whole { None } else { self.thinned(executable, (m, true), &images, Mode::Search)? };
        let parts = (&leaves.weights[..], &leaves.mixing[..]);
        let interpreter = |_| {
            let forward = self.forward(parts, Mode::Search, thinned.as_ref())?;
            let forward = if by.weights() { forward.with_deferred_weights() } else { forward };
            Jvp::new(forward, along, &self.mixing)
        };
        let finish = |logits: Dual| {
            let derivative = match (logits.value, logits.tangent) {
                (value, None) => value.f_sum(None)?.f_detach()?.f_zeros_like()?,
                (value, Some(tangent)) if !value.requires_grad() => {
                    let value = leaf(&value)?;
                    let loss = self.criterion(&value, &batch.targets)?;
                    gradient(&loss, &value)?.f_mul(&tangent)?.f_sum(None)?
                }
                (value, Some(tangent)) => {
                    let loss = self.criterion(&value, &batch.targets)?;
                    // The chain rule through the logits, so that a user's loss needs no tangents.
                    let logit_gradient = Tensor::f_run_backward(&[&loss], &[&value], true, true)?;
                    logit_gradient[0].f_mul(&tangent)?.f_sum(None)?
                }
            };
            Ok((derivative.shallow_clone(), derivative.f_detach()?))
        };
        let start = Dual { value: images, tangent: None };
        let (searched, keeps) = (self.searched(), along.keep && self.options.memory == Memory::Keep);
        let segments = if keeps { &searched.cells } else { &searched.jvp_segments };
        let division = Division { segments, recompute: !keeps };
        let (derivative, gradients) = backward(executable, division, start, interpreter, &leaves, finish)?;
        let (m_gradient, w_gradient) = leaves.flatten(executable, gradients)?;
        Gradients::new(Loss::alone(derivative), m_gradient, w_gradient)
    }

    fn begin_epoch(&self, epoch: usize, epochs: usize) -> Result<()> {
        self.drop.as_ref().map_or(Ok(()), |drop| drop.begin_epoch(epoch, epochs))
    }

    fn draw(&self, step: u64, parts: &Parts) -> Result<()> {
        self.drop.as_ref().map_or(Ok(()), |drop| drop.draw(step, parts))?;
        self.noise.iter().for_each(|noise| noise.begin(step));
        self.own.as_ref().map_or(Ok(()), |own| own.begin(step))?;
        self.options.begin(step)
    }

    fn begin_loss(&self, role: Role, part: usize) -> Result<()> {
        self.drop.iter().for_each(|drop| drop.begin_loss(role, part));
        self.noise.iter().for_each(|noise| noise.begin_loss(role, part));
        self.own.as_ref().map_or(Ok(()), |own| own.begin_loss(role, part))
    }

    fn begin_batch(&self, index: u64) -> Result<()> {
        self.noise.iter().for_each(|noise| noise.begin_batch(index));
        Ok(())
    }

    fn begin_evaluation(&self, step: u64) -> Result<()> {
        self.options.measure.as_ref().map_or(Ok(()), |measure| measure.begin(step))
    }

    fn measured(&self) -> Result<Metrics> {
        self.options.measure.as_ref().map_or_else(|| Ok(Metrics::new()), |measure| measure.measured())
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

    fn uncapturable(&self) -> Option<&'static str> {
        self.options.uncapturable().or(self.noise.as_ref().map(|_| Noise::UNCAPTURABLE))
    }

    fn peak(&self, method: Method) -> Option<Peak> {
        Some(self.options.peak(&self.search.executable.plan, method))
    }
}
