//! The end of an epoch: evaluation on the validation examples, and the record of the epoch.

use std::time::Instant;

use ndarray::Array2;

use super::curvature;
use super::run::Run;
use super::select::AtSelection;
use super::trajectory;
use crate::arch::{AUXILIARY_SKIP, Architecture, LogitTable, TableRole, entropy_of};
use crate::config::{OptimisationConfig, SearchConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EpochRecord, Event, Metrics, Status};
use crate::nn::{Mode, Parts};
use crate::relaxation::Tables;
use crate::schedule::Schedule;

/// What readers see at the end of an epoch.
pub(super) struct Seen {
    pub alphas: Tables,
    pub strengths: Tables,
    pub architecture: Architecture,
}

impl Run<'_> {
    /// Evaluates, records and saves the current epoch, whose learning rate was `lr`.
    pub(super) fn end_epoch(&mut self, lr: f64) -> Result<()> {
        let started = Instant::now();
        let epoch = self.progress.epoch;
        self.copy_first()?;
        let (valid_loss, valid_accuracy, metrics) = self.evaluate(epoch)?;
        let seen = self.look(epoch)?;
        let tables = self.relaxed.relaxations.tables();
        // The strengths of weighted edges are not shares of 1.
        let weighted = tables.iter().any(|table| table.role == TableRole::EdgeWeights);
        let shares = self.config.optimisation.relaxation.rule().shares() && !weighted;
        let entropy = |(table, (name, strengths)): (&LogitTable, &(String, Array2<f64>))| {
            (table.role == TableRole::Candidates).then(|| (name.clone(), entropy_of(strengths.view(), shares)))
        };
        let mut diagnostics = self.diagnostics(epoch)?;
        let curvature = self.curvature(epoch);
        diagnostics.extend(self.relaxed.ranks.or_leave(curvature)?.map(|value| (curvature::NAME.to_string(), value)));
        let sums = &self.progress.sums;
        let record = EpochRecord {
            epoch,
            train_loss: sums.mean_loss(),
            valid_loss,
            train_accuracy: sums.accuracy(),
            valid_accuracy,
            learning_rate: lr,
            entropy: tables.iter().zip(&seen.strengths).filter_map(entropy).collect(),
            skip_connections: seen.architecture.skip_connections(tables),
            seconds: sums.seconds + started.elapsed().as_secs_f64(),
            metrics,
            diagnostics,
        };
        self.record_alpha()?;
        self.progress.finish_epoch(record.clone());
        let decisions = self.decide(epoch, &seen)?;
        let Seen { alphas, strengths, architecture } = &seen;
        let record = &record;
        self.observer.notify(&Event::Epoch { record, architecture, alphas, strengths, decisions: &decisions })
    }

    /// What the algorithm was and measured in an epoch, by name.
    fn diagnostics(&self, epoch: usize) -> Result<Metrics> {
        let SearchConfig { network, optimisation, .. } = self.identity().0;
        let OptimisationConfig { relaxation, perturbation, weight_decay, epochs, .. } = optimisation;
        let of_perturbation = perturbation.iter().flat_map(|perturbation| perturbation.scheduled(epoch, *epochs));
        let dropped = [("drop_path", network.drop_path), ("skip_dropout", network.skip_dropout)];
        let dropped = dropped.into_iter().filter(|(_, p)| *p != Schedule::Constant(0.0));
        let decay = Some(("weight_decay", *weight_decay)).filter(|(_, decay)| decay.is_scheduled());
        let auxiliary_skip = network.auxiliary_skip.map(|weight| (AUXILIARY_SKIP, weight));
        let numbers = auxiliary_skip.into_iter().chain(dropped).chain(decay);
        let numbers = numbers.map(|(name, number)| (name, number.at(epoch, *epochs)));
        let scheduled = relaxation.scheduled(epoch, *epochs).into_iter().chain(of_perturbation).chain(numbers);
        let costs = self.search.terms.map(|terms| terms.costs(self.relaxed.relaxations, &self.state.alpha));
        let scheduled = scheduled.map(|(name, value)| (name.to_string(), value));
        Ok(scheduled.chain(self.progress.sums.means()).chain(costs.transpose()?.unwrap_or_default()).collect())
    }

    /// What readers see of the current α in an epoch.
    pub(super) fn look(&mut self, epoch: usize) -> Result<Seen> {
        let alpha = trajectory::values(&self.state.alpha)?;
        let strengths = self.strengths(epoch, &alpha);
        let last = epoch + 1 == self.config.optimisation.epochs;
        let architecture = self.select(&strengths, last, true)?;
        Ok(Seen { alphas: self.restrictions.shown(&alpha), strengths, architecture })
    }

    /// The mean mixing weights at flat α in an epoch.
    pub(super) fn strengths(&self, epoch: usize, alpha: &[f64]) -> Tables {
        let OptimisationConfig { relaxation, epochs, .. } = &self.identity().0.optimisation;
        self.restrictions.strengths(relaxation, (epoch, *epochs), alpha)
    }

    /// What the selection picks from the current α, whose strengths these are; `last`: as the result of the search. `polls`:
    /// whether the user can interrupt it.
    pub(super) fn select(&mut self, strengths: &Tables, last: bool, polls: bool) -> Result<Architecture> {
        if let Some((selected, _)) = self.selected.as_ref().filter(|(_, is_result)| *is_result || !last) {
            return Ok(selected.clone());
        }
        let observer = &mut *self.observer;
        let selected = self.search.select.select(&mut AtSelection {
            network: self.network,
            relaxed: self.relaxed,
            state: &self.state,
            restrictions: &self.restrictions,
            strengths,
            train: &mut *self.sources.train,
            evaluation: &mut *self.sources.evaluation,
            pass: self.progress.latest_epoch() as u64,
            seed: self.config.optimisation.seed,
            last,
            poll: &mut || if polls { observer.poll() } else { Ok(()) },
        })?;
        self.selected = Some((selected.clone(), last));
        Ok(selected)
    }

    /// What the selection picks from flat α at the end of a search with this status, which becomes "interrupted" if the
    /// user interrupts the selection.
    pub(super) fn result(&mut self, alpha: &[f64], status: &mut Status) -> Result<Architecture> {
        let strengths = self.strengths(self.progress.latest_epoch(), alpha);
        let complete = *status == Status::Complete;
        match self.select(&strengths, complete, complete) {
            Err(failure) if failure.kind == ErrorKind::Interrupted => *status = Status::Interrupted,
            selected => return selected,
        }
        self.select(&strengths, false, false)
    }

    /// The mean loss, the accuracy if the network predicts classes, and what else the network measures, on the validation
    /// examples, with running statistics.
    fn evaluate(&mut self, epoch: usize) -> Result<(f64, Option<f64>, Metrics)> {
        let _guard = tch::no_grad_guard();
        let ranks = self.relaxed.ranks;
        let swept = self.sweep(epoch);
        let (loss, correct, examples) = ranks.agree(swept)?;
        self.evaluated_batch = None;
        let own = [loss, correct.unwrap_or(0.0), f64::from(u8::from(correct.is_none())), examples as f64];
        let [loss, correct, without, examples] = ranks.sum_numbers(own)?;
        if examples == 0.0 {
            return Err(Error::data("expected at least one validation batch for evaluation, got none"));
        }
        let metrics = ranks.agree(self.network.measured())?;
        Ok((loss / examples, (without == 0.0).then_some(correct / examples), metrics))
    }

    /// Sums over the own share of the validation examples: losses, correct predictions and examples.
    fn sweep(&mut self, epoch: usize) -> Result<(f64, Option<f64>, i64)> {
        let (mut loss, mut correct, mut examples, mut carried) = (0.0, Some(0.0), 0, None);
        // A resumed search may begin here.
        self.network.draw(self.state.step, &Parts::default())?;
        self.network.begin_evaluation(self.state.step)?;
        let m = self.relaxed.mean(&self.state.alpha)?;
        self.sources.evaluation.start(epoch as u64, 0)?;
        let share = self.relaxed.ranks.share();
        let mut index = 0;
        while let Some(mut batch) = self.sources.evaluation.next()? {
            self.observer.poll()?;
            self.network.begin_batch(index * share.ranks as u64 + share.rank as u64)?;
            index += 1;
            if batch.width() == 0 {
                continue;
            }
            batch.carried = carried.filter(|_| !batch.begins);
            let n = batch.examples();
            self.evaluated_batch = Some(batch.width());
            let pass = self.network.loss(&self.state.w, &m, &batch, Mode::Evaluation)?;
            loss += pass.value.f_double_value(&[])? * n as f64;
            let found = pass.correct.map(|correct| correct.f_double_value(&[])).transpose()?;
            correct = correct.zip(found).map(|(sum, found)| sum + found);
            examples += n;
            carried = pass.carried;
        }
        Ok((loss, correct, examples))
    }
}
