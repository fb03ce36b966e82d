//! A whole search: epochs, schedules, events, checkpoints.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use super::feed::Prepared;
use super::fingerprint::Fingerprint;
use super::freed_memory::FreedMemory;
use super::memory::{in_evaluation, with_estimate};
use super::progress::Progress;
use super::select::Select;
use super::start::check_tables;
use super::step::capture::GraphCapture;
use super::step::engine::{State, StepSettings};
use super::step::stepper::{Issued, StepOutcome, Stepper};
use super::step::terms::Terms;
use super::trajectory::{self, Trajectory};
use crate::arch::{Architecture, Decision, decision};
use crate::config::SearchConfig;
use crate::data::{Batch, Source};
use crate::decide::Stop;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EpochRecord, Event, EventKind, Observer, Status, StepRecord};
use crate::nn::{Network, Relaxed};
use crate::relaxation::{Restrictions, Tables};

/// A search, without its network and its data.
#[derive(Clone, Copy)]
pub struct Search<'a> {
    /// The options.
    pub config: &'a SearchConfig,
    /// Facts about the data and the loss, which a resumed search compares.
    pub fingerprint: &'a Fingerprint,
    /// What picks an architecture.
    pub select: &'a dyn Select,
    /// What decides at the end of each epoch, in this order.
    pub deciders: &'a [Stop],
    /// What captures steps, which are then replayed.
    pub graphs: Option<&'a dyn GraphCapture>,
    /// What is added to the loss of the α step.
    pub terms: Option<&'a Terms>,
}

impl<'a> Search<'a> {
    /// A search with the selection of a configuration, without deciders and captured steps.
    pub fn new(config: &'a SearchConfig, fingerprint: &'a Fingerprint) -> Self {
        Search { config, fingerprint, select: &config.optimisation.selection, deciders: &[], graphs: None, terms: None }
    }
}

/// The sources of batches.
pub struct Sources<'a> {
    /// For the weight steps; one pass per epoch.
    pub train: &'a mut dyn Source,
    /// For the α steps; passes continue across epochs.
    pub valid: &'a mut dyn Source,
    /// For the evaluation at the end of each epoch: the validation examples in order.
    pub evaluation: &'a mut dyn Source,
}

/// The outcome of a search, complete or not.
#[derive(Debug)]
pub struct Outcome {
    /// How the search ended.
    pub status: Status,
    /// Why the search failed.
    pub error: Option<Error>,
    /// The last good state.
    pub state: State,
    /// α over time; the last point is that of `state`.
    pub trajectory: Trajectory,
    /// One record per epoch.
    pub history: Vec<EpochRecord>,
    /// What the selection picks from the last α.
    pub architecture: Architecture,
    /// The masks and frozen rows of the last α.
    pub restrictions: Restrictions,
    /// The decisions in the order in which they were taken, each with the number of its epoch.
    pub decisions: Vec<(usize, Decision)>,
    /// The number of examples in the batches that this process computed in its steps.
    pub computed: i64,
    /// The configuration, with the statistics of the data of the latest steps.
    pub config: SearchConfig,
    /// The facts about the data and the loss of the latest steps.
    pub fingerprint: Fingerprint,
}

/// Runs a search from `initial`, or from the newest checkpoint if `config.execution.resume` is set. Errors before the
/// first step are returned as `Err`, later ones in the outcome.
pub fn run<'a>(
    relaxed: Relaxed<'a>,
    search: Search<'a>,
    initial: State,
    sources: Sources<'a>,
    observer: &'a mut dyn Observer,
) -> Result<Outcome> {
    let (config, tables) = (search.config, relaxed.relaxations.tables());
    check_tables(relaxed.network, tables)?;
    search.deciders.iter().try_for_each(|decider| decider.rule().check(tables))?;
    let mut run = Run {
        network: relaxed.network,
        relaxed,
        config,
        search,
        sources,
        observer,
        folder: config.execution.checkpoint_dir.as_ref().map(PathBuf::from),
        state: initial,
        stepper: Stepper::new(relaxed, (StepSettings::new(config), search.terms), search.graphs)?,
        pending: Vec::new(),
        restored: None,
        progress: Progress::default(),
        trajectory: Trajectory::default(),
        restrictions: Restrictions::new(tables),
        decisions: Vec::new(),
        selected: None,
        kept: BTreeMap::new(),
        valid_started: false,
        batch: 0,
        evaluated_batch: None,
        last_valid: None,
        freed: FreedMemory::new(relaxed.network.device()),
        computed: 0,
    };
    run.copy_first()?;
    run.clear_masked()?;
    run.record_alpha()?;
    let restored = run.restore();
    run.check_beginning(restored)?;
    let result = run.epochs();
    run.finish(result)
}

/// A search while it runs.
pub(super) struct Run<'a> {
    pub(super) network: &'a dyn Network,
    pub(super) relaxed: Relaxed<'a>,
    pub(super) config: &'a SearchConfig,
    pub(super) search: Search<'a>,
    pub(super) sources: Sources<'a>,
    pub(super) observer: &'a mut dyn Observer,
    /// The folder of checkpoints.
    pub(super) folder: Option<PathBuf>,
    pub(super) state: State,
    pub(super) stepper: Stepper<'a>,
    /// Steps, epochs and fingerprint of the checkpoint from which this run started, and the configuration with its
    /// statistics.
    pub(super) restored: Option<(u64, usize, SearchConfig, Fingerprint)>,
    /// Steps whose reports were not read yet. State and validation stream include them, progress and trajectory do not.
    pub(super) pending: Vec<Pending>,
    pub(super) progress: Progress,
    pub(super) trajectory: Trajectory,
    pub(super) restrictions: Restrictions,
    pub(super) decisions: Vec<(usize, Decision)>,
    /// What the selection picked, until something moves, and whether as the result of the search.
    pub(super) selected: Option<(Architecture, bool)>,
    /// The states after earlier epochs as bytes of checkpoints, by the number of completed epochs; only without a folder.
    pub(super) kept: BTreeMap<usize, Vec<u8>>,
    pub(super) valid_started: bool,
    /// The size of the latest training batch, for the estimate if memory runs out.
    pub(super) batch: i64,
    /// The size of the batch that is being evaluated.
    pub(super) evaluated_batch: Option<i64>,
    /// The batch of the latest α step, if the curvature is measured.
    pub(super) last_valid: Option<Batch>,
    freed: FreedMemory,
    /// The number of examples in the batches of the steps that this process issued.
    computed: i64,
}

/// A step whose report was not read yet.
pub(super) struct Pending {
    issued: Issued,
    lr: f64,
    /// The position of the validation stream before the step: pass and batch.
    valid_position: (u64, usize),
    seconds: f64,
}

impl Run<'_> {
    fn epochs(&mut self) -> Result<()> {
        let start = Event::Start {
            epochs: self.config.optimisation.epochs,
            first_epoch: self.progress.epoch,
            steps_per_epoch: self.sources.train.batches(),
        };
        let told = self.observer.notify(&start);
        self.relaxed.ranks.agree(told)?;
        self.decide_late()?;
        let goes_on = |run: &Self| !run.stopped() && run.progress.epoch < run.config.optimisation.epochs;
        if goes_on(self) {
            // A search that was killed after it wrote its checkpoint may lack this.
            self.keep_state()?;
        }
        while goes_on(self) {
            self.epoch()?;
        }
        Ok(())
    }

    /// Whether a decision ended the search.
    pub(super) fn stopped(&self) -> bool {
        decision::in_effect(&self.decisions).iter().any(|(_, decision)| matches!(decision, Decision::Stop { .. }))
    }

    fn epoch(&mut self) -> Result<()> {
        let epoch = self.progress.epoch;
        let config = self.config;
        let mut lr = self.rate(epoch, 0)?;
        self.set_numbers(epoch)?;
        self.sources.train.start(epoch as u64, self.progress.step_in_epoch)?;
        loop {
            let started = Instant::now();
            let prepared = self.prepare(epoch);
            let Some(prepared) = self.agree_on(prepared)? else { break };
            let Prepared { train, valid, step, valid_position, .. } = prepared;
            lr = prepared.lr;
            let copy_alpha =
                self.observer.wants(EventKind::Step) || Trajectory::wants_step(config.execution.record, step);
            let issued = self.stepper.issue(&mut self.state, (&train, valid.as_ref()), lr, copy_alpha);
            // The other ranks wait inside their step.
            let issued = self.relaxed.ranks.or_leave(issued);
            self.computed += train.examples() + self.own_valid(valid.as_ref());
            if issued.is_err() {
                // The step was rolled back, so its validation batch counts as unused.
                (self.progress.valid_pass, self.progress.valid_index) = valid_position;
            }
            self.pending.push(Pending {
                issued: issued?,
                lr,
                valid_position,
                seconds: started.elapsed().as_secs_f64(),
            });
            // The first step that moves α is larger than those before it.
            if epoch >= config.optimisation.arch_start_epoch {
                self.freed.keep();
            }
            if let Some(warning) = self.stepper.take_warning() {
                self.warn(&warning)?;
            }
            if self.pending.len() >= config.execution.log_every || self.wants_checkpoint(step) {
                self.read_reports()?;
            }
        }
        let read = self.read_reports();
        self.relaxed.ranks.agree(read)?;
        if self.progress.step_in_epoch == 0 {
            return Err(Error::data(
                "expected at least one training batch, got none: the data is empty or smaller than one batch",
            ));
        }
        self.end_epoch(lr)
    }

    /// Sets the numbers that schedules have in an epoch.
    pub(super) fn set_numbers(&mut self, epoch: usize) -> Result<()> {
        let epochs = self.identity().0.optimisation.epochs;
        self.stepper.begin_epoch(epoch, epochs)?;
        self.search.terms.iter().try_for_each(|terms| terms.begin_epoch(epoch, epochs))
    }

    fn wants_checkpoint(&self, step: u64) -> bool {
        self.config.execution.checkpoint_every.is_some_and(|n| step.is_multiple_of(n as u64))
    }

    /// Reads the reports of pending steps: accepts the good ones and notifies the observer of them. The first failed
    /// step is the error; it and all steps after it were rolled back.
    fn read_reports(&mut self) -> Result<()> {
        let started = Instant::now();
        let (mut accepted, mut events) = (0, Vec::new());
        let mut failure = None;
        for pending in std::mem::take(&mut self.pending) {
            match pending.issued.outcome() {
                Ok(outcome) => {
                    events.extend(self.accept(&pending, &outcome)?);
                    accepted += 1;
                }
                Err(error) => {
                    self.stepper.take_back(&mut self.state, &pending.issued)?;
                    (self.progress.valid_pass, self.progress.valid_index) = pending.valid_position;
                    failure = Some(error);
                    break;
                }
            }
        }
        self.progress.sums.seconds += started.elapsed().as_secs_f64();
        // The observer may stop the search, so all steps are accepted and saved before it is notified.
        if failure.is_none() && accepted > 0 && self.wants_checkpoint(self.progress.step) {
            self.save()?;
        }
        for (record, alphas, strengths) in &events {
            self.observer.notify(&Event::Step { record, alphas, strengths })?;
        }
        failure.map_or(Ok(()), Err)
    }

    /// Adds a good step to progress and trajectory. Returns its event if the observer wants it.
    fn accept(&mut self, pending: &Pending, outcome: &StepOutcome) -> Result<Option<(StepRecord, Tables, Tables)>> {
        self.selected = None;
        self.progress.step += 1;
        self.progress.step_in_epoch += 1;
        self.progress.sums.add(outcome, pending.seconds);
        let Some(alpha) = &pending.issued.alpha else { return Ok(None) };
        let alpha = trajectory::values(alpha)?;
        let epoch = self.progress.epoch;
        let wanted = self
            .observer
            .wants(EventKind::Step)
            .then(|| (self.restrictions.shown(&alpha), self.strengths(epoch, &alpha)));
        if Trajectory::wants_step(self.config.execution.record, self.progress.step) {
            self.trajectory.push(self.progress.step, epoch, alpha);
        }
        let Some((alphas, strengths)) = wanted else { return Ok(None) };
        let record = StepRecord {
            epoch,
            step: self.progress.step - 1,
            step_in_epoch: self.progress.step_in_epoch - 1,
            steps_per_epoch: self.sources.train.batches(),
            train_loss: outcome.train_loss,
            valid_loss: outcome.valid_loss,
            train_accuracy: self.progress.sums.accuracy(),
            learning_rate: pending.lr,
        };
        Ok(Some((record, alphas, strengths)))
    }

    /// Records the current α unless this step is recorded already.
    pub(super) fn record_alpha(&mut self) -> Result<()> {
        match self.trajectory.steps.last() == Some(&self.progress.step) {
            true => Ok(()),
            false => {
                let alpha = trajectory::values(&self.state.alpha)?;
                self.trajectory.push(self.progress.step, self.progress.latest_epoch(), alpha);
                Ok(())
            }
        }
    }

    pub(super) fn warn(&mut self, message: &str) -> Result<()> {
        self.observer.notify(&Event::Warning { message })
    }

    /// Saves the last good state, and records its α.
    fn finish(mut self, result: Result<()>) -> Result<Outcome> {
        let result = self.relaxed.ranks.agree(result);
        // A failure of a pending step comes before that of `result`.
        let result = self.read_reports().and(result);
        let (mut status, mut error) = match result {
            Ok(()) => (Status::Complete, None),
            Err(error) if error.kind == ErrorKind::Interrupted => (Status::Interrupted, None),
            Err(error) => {
                let peak = self.network.peak(self.config.optimisation.largest_method());
                let explained = match self.evaluated_batch {
                    Some(batch) => in_evaluation(error, batch),
                    None => with_estimate(error, peak, self.batch),
                };
                (Status::Failed, Some(explained))
            }
        };
        if status != Status::Complete {
            // Before the first step there is nothing to resume, and the folder remains usable for another search.
            if self.progress.step > 0
                && let Err(unsaved) = self.save()
                && error.is_none()
            {
                error = Some(unsaved);
            }
            self.record_alpha()?;
        }
        let alpha = trajectory::values(&self.state.alpha)?;
        let architecture = self.result(&alpha, &mut status).unwrap_or_else(|failure| {
            error.get_or_insert(failure);
            Architecture::default()
        });
        let status = if error.is_some() { Status::Failed } else { status };
        let (config, fingerprint) = self.identity();
        let (config, fingerprint) = (config.clone(), fingerprint.clone());
        Ok(Outcome {
            status,
            error,
            state: self.state,
            trajectory: self.trajectory,
            history: self.progress.history,
            architecture,
            restrictions: self.restrictions,
            decisions: self.decisions,
            computed: self.computed,
            config,
            fingerprint,
        })
    }
}
