//! Steps as the host sees them: issued one after the other, looked at when it likes.

use tch::Tensor;

use super::capture::{Body, Captures, Recorder};
use super::engine::{self, State, StepSettings};
use super::panel::{Pace, Panel, Report};
use crate::data::Batch;
use crate::error::Result;
use crate::nn::Network;
use crate::params::copy;

/// What a step saw: losses before its updates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepOutcome {
    /// L_train before the weight step.
    pub train_loss: f64,
    /// L_val where α's gradient was taken; none while α is frozen.
    pub valid_loss: Option<f64>,
    /// Training examples predicted right.
    pub correct: i64,
    /// Training examples.
    pub examples: i64,
}

/// A step that was issued: the device may still be at it.
pub struct Issued {
    /// α after it.
    pub alpha: Tensor,
    report: Tensor,
    examples: i64,
    moved_alpha: bool,
    /// The counts of the state before it: steps, and Adam's.
    before: (u64, u64),
}

impl Issued {
    /// What it saw; waits for the device. An error if a loss or gradient was not finite.
    pub fn outcome(&self) -> Result<StepOutcome> {
        let Report { train_loss, valid_loss, correct } = Report::read(&self.report, self.before.0)?;
        let valid_loss = self.moved_alpha.then_some(valid_loss);
        Ok(StepOutcome { train_loss, valid_loss, correct, examples: self.examples })
    }
}

/// Issues the steps of a search.
pub struct Stepper<'a> {
    network: &'a dyn Network,
    settings: StepSettings,
    panel: Panel,
    captures: Option<Captures<'a>>,
}

impl<'a> Stepper<'a> {
    /// With a recorder, steps of one shape are recorded once and replayed; without one, every step runs operation by
    /// operation.
    pub fn new(network: &'a dyn Network, settings: StepSettings, recorder: Option<&'a dyn Recorder>) -> Result<Self> {
        let panel = Panel::new(network.kind(), network.device())?;
        Ok(Stepper { network, settings, panel, captures: recorder.map(Captures::new) })
    }

    /// Begins a step with learning rate `lr`; without a validation batch α stays. The counts of the state advance, as
    /// if it were good: see [`Stepper::take_back`].
    pub fn issue(&mut self, state: &mut State, train: &Batch, valid: Option<&Batch>, lr: f64) -> Result<Issued> {
        let before = (state.step, state.moments.step);
        let (adam_rate, adam_root) = self.settings.adam.corrections(state.moments.step + 1);
        let goes_on = [!train.begins, valid.is_some_and(|valid| !valid.begins)];
        let lr = lr * train.rate_scale;
        self.panel.set(Pace { lr, adam_rate, adam_root, goes_on })?;
        state.carried.begin(self.network, train, valid)?;
        self.network.draw(state.step)?;
        self.run(state, train, valid)?;
        let (report, alpha) = (copy(self.panel.report())?, copy(&state.alpha)?);
        state.step += 1;
        state.moments.step += u64::from(valid.is_some());
        Ok(Issued { alpha, report, examples: train.examples(), moved_alpha: valid.is_some(), before })
    }

    /// After `failed` turned out not to be good: neither it nor the steps issued since have moved anything, and the
    /// counts follow.
    pub fn take_back(&mut self, state: &mut State, failed: &Issued) -> Result<()> {
        (state.step, state.moments.step) = failed.before;
        self.panel.recover()
    }

    /// Why steps are not recorded any more, once.
    pub fn take_warning(&mut self) -> Option<String> {
        self.captures.as_mut()?.take_warning()
    }

    fn run(&mut self, state: &State, train: &Batch, valid: Option<&Batch>) -> Result<()> {
        let (network, settings, panel) = (self.network, self.settings, &self.panel);
        let body = |train: &Batch, valid: Option<&Batch>| -> Body<'a> {
            let (mut state, mut panel) = (state.share(), panel.share());
            let (train, valid) = (train.share(), valid.map(Batch::share));
            Box::new(move || engine::step(network, &mut state, &mut panel, (&train, valid.as_ref()), &settings))
        };
        let Some(captures) = &mut self.captures else { return body(train, valid)() };
        let statistics = network.statistics().map(|statistics| statistics.vectors());
        let fixed: Vec<&Tensor> =
            state.tensors().into_iter().chain(panel.tensors()).chain(statistics.into_iter().flatten()).collect();
        captures.run(&body, &fixed, train, valid)
    }
}

/// One step, looked at at once.
pub fn step(
    network: &dyn Network,
    state: &mut State,
    train: &Batch,
    valid: Option<&Batch>,
    settings: &StepSettings,
    lr: f64,
) -> Result<StepOutcome> {
    let mut stepper = Stepper::new(network, *settings, None)?;
    let issued = stepper.issue(state, train, valid, lr)?;
    let outcome = issued.outcome();
    if outcome.is_err() {
        stepper.take_back(state, &issued)?;
    }
    outcome
}
