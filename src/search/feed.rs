//! What a step of a search reads: its batches, and the learning rate of w.

use super::run::Run;
use crate::config::{Method, OptimisationConfig, RateSchedule};
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::optim;

/// What the next step reads.
pub(super) struct Prepared {
    pub train: Batch,
    pub valid: Option<Batch>,
    /// The learning rate of w.
    pub lr: f64,
    /// The number of the step, from 1.
    pub step: u64,
    /// The position of the validation stream before the step: pass and batch.
    pub valid_position: (u64, usize),
}

impl Run<'_> {
    /// Reads the batches of the next step; None at the end of the pass.
    pub(super) fn prepare(&mut self, epoch: usize) -> Result<Option<Prepared>> {
        self.observer.poll()?;
        let Some(train) = self.sources.train.next()? else { return Ok(None) };
        self.batch = train.width();
        let valid_position = (self.progress.valid_pass, self.progress.valid_index);
        let issued = self.pending.len();
        let lr = self.rate(epoch, self.progress.step_in_epoch + issued)?;
        let step = self.progress.step + issued as u64 + 1;
        let valid = self.arch_batch(&train, epoch, step)?;
        Ok(Some(Prepared { train, valid, lr, step, valid_position }))
    }

    /// The learning rate of w in a step of an epoch.
    pub(super) fn rate(&self, epoch: usize, step: usize) -> Result<f64> {
        let OptimisationConfig { weight_lr, weight_lr_min, epochs, .. } = self.config.optimisation;
        let within = match self.config.optimisation.weight_lr_schedule {
            RateSchedule::Epoch => 0.0,
            RateSchedule::Step => {
                let steps = self.sources.train.batches().ok_or_else(|| {
                    Error::config(
                        "`weight_lr_schedule` is \"step\", and the number of batches per epoch is unknown; give a loader \
                         with a length, or use weight_lr_schedule=\"epoch\"",
                    )
                })?;
                (step as f64 / steps as f64).min(1.0)
            }
        };
        Ok(optim::cosine(weight_lr, weight_lr_min, epoch as f64 + within, epochs))
    }

    /// The batch by which step `step`, counted from 1, moves α: the next one of the validation stream, or the training
    /// batch where α and w have one objective. None where α rests.
    pub(super) fn arch_batch(&mut self, train: &Batch, epoch: usize, step: u64) -> Result<Option<Batch>> {
        let options = &self.config.optimisation;
        let moves = options.relaxation.rule().learns()
            && epoch >= options.arch_start_epoch
            && (step - 1).is_multiple_of(options.arch_every as u64);
        if !moves {
            return Ok(None);
        }
        if options.hypergradient.method() == Method::SingleLevel {
            return Ok(Some(train.share()));
        }
        self.next_valid().map(Some)
    }

    /// The number of examples of a batch that moves α; 0 if it is the training batch.
    pub(super) fn own_valid(&self, valid: Option<&Batch>) -> i64 {
        let single = self.config.optimisation.hypergradient.method() == Method::SingleLevel;
        valid.filter(|_| !single).map_or(0, Batch::examples)
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
}
