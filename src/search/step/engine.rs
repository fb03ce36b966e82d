//! The order of updates: a step moves α on the validation loss, then w on the training loss; or w first; or both on the
//! training loss, by one backward pass.
//!
//! A step is a sequence of operations on tensors whose addresses do not change, and reads nothing on the host: it can
//! be captured as a graph and replayed. Its inputs and its report are in [`Scalars`].

use tch::Tensor;

use super::rollback::Rollback;
use super::scalars::Scalars;
use super::terms::Terms;
use crate::config::{ArchOptimizer, Estimator, Method, Order, SearchConfig};
use crate::data::Batch;
use crate::error::Result;
use crate::nn::{By, Draw, Gradients, Mode, Network, Relaxed, Role};
use crate::optim::{self, Adam, Moments, Sgd};
use crate::relaxation::Noise;
use crate::schedule::Schedule;
use crate::search::hypergradient::{ArchGradient, Losses, Probe, VirtualStep, arch_gradient};

/// Everything that a search moves except buffers, which belong to the network. Steps write to the tensors
/// and never replace them.
#[derive(Debug)]
pub struct State {
    /// All weights, flat.
    pub w: Tensor,
    /// All logits, flat.
    pub alpha: Tensor,
    /// The momentum of w; zeros before the first step.
    pub momentum: Tensor,
    /// Adam's moments of α.
    pub moments: Moments,
    /// The hidden states of the streams of batches.
    pub carried: Carried,
    /// The number of completed steps.
    pub step: u64,
}

/// The hidden state of each stream between two batches; None if batches are independent.
#[derive(Debug, Default)]
pub struct Carried {
    /// From the latest weight step.
    pub train: Option<Tensor>,
    /// From the validation loss of the latest α step.
    pub valid: Option<Tensor>,
}

impl Carried {
    /// Sets the state of streams that have not begun.
    pub fn begin(&mut self, network: &dyn Network, train: &Batch, valid: Option<&Batch>) -> Result<()> {
        if self.train.is_none() {
            self.train = network.beginning(train)?;
        }
        if let (None, Some(valid)) = (&self.valid, valid) {
            self.valid = network.beginning(valid)?;
        }
        Ok(())
    }

    fn share(&self) -> Carried {
        let same = |tensor: &Option<Tensor>| tensor.as_ref().map(Tensor::shallow_clone);
        Carried { train: same(&self.train), valid: same(&self.valid) }
    }
}

/// A batch with the hidden state of its stream; `keep` is 0 if the batch begins a new stream, else 1.
fn with_carried(batch: &Batch, carried: Option<&Tensor>, keep: &Tensor) -> Result<Batch> {
    let carried = carried.map(|carried| carried.f_mul(keep)).transpose()?;
    Ok(Batch { carried, ..batch.share() })
}

/// Overwrites the hidden state of a stream with that after a batch.
fn store_carried(carried: Option<&mut Tensor>, new: Option<&Tensor>, rollback: &mut Rollback) -> Result<()> {
    let (Some(carried), Some(new)) = (carried, new) else { return Ok(()) };
    rollback.save([&*carried])?;
    let _guard = tch::no_grad_guard();
    Ok(carried.f_copy_(new)?)
}

impl State {
    /// Before the first step.
    pub fn new(w: Tensor, alpha: Tensor) -> Result<Self> {
        let momentum = w.f_zeros_like()?;
        let moments = Moments::zeros_like(&alpha)?;
        Ok(State { w, alpha, momentum, moments, carried: Carried::default(), step: 0 })
    }

    /// Sets α and its moments to 0 where `masked`.
    pub fn clear(&mut self, masked: &Tensor) -> Result<()> {
        let _guard = tch::no_grad_guard();
        for tensor in [&mut self.alpha, &mut self.moments.exp_avg, &mut self.moments.exp_avg_sq] {
            let _ = tensor.f_masked_fill_(masked, 0.0)?;
        }
        Ok(())
    }

    /// The same tensors, not copied.
    pub fn share(&self) -> State {
        let same = Tensor::shallow_clone;
        let Moments { exp_avg, exp_avg_sq, step } = &self.moments;
        State {
            w: same(&self.w),
            alpha: same(&self.alpha),
            momentum: same(&self.momentum),
            moments: Moments { exp_avg: same(exp_avg), exp_avg_sq: same(exp_avg_sq), step: *step },
            carried: self.carried.share(),
            step: self.step,
        }
    }

    /// All tensors, not copied.
    pub fn tensors(&self) -> Vec<&Tensor> {
        let moved = [&self.w, &self.alpha, &self.momentum, &self.moments.exp_avg, &self.moments.exp_avg_sq];
        moved.into_iter().chain(&self.carried.train).chain(&self.carried.valid).collect()
    }
}

/// The settings of a step, constant during a search.
#[derive(Debug, Clone, Copy)]
pub struct StepSettings {
    /// The estimator of α's gradient.
    pub estimator: Estimator,
    /// ε of the finite difference, before it is divided by ‖v‖.
    pub epsilon: f64,
    /// The settings of the weight step.
    pub sgd: Sgd,
    /// λ of the weight step, by the epoch.
    pub weight_decay: Schedule,
    /// The settings of the α step.
    pub adam: Adam,
    /// The optimiser of α; gradient descent has the rate and the decay of `adam`.
    pub arch_optimizer: ArchOptimizer,
    /// The largest norm of α's gradient; None: any.
    pub arch_clip: Option<f64>,
    /// What moves first.
    pub order: Order,
    /// The norm to which the virtual step clips its gradient; None if it does not clip.
    pub virtual_clip: Option<f64>,
    /// Whether it measures the entropy of drawn mixing weights.
    pub measures_samples: bool,
    /// Every how many steps of α its gradient is compared with the exact one; None: never.
    pub probe_every: Option<usize>,
    /// Whether this step does so.
    pub probes: bool,
}

impl StepSettings {
    /// The names of the numbers that a step measures besides its losses, in the order of its report.
    pub fn measured(&self) -> Vec<&'static str> {
        let samples = self.measures_samples.then_some(SAMPLE_ENTROPY).into_iter();
        samples.chain(self.probe_every.iter().flat_map(|_| Probe::NAMES)).collect()
    }

    /// The settings of a step that moves α for the `number`th time, counted from 0.
    pub fn of_step(&self, number: u64) -> Self {
        StepSettings { probes: self.probe_every.is_some_and(|n| number.is_multiple_of(n as u64)), ..*self }
    }

    /// The settings of a configuration.
    pub fn new(config: &SearchConfig) -> Self {
        let clip = Some(config.optimisation.grad_clip).filter(|norm| *norm > 0.0);
        StepSettings {
            measures_samples: matches!(config.optimisation.relaxation.rule().noise(), Noise::Gumbel | Noise::Dirichlet),
            estimator: config.optimisation.hypergradient.estimator(),
            epsilon: config.optimisation.epsilon,
            sgd: Sgd {
                momentum: config.optimisation.weight_momentum,
                clip,
                nesterov: config.optimisation.weight_nesterov,
            },
            weight_decay: config.optimisation.weight_decay,
            adam: Adam {
                lr: config.optimisation.arch_lr,
                betas: config.optimisation.arch_betas,
                weight_decay: config.optimisation.arch_weight_decay,
            },
            arch_optimizer: config.optimisation.arch_optimizer,
            arch_clip: config.optimisation.arch_grad_clip,
            order: config.optimisation.order,
            virtual_clip: clip.filter(|_| config.optimisation.clip_virtual_step),
            probe_every: config.optimisation.probe_every,
            probes: false,
        }
    }
}

/// One search step. Without a validation batch α does not move (warm-up); a single-level step moves α by the training
/// batch, and with any validation batch. A step whose losses, gradients, new logits and
/// new weights are not all finite is rolled back, and so are the steps after it until the host has read the report. An
/// error rolls back too.
pub fn step(
    network: Relaxed,
    state: &mut State,
    scalars: &mut Scalars,
    (train, valid): (&Batch, Option<&Batch>),
    (settings, terms): (&StepSettings, Option<&Terms>),
) -> Result<()> {
    let mut rollback = Rollback::default();
    let done = updates(network, state, scalars, (train, valid), (settings, terms), &mut rollback);
    if done.is_err() {
        // Report the first error, not one of the rollback.
        let _ = rollback.all();
    }
    done
}

/// A step while it runs.
struct Step<'s> {
    network: Relaxed<'s>,
    state: &'s mut State,
    scalars: &'s Scalars,
    settings: &'s StepSettings,
    terms: Option<&'s Terms>,
    rollback: &'s mut Rollback,
    extras: Vec<Extra>,
}

/// The mean entropy of the mixing weights that the weight step drew.
const SAMPLE_ENTROPY: &str = "sample_entropy";

/// A number that a step measured, by its name among [`StepSettings::measured`].
pub type Extra = (&'static str, Tensor);

/// A loss, the norm of a gradient, and the magnitude of the parameters that it moved.
type Checked = [Tensor; 3];

fn updates(
    network: Relaxed,
    state: &mut State,
    scalars: &mut Scalars,
    (train, valid): (&Batch, Option<&Batch>),
    (settings, terms): (&StepSettings, Option<&Terms>),
    rollback: &mut Rollback,
) -> Result<()> {
    if let Some(buffers) = network.network.buffers() {
        rollback.save(buffers.tensors())?;
    }
    let [keep_train, keep_valid] = scalars.keep()?;
    let train = &with_carried(train, state.carried.train.as_ref(), &keep_train)?;
    let valid = valid.map(|valid| with_carried(valid, state.carried.valid.as_ref(), &keep_valid)).transpose()?;
    let mut step = Step { network, state, scalars, settings, terms, rollback, extras: Vec::new() };
    let (of_alpha, of_weights, correct) = match (&valid, settings.estimator.method, settings.order) {
        (None, ..) => step.weights(train).map(|(checked, correct)| (None, checked, correct)),
        (Some(_), Method::SingleLevel, _) => step.both(train),
        (Some(valid), _, Order::ArchFirst) => {
            let of_alpha = step.arch(train, valid)?;
            step.weights(train).map(|(checked, correct)| (Some(of_alpha), checked, correct))
        }
        (Some(valid), _, Order::WeightsFirst) => {
            let (checked, correct) = step.weights(train)?;
            step.arch(train, valid).map(|of_alpha| (Some(of_alpha), checked, correct))
        }
    }?;
    let extras = step.extras;
    let of_alpha = of_alpha.as_ref().map(|all| all.each_ref());
    let good = scalars.conclude(of_alpha, of_weights.each_ref(), correct.as_ref(), &extras)?;
    rollback.unless(&good)
}

/// The largest absolute value: not finite if any value is not. Decay can make a parameter infinite by a finite gradient.
fn magnitude(vector: &Tensor) -> Result<Tensor> {
    let _guard = tch::no_grad_guard();
    let (low, high) = vector.f_aminmax(None, false)?;
    Ok(high.f_maximum(&low.f_neg()?)?)
}

impl Step<'_> {
    /// Moves w on the training loss. Also returns the number of correct predictions.
    fn weights(&mut self, train: &Batch) -> Result<(Checked, Option<Tensor>)> {
        let (found, untouched) = self.train_gradients(train, By::Weights)?;
        self.measure_sample()?;
        self.move_weights(found, untouched.as_ref())
    }

    /// Moves α and w by one backward pass of the training loss.
    fn both(&mut self, train: &Batch) -> Result<(Option<Checked>, Checked, Option<Tensor>)> {
        let (found, untouched) = self.train_gradients(train, By::Both)?;
        self.measure_sample()?;
        let (gradient, loss) = (found.alpha()?.shallow_clone(), found.loss.value.shallow_clone());
        self.probe(&gradient, train, (train, Role::Weight))?;
        let of_alpha = self.move_alpha(&gradient, loss)?;
        self.move_weights(found, untouched.as_ref()).map(|(checked, correct)| (Some(of_alpha), checked, correct))
    }

    fn measure_sample(&mut self) -> Result<()> {
        if self.settings.measures_samples {
            let draw = Draw::Part(Role::Weight, 0);
            let entropy = self.network.relaxations.sample_entropy(&self.state.alpha, draw)?;
            self.extras.push((SAMPLE_ENTROPY, entropy));
        }
        Ok(())
    }

    /// The gradients of the training loss, and the elements of w that it does not depend on at this α.
    fn train_gradients(&self, train: &Batch, by: By) -> Result<(Gradients, Option<Tensor>)> {
        let State { w, alpha, .. } = &*self.state;
        let untouched = self.network.untouched(alpha, train, Role::Weight)?;
        Ok((self.network.gradients(w, alpha, train, (Mode::Weights, Role::Weight), by)?, untouched))
    }

    fn move_weights(&mut self, found: Gradients, untouched: Option<&Tensor>) -> Result<(Checked, Option<Tensor>)> {
        let state = &mut *self.state;
        self.rollback.save([&state.w, &state.momentum])?;
        let numbers = [&self.scalars.lr()?, &self.scalars.decay()?];
        self.settings.sgd.step(&mut state.w, &mut state.momentum, found.w()?, numbers)?;
        // A gradient of 0 is not rest: momentum and decay would still move kernels that no sample used.
        untouched.map_or(Ok(()), |untouched| self.rollback.restore_where(untouched, 2))?;
        store_carried(state.carried.train.as_mut(), found.loss.carried.as_ref(), self.rollback)?;
        let norm = found.w()?.f_norm()?;
        Ok(([found.loss.value, norm, magnitude(&self.state.w)?], found.loss.correct))
    }

    /// Moves α by the hypergradient.
    fn arch(&mut self, train: &Batch, valid: &Batch) -> Result<Checked> {
        let losses = Losses { network: self.network, train: Some(train), valid, valid_role: Role::Alpha };
        let (numbers, state) = ([self.scalars.lr()?, self.scalars.decay()?], &*self.state);
        let untouched = match self.settings.estimator.method {
            Method::FirstOrder => None,
            _ => self.network.untouched(&state.alpha, train, Role::Weight)?,
        };
        let virtual_step = self.virtual_step(&numbers, untouched.as_ref());
        let ArchGradient { gradient, valid_loss } =
            arch_gradient(self.settings.estimator, &losses, &state.w, &state.alpha, &virtual_step)?;
        self.probe(&gradient, train, (valid, Role::Alpha))?;
        store_carried(self.state.carried.valid.as_mut(), valid_loss.carried.as_ref(), self.rollback)?;
        self.move_alpha(&gradient, valid_loss.value)
    }

    fn virtual_step<'v>(
        &'v self,
        [xi, weight_decay]: &'v [Tensor; 2],
        untouched: Option<&'v Tensor>,
    ) -> VirtualStep<'v> {
        let settings = self.settings;
        VirtualStep {
            xi,
            momentum: settings.sgd.momentum,
            buffer: Some(&self.state.momentum),
            weight_decay,
            clip: settings.virtual_clip,
            epsilon: settings.epsilon,
            untouched,
        }
    }

    /// Compares a gradient of α with the exact one, in steps that do so.
    fn probe(&mut self, gradient: &Tensor, train: &Batch, (valid, valid_role): (&Batch, Role)) -> Result<()> {
        if !self.settings.probes {
            return Ok(());
        }
        let losses = Losses { network: self.network, train: Some(train), valid, valid_role };
        let (numbers, state) = ([self.scalars.lr()?, self.scalars.decay()?], &*self.state);
        let untouched = self.network.untouched(&state.alpha, train, Role::Weight)?;
        let step = self.virtual_step(&numbers, untouched.as_ref());
        let found = Probe::of(gradient, &losses, &state.w, &state.alpha, &step)?;
        self.extras.extend(Probe::NAMES.into_iter().zip([found.cosine, found.error]));
        Ok(())
    }

    /// Moves α by a gradient that was taken at this loss, and by the terms.
    fn move_alpha(&mut self, gradient: &Tensor, loss: Tensor) -> Result<Checked> {
        let with_terms = match self.terms {
            Some(terms) => {
                let (sum, measured) = terms.apply(self.network.relaxations, &self.state.alpha, gradient, &loss)?;
                self.extras.extend(measured);
                Some(sum)
            }
            None => None,
        };
        let gradient = with_terms.as_ref().unwrap_or(gradient);
        let (state, settings) = (&mut *self.state, self.settings);
        self.rollback.save([&state.alpha, &state.moments.exp_avg, &state.moments.exp_avg_sq])?;
        let coefficient = settings.arch_clip.map(|clip| optim::clip_coefficient(gradient, clip)).transpose()?;
        let clipped = coefficient.map(|coefficient| gradient.f_mul(&coefficient)).transpose()?;
        let direction = clipped.as_ref().unwrap_or(gradient);
        match settings.arch_optimizer {
            ArchOptimizer::Adam => {
                let (rate, root) = self.scalars.adam()?;
                settings.adam.step(&mut state.alpha, &mut state.moments, direction, &rate, &root)?;
            }
            ArchOptimizer::Sgd => {
                optim::descend(&mut state.alpha, direction, settings.adam.lr, settings.adam.weight_decay)?;
            }
        }
        // A gradient of 0 is not rest: decay and moments would still move masked and frozen logits.
        self.rollback.restore_where(self.network.relaxations.fixed(), 3)?;
        Ok([loss, gradient.f_norm()?, magnitude(&self.state.alpha)?])
    }
}
