//! How far a run has come: all of its state that is not a tensor.

use serde::{Deserialize, Serialize};

use super::step::stepper::StepOutcome;
use crate::event::{EpochRecord, nan_where_null};

/// Where a run stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// The epoch under way; equal to the number of epochs when the run is complete.
    pub epoch: usize,
    /// Completed steps of the epoch under way.
    pub step_in_epoch: usize,
    /// Completed steps of the run.
    pub step: u64,
    /// Pass over the validation stream.
    pub valid_pass: u64,
    /// Batches of that pass already used.
    pub valid_index: usize,
    /// Sums over the epoch under way.
    pub sums: EpochSums,
    /// Records of the epochs completed.
    pub history: Vec<EpochRecord>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochSums {
    /// Σ loss · examples.
    #[serde(deserialize_with = "nan_where_null")]
    pub loss: f64,
    pub correct: i64,
    pub examples: i64,
    pub seconds: f64,
}

impl EpochSums {
    pub fn add(&mut self, step: &StepOutcome, seconds: f64) {
        self.loss += step.train_loss * step.examples as f64;
        self.correct += step.correct;
        self.examples += step.examples;
        self.seconds += seconds;
    }

    pub fn mean_loss(&self) -> f64 {
        self.loss / self.examples as f64
    }

    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.examples as f64
    }
}

impl Progress {
    /// Closes the epoch under way.
    pub fn finish_epoch(&mut self, record: EpochRecord) {
        self.history.push(record);
        self.epoch += 1;
        self.step_in_epoch = 0;
        self.sums = EpochSums::default();
    }
}
