//! The progress of a run: all of its state that is not a tensor.

use serde::{Deserialize, Serialize};

use super::step::stepper::StepOutcome;
use crate::event::{EpochRecord, nan_where_null};

/// The progress of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// The current epoch; equal to the number of epochs when the run is complete.
    pub epoch: usize,
    /// The number of completed steps of the current epoch.
    pub step_in_epoch: usize,
    /// The number of completed steps of the run.
    pub step: u64,
    /// The current pass over the validation stream.
    pub valid_pass: u64,
    /// The number of batches of that pass that were used.
    pub valid_index: usize,
    /// Sums over the current epoch.
    pub sums: EpochSums,
    /// The records of completed epochs.
    pub history: Vec<EpochRecord>,
}

/// Sums over the steps of an epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochSums {
    /// Σ loss · examples.
    #[serde(deserialize_with = "nan_where_null")]
    pub loss: f64,
    /// None if the network does not predict classes.
    pub correct: Option<i64>,
    pub examples: i64,
    pub seconds: f64,
}

impl EpochSums {
    pub fn add(&mut self, step: &StepOutcome, seconds: f64) {
        self.loss += step.train_loss * step.examples as f64;
        let before = if self.examples == 0 { Some(0) } else { self.correct };
        self.correct = before.zip(step.correct).map(|(sum, correct)| sum + correct);
        self.examples += step.examples;
        self.seconds += seconds;
    }

    pub fn mean_loss(&self) -> f64 {
        self.loss / self.examples as f64
    }

    pub fn accuracy(&self) -> Option<f64> {
        self.correct.map(|correct| correct as f64 / self.examples as f64)
    }
}

impl Progress {
    /// Completes the current epoch.
    pub fn finish_epoch(&mut self, record: EpochRecord) {
        self.history.push(record);
        self.epoch += 1;
        self.step_in_epoch = 0;
        self.sums = EpochSums::default();
    }
}
