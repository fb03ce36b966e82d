//! A whole search: epochs, schedules, events, checkpoints.

use std::path::PathBuf;
use std::time::Instant;

use super::fingerprint::Fingerprint;
use super::memory::{in_evaluation, with_estimate};
use super::progress::Progress;
use super::step::capture::GraphCapture;
use super::step::engine::{State, StepSettings};
use super::step::stepper::{Issued, StepOutcome, Stepper};
use super::trajectory::{self, Tables, Trajectory};
use crate::arch::{self, Genotype};
use crate::checkpoint;
use crate::config::SearchConfig;
use crate::data::{Batch, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EpochRecord, Event, EventKind, Observer, Status, StepRecord};
use crate::nn::{Network, Relaxed};
use crate::optim;

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
    /// Derived from the last α.
    pub genotype: Genotype,
    /// The configuration, with the statistics of the data of the latest steps.
    pub config: SearchConfig,
    /// The facts about the data and the loss of the latest steps.
    pub fingerprint: Fingerprint,
}

/// Runs a search from `initial`, or from the newest checkpoint if `config.execution.resume` is set. Errors before the
/// first step are returned as `Err`, later ones in the outcome. `fingerprint` identifies the data and the loss. With
/// `graphs`, steps are captured and replayed.
pub fn run<'a>(
    network: Relaxed<'a>,
    (config, fingerprint): (&'a SearchConfig, &'a Fingerprint),
    initial: State,
    sources: Sources<'a>,
    observer: &'a mut dyn Observer,
    graphs: Option<&'a dyn GraphCapture>,
) -> Result<Outcome> {
    let mut run = Run {
        network: network.network,
        relaxed: network,
        config,
        fingerprint,
        sources,
        observer,
        folder: config.execution.checkpoint_dir.as_ref().map(PathBuf::from),
        state: initial,
        stepper: Stepper::new(network, StepSettings::new(config), graphs)?,
        pending: Vec::new(),
        restored: None,
        progress: Progress::default(),
        trajectory: Trajectory::default(),
        valid_started: false,
        batch: 0,
        evaluated_batch: None,
    };
    run.trajectory.push(0, &run.state.alpha)?;
    run.restore()?;
    let result = run.epochs();
    run.finish(result)
}

/// A search while it runs.
pub(super) struct Run<'a> {
    pub(super) network: &'a dyn Network,
    pub(super) relaxed: Relaxed<'a>,
    pub(super) config: &'a SearchConfig,
    fingerprint: &'a Fingerprint,
    pub(super) sources: Sources<'a>,
    pub(super) observer: &'a mut dyn Observer,
    /// The folder of checkpoints.
    pub(super) folder: Option<PathBuf>,
    pub(super) state: State,
    stepper: Stepper<'a>,
    /// Steps, epochs and fingerprint of the checkpoint from which this run started, and the configuration with its
    /// statistics.
    restored: Option<(u64, usize, SearchConfig, Fingerprint)>,
    /// Steps whose reports were not read yet. State and validation stream include them, progress and trajectory do not.
    pending: Vec<Pending>,
    pub(super) progress: Progress,
    trajectory: Trajectory,
    valid_started: bool,
    /// The size of the latest training batch, for the estimate if memory runs out.
    batch: i64,
    /// The size of the batch that is being evaluated.
    pub(super) evaluated_batch: Option<i64>,
}

/// A step whose report was not read yet.
struct Pending {
    issued: Issued,
    lr: f64,
    /// The position of the validation stream before the step: pass and batch.
    valid_position: (u64, usize),
    seconds: f64,
}

impl Run<'_> {
    /// Resumes from the newest checkpoint. Only the number of epochs may have changed since it was written, and only
    /// grown; with `Resume::Force` also the data and the loss.
    fn restore(&mut self) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let found = checkpoint::checkpoints(folder)?;
        let Some(newest) = found.last() else { return Ok(()) };
        if !self.config.execution.resume.wanted() {
            return Err(Error::checkpoint(format!(
                "{} contains the checkpoints of a search; pass resume=True to continue it, or another checkpoint_dir",
                folder.display()
            )));
        }
        let (facts, other) = self.fingerprint.check(self.config, newest)?;
        if let Some(other) = other {
            self.warn(&format!("steps from here on use other data or another loss: {other}"))?;
        }
        let restored = checkpoint::load(newest, self.network)?;
        restored.restore_statistics(self.network)?;
        let threads = tch::get_num_threads();
        if restored.threads != threads {
            self.warn(&format!(
                "the checkpoint was written with {} threads and this run uses {threads}: the last bits of gradients will \
                 differ",
                restored.threads
            ))?;
        }
        let before = restored.config.optimisation.epochs;
        if before != self.config.optimisation.epochs {
            self.warn(&format!(
                "epochs rises from {before} to {}: the learning rate schedule is recomputed",
                self.config.optimisation.epochs
            ))?;
        }
        let mut config = self.config.clone();
        config.data.mean = restored.config.data.mean;
        config.data.std = restored.config.data.std;
        self.restored = Some((restored.progress.step, restored.progress.epoch, config, facts));
        self.state = restored.state;
        self.progress = restored.progress;
        self.trajectory = restored.trajectory;
        Ok(())
    }

    fn epochs(&mut self) -> Result<()> {
        let start = Event::Start {
            epochs: self.config.optimisation.epochs,
            first_epoch: self.progress.epoch,
            steps_per_epoch: self.sources.train.batches(),
        };
        self.observer.notify(&start)?;
        while self.progress.epoch < self.config.optimisation.epochs {
            self.epoch()?;
        }
        Ok(())
    }

    fn epoch(&mut self) -> Result<()> {
        let epoch = self.progress.epoch;
        let config = self.config;
        let lr = optim::cosine(
            config.optimisation.weight_lr,
            config.optimisation.weight_lr_min,
            epoch,
            config.optimisation.epochs,
        );
        self.relaxed.relaxations.begin_epoch(epoch, config.optimisation.epochs)?;
        self.sources.train.start(epoch as u64, self.progress.step_in_epoch)?;
        loop {
            let started = Instant::now();
            self.observer.poll()?;
            let Some(train) = self.sources.train.next()? else { break };
            self.batch = train.width();
            let valid_position = (self.progress.valid_pass, self.progress.valid_index);
            let valid = match epoch >= config.optimisation.arch_start_epoch {
                true => Some(self.next_valid()?),
                false => None,
            };
            let step = self.progress.step + self.pending.len() as u64 + 1;
            let copy_alpha =
                self.observer.wants(EventKind::Step) || Trajectory::wants_step(config.execution.record, step);
            let issued = self.stepper.issue(&mut self.state, (&train, valid.as_ref()), lr, copy_alpha);
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
            if let Some(warning) = self.stepper.take_warning() {
                self.warn(&warning)?;
            }
            if self.pending.len() >= config.execution.log_every || self.wants_checkpoint(step) {
                self.read_reports()?;
            }
        }
        self.read_reports()?;
        if self.progress.step_in_epoch == 0 {
            return Err(Error::data(
                "expected at least one training batch, got none: the data is empty or smaller than one batch",
            ));
        }
        self.end_epoch(lr)
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
        for (record, alphas) in &events {
            self.observer.notify(&Event::Step { record, alphas })?;
        }
        failure.map_or(Ok(()), Err)
    }

    /// Adds a good step to progress and trajectory. Returns its event if the observer wants it.
    fn accept(&mut self, pending: &Pending, outcome: &StepOutcome) -> Result<Option<(StepRecord, Tables)>> {
        self.progress.step += 1;
        self.progress.step_in_epoch += 1;
        self.progress.sums.add(outcome, pending.seconds);
        let Some(alpha) = &pending.issued.alpha else { return Ok(None) };
        let alpha = trajectory::values(alpha)?;
        let wanted = self.observer.wants(EventKind::Step);
        let alphas = wanted.then(|| trajectory::by_name(self.network.alphas(), &alpha)).transpose()?;
        if Trajectory::wants_step(self.config.execution.record, self.progress.step) {
            self.trajectory.push_values(self.progress.step, alpha);
        }
        let Some(alphas) = alphas else { return Ok(None) };
        let record = StepRecord {
            epoch: self.progress.epoch,
            step: self.progress.step - 1,
            step_in_epoch: self.progress.step_in_epoch - 1,
            steps_per_epoch: self.sources.train.batches(),
            train_loss: outcome.train_loss,
            valid_loss: outcome.valid_loss,
            train_accuracy: self.progress.sums.accuracy(),
            learning_rate: pending.lr,
        };
        Ok(Some((record, alphas)))
    }

    /// The next batch of the validation stream, which continues across steps and epochs.
    fn next_valid(&mut self) -> Result<Batch> {
        let progress = &mut self.progress;
        let valid = &mut *self.sources.valid;
        if !self.valid_started {
            valid.start(progress.valid_pass, progress.valid_index)?;
            self.valid_started = true;
        }
        if let Some(batch) = valid.next()? {
            progress.valid_index += 1;
            return Ok(batch);
        }
        valid.start(progress.valid_pass + 1, 0)?;
        let batch = valid.next()?.ok_or_else(|| {
            Error::data("expected at least one validation batch, got none: the data is empty or smaller than one batch")
        })?;
        (progress.valid_pass, progress.valid_index) = (progress.valid_pass + 1, 1);
        Ok(batch)
    }

    /// Records the current α unless this step is recorded already.
    pub(super) fn record_alpha(&mut self) -> Result<()> {
        match self.trajectory.steps.last() == Some(&self.progress.step) {
            true => Ok(()),
            false => self.trajectory.push(self.progress.step, &self.state.alpha),
        }
    }

    /// The configuration and the fingerprint of the latest steps: those of the checkpoint until this run does a step.
    fn identity(&self) -> (&SearchConfig, &Fingerprint) {
        match &self.restored {
            Some((step, epoch, config, facts)) if (*step, *epoch) == (self.progress.step, self.progress.epoch) => {
                (config, facts)
            }
            _ => (self.config, self.fingerprint),
        }
    }

    /// Writes a checkpoint if there is a folder for it.
    pub(super) fn save(&mut self) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let identity = self.identity();
        let path = checkpoint::save(folder, self.network, identity, &self.state, &self.progress, &self.trajectory)?;
        self.observer.notify(&Event::Checkpoint { path: &path })
    }

    fn warn(&mut self, message: &str) -> Result<()> {
        self.observer.notify(&Event::Warning { message })
    }

    /// Saves the last good state, and records its α.
    fn finish(mut self, result: Result<()>) -> Result<Outcome> {
        // A failure of a pending step comes before that of `result`.
        let result = self.read_reports().and(result);
        let (status, mut error) = match result {
            Ok(()) => (Status::Complete, None),
            Err(error) if error.kind == ErrorKind::Interrupted => (Status::Interrupted, None),
            Err(error) => {
                let peak = self.network.peak(self.config.optimisation.hypergradient);
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
        let alphas = trajectory::current(self.network.alphas(), &self.state.alpha)?;
        let genotype = arch::derive(&self.config.space, &alphas, None)?;
        let status = if error.is_some() { Status::Failed } else { status };
        let (config, fingerprint) = self.identity();
        let (config, fingerprint) = (config.clone(), fingerprint.clone());
        Ok(Outcome {
            status,
            error,
            state: self.state,
            trajectory: self.trajectory,
            history: self.progress.history,
            genotype,
            config,
            fingerprint,
        })
    }
}
