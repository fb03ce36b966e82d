//! Checkpoints of a run: writing them, resuming from them, and the states that a roll back returns to.

use super::fingerprint::Fingerprint;
use super::run::Run;
use super::step::engine::Carried;
use crate::checkpoint::{self, Contents, Restored};
use crate::config::SearchConfig;
use crate::decide::Stop;
use crate::error::{Error, Result};
use crate::event::Event;

impl Run<'_> {
    /// Resumes from the newest checkpoint. Only the number of epochs may have changed since it was written, and only
    /// grown; with `Resume::Force` also the data and the loss.
    pub(super) fn restore(&mut self) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let found = checkpoint::checkpoints(folder)?;
        let Some(newest) = found.last() else { return Ok(()) };
        if !self.config.execution.resume.wanted() {
            return Err(Error::checkpoint(format!(
                "{} contains the checkpoints of a search; pass resume=True to continue it, or another checkpoint_dir",
                folder.display()
            )));
        }
        let (facts, other) = self.search.fingerprint.check(self.config, newest)?;
        if let Some(other) = other {
            self.warn(&format!("steps from here on use other data or another loss: {other}"))?;
        }
        let restored = checkpoint::load(newest, self.network, self.relaxed.relaxations.tables())?;
        restored.restore_buffers(self.network)?;
        let threads = tch::get_num_threads();
        if restored.threads != threads {
            self.warn(&format!(
                "the checkpoint was written with {} threads and this run uses {threads}: the last bits of gradients will \
                 differ",
                restored.threads
            ))?;
        }
        let ranks = self.relaxed.ranks.count();
        if restored.ranks != ranks {
            self.warn(&format!(
                "the checkpoint was written by {} and this search has {ranks}: batch norm uses different parts of a batch",
                if restored.ranks == 1 { "1 process".to_owned() } else { format!("{} ranks", restored.ranks) }
            ))?;
        }
        self.decisions = restored.decisions;
        let mut config = self.config.clone();
        let before = restored.config.optimisation.epochs;
        let epochs = &mut config.optimisation.epochs;
        if before != *epochs && self.stopped() {
            let done = restored.progress.epoch;
            let message = format!(
                "a decision stopped this search after {done} epochs; `epochs` of {epochs} instead of {before} does not continue it"
            );
            *epochs = before;
            self.warn(&message)?;
        } else if before != *epochs {
            self.warn(&format!(
                "epochs rises from {before} to {epochs}: the learning rate and all schedules are recomputed"
            ))?;
        }
        config.data.mean = restored.config.data.mean;
        config.data.std = restored.config.data.std;
        self.restored = Some((restored.progress.step, restored.progress.epoch, config, facts));
        self.state = self.own_share(restored.state)?;
        self.progress = restored.progress;
        self.trajectory = restored.trajectory;
        // A search that a decision stopped selects its result after its last checkpoint.
        let is_result = self.progress.epoch >= before;
        self.selected = restored.selection.map(|architecture| (architecture, is_result));
        self.set_restrictions(restored.restrictions)?;
        // Late decisions and a late selection see the numbers of the latest epoch, as those of a whole run do.
        self.set_numbers(self.progress.latest_epoch())
    }

    /// The configuration and the fingerprint of the latest steps: those of the checkpoint until this run does a step.
    pub(super) fn identity(&self) -> (&SearchConfig, &Fingerprint) {
        match &self.restored {
            Some((step, epoch, config, facts)) if (*step, *epoch) == (self.progress.step, self.progress.epoch) => {
                (config, facts)
            }
            _ => (self.config, self.search.fingerprint),
        }
    }

    /// Writes a checkpoint if there is a folder for it.
    pub(super) fn save(&mut self) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        if self.state.carried.train.is_some() && !self.relaxed.ranks.connected() {
            // The hidden states of the others are lost; the last checkpoint stays.
            return Ok(());
        }
        let carried = self.carried_of_all()?;
        let written = self.written(|| checkpoint::save(folder, &self.contents(&carried)))?;
        written.map_or(Ok(()), |path| self.observer.notify(&Event::Checkpoint { path: &path }))
    }

    fn contents<'c>(&'c self, carried: &'c Carried) -> Contents<'c> {
        let (config, fingerprint) = self.identity();
        Contents {
            network: self.network,
            config,
            fingerprint,
            state: &self.state,
            carried,
            ranks: self.relaxed.ranks.count(),
            progress: &self.progress,
            trajectory: &self.trajectory,
            restrictions: &self.restrictions,
            decisions: &self.decisions,
            selection: self.selected.as_ref().map(|(architecture, _)| architecture),
        }
    }

    /// The largest number of epochs by which a decider may return.
    fn keeps(&self) -> usize {
        let every = self.config.optimisation.curvature_every;
        let keeps = |decider: &Stop| decider.rule().keeps(&decider.at(0, 1), every);
        self.search.deciders.iter().map(keeps).max().unwrap_or(0)
    }

    /// Keeps the state between two epochs for roll backs: in the folder, where a resumed search finds it, or in memory.
    pub(super) fn keep_state(&mut self) -> Result<()> {
        let (keeps, epoch) = (self.keeps(), self.progress.epoch);
        let between = epoch > 0 && self.progress.step_in_epoch == 0 && !self.progress.undecided;
        if keeps == 0 || !between {
            return Ok(());
        }
        let carried = self.carried_of_all()?;
        let Some(folder) = &self.folder else {
            self.kept.insert(epoch, checkpoint::bytes(&self.contents(&carried))?);
            self.kept.retain(|kept, _| checkpoint::is_kept(*kept, epoch, keeps));
            return Ok(());
        };
        self.written(|| checkpoint::keep(folder, &self.contents(&carried), keeps)).map(drop)
    }

    /// The state after `left` completed epochs, at the end of `epoch`.
    pub(super) fn state_after(&self, left: usize, epoch: usize) -> Result<Restored> {
        let (keeps, tables) = (self.keeps(), self.relaxed.relaxations.tables());
        // A roll back discards later states, so the next one may find fewer.
        let mut kept: Vec<usize> = match &self.folder {
            Some(folder) => checkpoint::kept_epochs(folder)?,
            None => self.kept.keys().copied().collect(),
        };
        kept.retain(|kept| *kept <= epoch && kept + keeps > epoch);
        if !kept.contains(&left) {
            let kept = match kept[..] {
                [] => "no earlier state is kept".to_owned(),
                _ => format!("the states that are kept are those after {kept:?} epochs"),
            };
            return Err(Error::config(format!("{kept} (`keeps` of the deciders is {keeps})")));
        }
        match (&self.folder, self.kept.get(&left)) {
            (Some(folder), _) => checkpoint::load(&checkpoint::kept(folder, left), self.network, tables),
            (None, Some(bytes)) => checkpoint::read(bytes, self.network, tables),
            (None, None) => Err(Error::engine(format!("the state after {left} epochs was not kept"))),
        }
    }

    /// Returns to an earlier state. Captured steps hold the tensors, so their values are replaced.
    pub(super) fn return_to(&mut self, earlier: Restored) -> Result<()> {
        let _guard = tch::no_grad_guard();
        earlier.restore_buffers(self.network)?;
        let Restored { state, progress, trajectory, .. } = earlier;
        let state = self.own_share(state)?;
        let (live, moments, before) = (&mut self.state, &state.moments, &state);
        for (live, before) in [
            (&mut live.w, &before.w),
            (&mut live.momentum, &before.momentum),
            (&mut live.alpha, &before.alpha),
            (&mut live.moments.exp_avg, &moments.exp_avg),
            (&mut live.moments.exp_avg_sq, &moments.exp_avg_sq),
        ] {
            live.f_copy_(before)?;
        }
        let carried =
            [(&mut live.carried.train, &before.carried.train), (&mut live.carried.valid, &before.carried.valid)];
        for (live, before) in carried {
            match (live, before) {
                (Some(live), Some(before)) => live.f_copy_(before)?,
                // The stream had not begun.
                (Some(live), None) => drop(live.f_zero_()?),
                (None, _) => {}
            }
        }
        (self.state.step, self.state.moments.step) = (state.step, state.moments.step);
        (self.progress, self.trajectory) = (progress, trajectory);
        self.valid_started = false;
        self.last_valid = None;
        self.set_numbers(self.progress.latest_epoch())
    }
}
