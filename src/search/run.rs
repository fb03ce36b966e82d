//! A whole search: epochs, schedules, evaluation, events, checkpoints. What a step does is the engine's.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::memory::{in_evaluation, with_estimate};
use super::progress::Progress;
use super::step::capture::Recorder;
use super::step::engine::{State, StepSettings};
use super::step::stepper::{Issued, StepOutcome, Stepper};
use super::trajectory::{self, Tables, Trajectory};
use crate::arch::{self, Genotype};
use crate::checkpoint;
use crate::config::SearchConfig;
use crate::data::{Batch, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EpochRecord, Event, Observer, Status, StepRecord, StopFlag};
use crate::nn::{Mode, Network};
use crate::optim;

/// Where the batches come from. Evaluation sees the validation examples in order.
pub struct Sources<'a> {
    /// For the weight steps; a pass an epoch.
    pub train: &'a mut dyn Source,
    /// For the α steps; passes run on across epochs.
    pub valid: &'a mut dyn Source,
    /// For the end of each epoch.
    pub evaluation: &'a mut dyn Source,
}

/// What a search leaves, whether it came to its end or not.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub status: Status,
    /// Why it failed.
    pub error: Option<Error>,
    /// The last good state.
    pub state: State,
    /// α over time; the last point is the last state.
    pub trajectory: Trajectory,
    /// A record an epoch.
    pub history: Vec<EpochRecord>,
    /// Derived from the last α.
    pub genotype: Genotype,
}

/// Runs a search from `initial`, or from the newest checkpoint where `config.execution.resume` asks for it. An `Err` is
/// a refusal before the first step; what happens later is in the outcome. Where there is a recorder, steps are recorded
/// and replayed.
pub fn run<'a>(
    network: &'a dyn Network,
    config: &'a SearchConfig,
    initial: State,
    sources: Sources<'a>,
    observer: &'a mut dyn Observer,
    stop: &'a StopFlag,
    recorder: Option<&'a dyn Recorder>,
) -> Result<Outcome> {
    let mut run = Run {
        network,
        config,
        sources,
        observer,
        stop,
        folder: config.execution.checkpoint_dir.as_ref().map(PathBuf::from),
        state: initial,
        stepper: Stepper::new(network, StepSettings::new(config), recorder)?,
        pending: Vec::new(),
        progress: Progress::default(),
        trajectory: Trajectory::default(),
        valid_started: false,
        batch: 0,
        evaluates: None,
    };
    run.trajectory.push(0, &run.state.alpha)?;
    run.restore()?;
    let result = run.epochs();
    run.finish(result)
}

struct Run<'a> {
    network: &'a dyn Network,
    config: &'a SearchConfig,
    sources: Sources<'a>,
    observer: &'a mut dyn Observer,
    stop: &'a StopFlag,
    folder: Option<PathBuf>,
    state: State,
    stepper: Stepper<'a>,
    /// Steps that were not looked at yet; state and validation stream are past them, progress and trajectory are not.
    pending: Vec<Pending>,
    progress: Progress,
    trajectory: Trajectory,
    valid_started: bool,
    /// Examples in the latest batch, for the estimate when memory runs out.
    batch: i64,
    /// Examples in the batch that is evaluated.
    evaluates: Option<i64>,
}

/// A step that was not looked at yet.
struct Pending {
    issued: Issued,
    lr: f64,
    /// Where the validation stream stood before it: pass and batch.
    place: (u64, usize),
    seconds: f64,
}

impl Run<'_> {
    /// Takes up the newest checkpoint. Only a larger number of epochs may have changed since it was written.
    fn restore(&mut self) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let found = checkpoint::checkpoints(folder)?;
        let Some(newest) = found.last() else { return Ok(()) };
        if !self.config.execution.resume {
            return Err(Error::checkpoint(format!(
                "{} already holds the checkpoints of a search; go on with it (resume=True) or name another folder",
                folder.display()
            )));
        }
        self.check_config(newest)?;
        let restored = checkpoint::load(newest, self.network)?;
        restored.restore_statistics(self.network)?;
        let threads = tch::get_num_threads();
        if restored.threads != threads {
            self.warn(&format!(
                "the checkpoint was written with {} threads, this run has {threads}: the last bits of gradients \
                 will differ",
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
        self.state = restored.state;
        self.progress = restored.progress;
        self.trajectory = restored.trajectory;
        Ok(())
    }

    fn check_config(&self, path: &Path) -> Result<()> {
        let theirs = checkpoint::load_config(path)?;
        let differs = |(field, ours, theirs): (String, String, String)| {
            format!("`{field}` is {ours}, the checkpoint has {theirs}")
        };
        let changes: Vec<String> = self
            .config
            .differences(&theirs)
            .into_iter()
            .filter(|(field, ..)| field != "epochs" || self.config.optimisation.epochs < theirs.optimisation.epochs)
            .map(differs)
            .collect();
        if changes.is_empty() {
            return Ok(());
        }
        Err(Error::checkpoint(format!(
            "{} belongs to another search: {}. Only a larger number of epochs may change on resume",
            path.display(),
            changes.join("; ")
        )))
    }

    fn epochs(&mut self) -> Result<()> {
        let start = Event::Start {
            epochs: self.config.optimisation.epochs,
            first_epoch: self.progress.epoch,
            steps_per_epoch: self.sources.train.batches(),
        };
        self.observer.observe(&start)?;
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
        self.sources.train.start(epoch as u64, self.progress.step_in_epoch)?;
        loop {
            let started = Instant::now();
            self.check_stop()?;
            let Some(train) = self.sources.train.next()? else { break };
            self.batch = train.width();
            let place = (self.progress.valid_pass, self.progress.valid_index);
            let valid = match epoch >= config.optimisation.arch_start_epoch {
                true => Some(self.next_valid()?),
                false => None,
            };
            let issued = self.stepper.issue(&mut self.state, &train, valid.as_ref(), lr);
            if issued.is_err() {
                // The step is undone, so its validation batch counts as unused.
                (self.progress.valid_pass, self.progress.valid_index) = place;
            }
            self.pending.push(Pending { issued: issued?, lr, place, seconds: started.elapsed().as_secs_f64() });
            if let Some(warning) = self.stepper.take_warning() {
                self.warn(&warning)?;
            }
            let issued = self.progress.step + self.pending.len() as u64;
            if self.pending.len() >= config.execution.log_every || self.wants_checkpoint(issued) {
                self.look()?;
            }
        }
        self.look()?;
        if self.progress.step_in_epoch == 0 {
            return Err(Error::data("the training loader gave no batch; it is empty or smaller than one batch"));
        }
        self.end_epoch(lr)
    }

    fn wants_checkpoint(&self, step: u64) -> bool {
        self.config.execution.checkpoint_every.is_some_and(|n| step.is_multiple_of(n as u64))
    }

    /// Looks at the steps since the last look: takes up those that were good and tells of them. The first that was not
    /// is the error; it and all after it have moved nothing.
    fn look(&mut self) -> Result<()> {
        let started = Instant::now();
        let mut told = Vec::with_capacity(self.pending.len());
        let mut failure = None;
        for pending in std::mem::take(&mut self.pending) {
            match pending.issued.outcome() {
                Ok(outcome) => told.push(self.take_up(&pending, &outcome)?),
                Err(error) => {
                    self.stepper.take_back(&mut self.state, &pending.issued)?;
                    (self.progress.valid_pass, self.progress.valid_index) = pending.place;
                    failure = Some(error);
                    break;
                }
            }
        }
        self.progress.sums.seconds += started.elapsed().as_secs_f64();
        // A listener may stop the search, so everything is taken up and kept before the first one hears of it.
        if failure.is_none() && !told.is_empty() && self.wants_checkpoint(self.progress.step) {
            self.save()?;
        }
        for (record, alphas) in &told {
            self.observer.observe(&Event::Step { record, alphas })?;
        }
        failure.map_or(Ok(()), Err)
    }

    /// Takes a good step into progress and trajectory.
    fn take_up(&mut self, pending: &Pending, outcome: &StepOutcome) -> Result<(StepRecord, Tables)> {
        let alpha = trajectory::values(&pending.issued.alpha)?;
        let alphas = trajectory::by_name(self.network.alphas(), &alpha)?;
        self.progress.step += 1;
        self.progress.step_in_epoch += 1;
        self.progress.sums.add(outcome, pending.seconds);
        if Trajectory::wants_step(self.config.execution.record, self.progress.step) {
            self.trajectory.push_values(self.progress.step, alpha);
        }
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
        Ok((record, alphas))
    }

    /// The next batch of the validation stream, which runs on across steps and epochs.
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
        let batch = valid
            .next()?
            .ok_or_else(|| Error::data("the validation loader gave no batch; it is empty or smaller than one batch"))?;
        (progress.valid_pass, progress.valid_index) = (progress.valid_pass + 1, 1);
        Ok(batch)
    }

    fn end_epoch(&mut self, lr: f64) -> Result<()> {
        let started = Instant::now();
        let epoch = self.progress.epoch;
        let (valid_loss, valid_accuracy) = self.evaluate(epoch)?;
        let alphas = trajectory::current(self.network.alphas(), &self.state.alpha)?;
        let genotype = arch::derive(&self.config.space, &alphas, None)?;
        let sums = self.progress.sums;
        let record = EpochRecord {
            epoch,
            train_loss: sums.mean_loss(),
            valid_loss,
            train_accuracy: sums.accuracy(),
            valid_accuracy,
            learning_rate: lr,
            entropy: alphas.iter().map(|(name, table)| (name.clone(), arch::entropy(table.view()))).collect(),
            skip_connections: genotype.skip_connections(),
            seconds: sums.seconds + started.elapsed().as_secs_f64(),
        };
        if self.trajectory.steps.last() != Some(&self.progress.step) {
            self.trajectory.push(self.progress.step, &self.state.alpha)?;
        }
        self.progress.finish_epoch(record.clone());
        if self.folder.is_some() {
            self.save()?;
        }
        self.observer.observe(&Event::Epoch { record: &record, genotype: &genotype, alphas: &alphas })
    }

    /// Mean loss and accuracy over the validation examples, with the running statistics.
    fn evaluate(&mut self, epoch: usize) -> Result<(f64, f64)> {
        let _guard = tch::no_grad_guard();
        let (mut loss, mut correct, mut examples, mut carried) = (0.0, 0, 0, None);
        self.sources.evaluation.start(epoch as u64, 0)?;
        while let Some(mut batch) = self.sources.evaluation.next()? {
            self.check_stop()?;
            batch.carried = carried.filter(|_| !batch.begins);
            let n = batch.examples();
            self.evaluates = Some(batch.width());
            let pass = self.network.loss(&self.state.w, &self.state.alpha, &batch, Mode::Evaluation)?;
            loss += pass.value.f_double_value(&[])? * n as f64;
            correct += pass.correct.f_int64_value(&[])?;
            examples += n;
            carried = pass.carried;
        }
        self.evaluates = None;
        if examples == 0 {
            return Err(Error::data("the validation loader gave no batch for evaluation; it is empty"));
        }
        Ok((loss / examples as f64, correct as f64 / examples as f64))
    }

    fn check_stop(&mut self) -> Result<()> {
        self.observer.poll()?;
        match self.stop.is_set() {
            true => Err(Error::new(ErrorKind::Interrupted, "the search was asked to stop")),
            false => Ok(()),
        }
    }

    fn save(&mut self) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let path = checkpoint::save(folder, self.network, self.config, &self.state, &self.progress, &self.trajectory)?;
        self.observer.observe(&Event::Checkpoint { path: &path })
    }

    fn warn(&mut self, message: &str) -> Result<()> {
        self.observer.observe(&Event::Warning { message })
    }

    /// Keeps what there is: the last good state goes to a checkpoint, the last α into the trajectory.
    fn finish(mut self, result: Result<()>) -> Result<Outcome> {
        // What went wrong in a step that was not looked at yet came first.
        let result = self.look().and(result);
        let (status, mut error) = match result {
            Ok(()) => (Status::Complete, None),
            Err(error) if error.kind == ErrorKind::Interrupted => (Status::Interrupted, None),
            Err(error) => {
                let peak = self.network.peak(self.config.optimisation.hypergradient);
                let told = match self.evaluates {
                    Some(batch) => in_evaluation(error, batch),
                    None => with_estimate(error, peak, self.batch),
                };
                (Status::Failed, Some(told))
            }
        };
        if status != Status::Complete {
            // Before its first step there is nothing to go on with, and the folder stays free for another try.
            if self.progress.step > 0
                && let Err(unsaved) = self.save()
                && error.is_none()
            {
                error = Some(unsaved);
            }
            if self.trajectory.steps.last() != Some(&self.progress.step) {
                self.trajectory.push(self.progress.step, &self.state.alpha)?;
            }
        }
        let alphas = trajectory::current(self.network.alphas(), &self.state.alpha)?;
        let genotype = arch::derive(&self.config.space, &alphas, None)?;
        let status = if error.is_some() { Status::Failed } else { status };
        Ok(Outcome {
            status,
            error,
            state: self.state,
            trajectory: self.trajectory,
            history: self.progress.history,
            genotype,
        })
    }
}
