//! Steps from the view of the host: it issues them one after another, and reads their reports later.

use tch::Tensor;

use super::capture::{Body, Captures, GraphCapture};
use super::engine::{self, State, StepSettings};
use super::scalars::{Report, Scalars, StepInputs};
use super::terms::Terms;
use crate::data::Batch;
use crate::error::Result;
use crate::nn::Relaxed;
use crate::params::copy;

/// The measurements of a step: losses before its updates.
#[derive(Debug, Clone, PartialEq)]
pub struct StepOutcome {
    /// L_train before the weight step.
    pub train_loss: f64,
    /// L_val at which α's gradient was computed; None if α did not move.
    pub valid_loss: Option<f64>,
    /// The number of training examples predicted correctly; None if the network does not predict classes.
    pub correct: Option<f64>,
    /// The number of training examples, of all ranks.
    pub examples: i64,
    /// What else the step measured, by name.
    pub measured: Vec<(&'static str, f64)>,
}

/// A step that was issued. The device may still be computing it.
pub struct Issued {
    /// A copy of α after the step, if requested.
    pub alpha: Option<Tensor>,
    report: Tensor,
    examples: i64,
    moved_alpha: bool,
    measured: Vec<&'static str>,
    /// The counts of the state before the step: completed steps, and Adam's.
    before: (u64, u64),
}

impl Issued {
    /// The measurements; waits for the device. An error if a loss or gradient was not finite.
    pub fn outcome(&self) -> Result<StepOutcome> {
        let Report { train_loss, valid_loss, correct, extras } = Report::read(&self.report, self.before.0)?;
        let valid_loss = self.moved_alpha.then_some(valid_loss);
        let measured = self.measured.iter().copied().zip(extras).filter(|(_, value)| value.is_finite()).collect();
        Ok(StepOutcome { train_loss, valid_loss, correct, examples: self.examples, measured })
    }
}

/// Issues the steps of a search.
pub struct Stepper<'a> {
    network: Relaxed<'a>,
    settings: StepSettings,
    terms: Option<&'a Terms>,
    /// The names of what a step measures besides its losses.
    measured: Vec<&'static str>,
    scalars: Scalars,
    /// The weight decay of the epoch.
    decay: f64,
    captures: Option<Captures<'a>>,
}

impl<'a> Stepper<'a> {
    /// With `graphs`, steps of one shape are captured once and replayed; without, every step runs operation by
    /// operation.
    pub fn new(
        network: Relaxed<'a>,
        (settings, terms): (StepSettings, Option<&'a Terms>),
        graphs: Option<&'a dyn GraphCapture>,
    ) -> Result<Self> {
        let mut measured = settings.measured();
        measured.extend(terms.iter().flat_map(|terms| terms.measured()));
        let scalars = Scalars::new((network.network.kind(), network.network.device()), measured.clone())?;
        let captures = graphs.map(|graphs| Captures::new(graphs, network.network.uncapturable()));
        let decay = settings.weight_decay.at(0, 1);
        Ok(Stepper { network, settings, terms, measured, scalars, decay, captures })
    }

    /// Sets the numbers of an epoch; until the first call they are those of the first epoch.
    pub fn begin_epoch(&mut self, epoch: usize, epochs: usize) -> Result<()> {
        self.decay = self.settings.weight_decay.at(epoch, epochs);
        self.network.begin_epoch(epoch, epochs)
    }

    /// Issues a step with learning rate `lr`; without a validation batch α does not move. `copy_alpha` requests a copy
    /// of α after the step. The counts of the state advance as if the step were good: see [`Stepper::take_back`].
    pub fn issue(
        &mut self,
        state: &mut State,
        (train, valid): (&Batch, Option<&Batch>),
        lr: f64,
        copy_alpha: bool,
    ) -> Result<Issued> {
        let before = (state.step, state.moments.step);
        let (adam_rate, adam_root) = self.settings.adam.corrections(state.moments.step + 1);
        let continues = [!train.begins, valid.is_some_and(|valid| !valid.begins)];
        let (lr, decay) = (lr * train.rate_scale, self.decay);
        self.scalars.set(StepInputs { lr, decay, adam_rate, adam_root, continues })?;
        state.carried.begin(self.network.network, train, valid)?;
        self.network.draw(state.step, Some(train), valid)?;
        let settings = match valid {
            Some(_) => self.settings.of_step(state.moments.step),
            None => self.settings,
        };
        self.run(state, (train, valid), settings)?;
        let report = copy(self.scalars.report())?;
        let alpha = copy_alpha.then(|| copy(&state.alpha)).transpose()?;
        state.step += 1;
        state.moments.step += u64::from(valid.is_some());
        Ok(Issued {
            alpha,
            report,
            examples: train.examples_of_all(),
            moved_alpha: valid.is_some(),
            measured: self.measured.clone(),
            before,
        })
    }

    /// Resets the counts after the report of `failed` was read: neither it nor the steps issued since have moved
    /// anything.
    pub fn take_back(&mut self, state: &mut State, failed: &Issued) -> Result<()> {
        (state.step, state.moments.step) = failed.before;
        self.scalars.recover()
    }

    /// Why steps are no longer captured; returned once.
    pub fn take_warning(&mut self) -> Option<String> {
        self.captures.as_mut()?.take_warning()
    }

    fn run(&mut self, state: &State, (train, valid): (&Batch, Option<&Batch>), settings: StepSettings) -> Result<()> {
        let (network, terms, scalars) = (self.network, self.terms, &self.scalars);
        let body = |train: &Batch, valid: Option<&Batch>| -> Body<'a> {
            let (mut state, mut scalars) = (state.share(), scalars.share());
            let (train, valid) = (train.share(), valid.map(Batch::share));
            Box::new(move || {
                engine::step(network, &mut state, &mut scalars, (&train, valid.as_ref()), (&settings, terms))
            })
        };
        // A step with other settings runs outside the captured one, on the same tensors.
        let Some(captures) = self.captures.as_mut().filter(|_| !settings.probes) else { return body(train, valid)() };
        let buffers = network.network.buffers().map(|buffers| buffers.tensors());
        let relaxations = network.relaxations.tensors();
        let fixed: Vec<&Tensor> = state
            .tensors()
            .into_iter()
            .chain(scalars.tensors())
            .chain(&relaxations)
            .chain(self.terms.iter().flat_map(|terms| terms.tensors()))
            .chain(buffers.into_iter().flatten())
            .collect();
        captures.run(&body, &fixed, train, valid)
    }
}

/// One step without terms, whose report is read at once.
pub fn step(
    network: Relaxed,
    state: &mut State,
    train: &Batch,
    valid: Option<&Batch>,
    settings: &StepSettings,
    lr: f64,
) -> Result<StepOutcome> {
    step_with(network, state, (train, valid), (settings, None), lr)
}

/// One step, whose report is read at once.
pub fn step_with(
    network: Relaxed,
    state: &mut State,
    (train, valid): (&Batch, Option<&Batch>),
    (settings, terms): (&StepSettings, Option<&Terms>),
    lr: f64,
) -> Result<StepOutcome> {
    let mut stepper = Stepper::new(network, (*settings, terms), None)?;
    let issued = stepper.issue(state, (train, valid), lr, false)?;
    let outcome = issued.outcome();
    if outcome.is_err() {
        stepper.take_back(state, &issued)?;
    }
    outcome
}
