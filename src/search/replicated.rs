//! What a run does on several ranks: equal beginnings, batches of known widths, and one writer.

use tch::Tensor;

use super::feed::Prepared;
use super::run::{Run, Sources};
use super::step::engine::{Carried, State};
use crate::config::Method;
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::params::copy;
use crate::ranks::Row;

impl Run<'_> {
    /// Gives every rank the weights, logits, moments and buffers of rank 0. Equal processors compute equal bits, so only
    /// the first time changes anything; others drift apart by rounding errors.
    pub(super) fn copy_first(&self) -> Result<()> {
        let ranks = self.relaxed.ranks;
        if ranks.alone() {
            return Ok(());
        }
        let (state, buffers) = (&self.state, self.network.buffers());
        let moved = [&state.w, &state.momentum, &state.alpha, &state.moments.exp_avg, &state.moments.exp_avg_sq];
        let buffers = buffers.map_or_else(Vec::new, |buffers| buffers.tensors());
        moved.into_iter().chain(buffers).try_for_each(|tensor| ranks.copy_first(tensor))
    }

    /// An error unless every rank begins at the same point.
    pub(super) fn check_beginning(&self, own: Result<()>) -> Result<()> {
        let (progress, decisions) = (&self.progress, self.decisions.len() as i64);
        let Sources { train, valid, .. } = &self.sources;
        let [train, valid] = [train.batches(), valid.batches()].map(|n| n.map_or(-1, |n| n as i64));
        let own_row = [progress.step as i64, progress.epoch as i64, decisions, train, valid, 0];
        let (_, all) = self.relaxed.ranks.exchange(own, |()| own_row)?;
        for (rank, row) in all.iter().enumerate() {
            if row[..3] != all[0][..3] {
                return Err(Error::checkpoint(format!(
                    "rank {rank} begins after {} steps and rank 0 after {}; give all ranks the same checkpoint_dir, on \
                     storage that they share",
                    row[0], all[0][0]
                )));
            }
            if row[3..] != all[0][3..] {
                return Err(Error::data(format!(
                    "rank {rank} has {} training and {} validation batches, and rank 0 {} and {}; give all ranks \
                     the same number, as a DistributedSampler does",
                    row[3], row[4], all[0][3], all[0][4]
                )));
            }
        }
        Ok(())
    }

    /// The batches of the next step, if every rank has some, with the widths of all shares.
    pub(super) fn agree_on(&mut self, prepared: Result<Option<Prepared>>) -> Result<Option<Prepared>> {
        let tell = |prepared: &Option<Prepared>| -> Row {
            let Some(Prepared { train, valid, .. }) = prepared else { return Row::default() };
            let (pass, index) = (self.progress.valid_pass as i64, self.progress.valid_index as i64);
            [1, train.width(), valid.as_ref().map_or(0, Batch::width), pass, index, 0]
        };
        let (prepared, all) = self.relaxed.ranks.exchange(prepared, tell)?;
        let Some(mut prepared) = prepared else { return Ok(None) };
        if all.iter().any(|row| row[0] == 0) {
            // Another rank has no more batches, so the validation batch counts as unused.
            (self.progress.valid_pass, self.progress.valid_index) = prepared.valid_position;
            self.valid_started = false;
            return Ok(None);
        }
        if let Some((rank, row)) = all.iter().enumerate().find(|(_, row)| row[3..] != all[0][3..]) {
            return Err(Error::data(format!(
                "rank {rank} is at batch {} of pass {} over its validation data, and rank 0 at batch {} of pass {}; give \
                 all ranks the same number of batches",
                row[4], row[3], all[0][4], all[0][3]
            )));
        }
        let widths = |column: usize| all.iter().map(move |row| row[column]);
        set_shares(&mut prepared.train, "training", widths(1))?;
        if let Some(valid) = &mut prepared.valid {
            set_shares(valid, "validation", widths(2))?;
            let optimisation = &self.config.optimisation;
            if optimisation.curvature_every.is_some() && optimisation.hypergradient.method() != Method::SingleLevel {
                self.last_valid = Some(valid.share());
            }
        }
        Ok(Some(prepared))
    }

    /// A validation batch with the widths of all shares.
    pub(super) fn agree_on_valid(&self, batch: Result<Option<Batch>>) -> Result<Option<Batch>> {
        let (mut batch, all) =
            self.relaxed.ranks.exchange(batch, |batch| [batch.as_ref().map_or(0, Batch::width), 0, 0, 0, 0, 0])?;
        if let Some(batch) = &mut batch {
            set_shares(batch, "validation", all.iter().map(|row| row[0]))?;
        }
        Ok(batch)
    }

    /// The hidden states of the sequences of all ranks, in their order.
    pub(super) fn carried_of_all(&self) -> Result<Carried> {
        let ranks = self.relaxed.ranks;
        let of_all = |own: &Option<Tensor>| -> Result<Option<Tensor>> {
            let Some(own) = own else { return Ok(None) };
            if ranks.alone() {
                return Ok(Some(own.shallow_clone()));
            }
            let sequences = self.config.data.batch_size.examples() as i64;
            let (first, count) = ranks.share().range(sequences);
            let units: Vec<i64> = own.size()[1..].to_vec();
            let size: Vec<i64> = [sequences].into_iter().chain(units).collect();
            let all = Tensor::f_zeros(size.as_slice(), (own.kind(), own.device()))?;
            all.f_narrow(0, first, count)?.f_copy_(own)?;
            ranks.sum(&all)?;
            Ok(Some(all))
        };
        let Carried { train, valid } = &self.state.carried;
        Ok(Carried { train: of_all(train)?, valid: of_all(valid)? })
    }

    /// A restored state with the hidden states of the own sequences.
    pub(super) fn own_share(&self, state: State) -> Result<State> {
        let own = |all: Tensor| -> Result<Tensor> {
            let (first, count) = self.relaxed.ranks.share().range(all.size()[0]);
            copy(&all.f_narrow(0, first, count)?)
        };
        let Carried { train, valid } = state.carried;
        let carried = Carried { train: train.map(own).transpose()?, valid: valid.map(own).transpose()? };
        Ok(State { carried, ..state })
    }

    /// What rank 0 writes, when it is written; None on other ranks.
    pub(super) fn written<T>(&self, write: impl FnOnce() -> Result<T>) -> Result<Option<T>> {
        let ranks = self.relaxed.ranks;
        ranks.agree(if ranks.rank() == 0 { write().map(Some) } else { Ok(None) })
    }
}

/// Notes the widths of the shares of all ranks; batch norm needs two examples on each.
fn set_shares(batch: &mut Batch, role: &str, widths: impl Iterator<Item = i64>) -> Result<()> {
    let widths: Vec<i64> = widths.collect();
    if widths.is_empty() {
        return Ok(());
    }
    if let Some((rank, width)) = widths.iter().enumerate().find(|(_, width)| **width < 2) {
        return Err(Error::data(format!(
            "rank {rank} of {} has {width} examples of a {role} batch, and needs at least 2; use a larger batch_size or \
             fewer ranks",
            widths.len()
        )));
    }
    batch.shares = Some(widths.into());
    Ok(())
}
