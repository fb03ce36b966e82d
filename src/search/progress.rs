//! The progress of a run: all of its state that is not a tensor.

use indexmap::IndexMap;
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
    /// Whether the decisions at the end of the latest completed epoch are still to be taken: they failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undecided: bool,
}

/// Sums over the steps of an epoch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochSums {
    /// Σ loss · examples.
    #[serde(deserialize_with = "nan_where_null")]
    pub loss: f64,
    /// None if the network does not predict classes.
    pub correct: Option<f64>,
    pub examples: i64,
    pub seconds: f64,
    /// Sum and number of what else steps measured, by name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub measured: IndexMap<String, (f64, u64)>,
}

impl EpochSums {
    pub fn add(&mut self, step: &StepOutcome, seconds: f64) {
        self.loss += step.train_loss * step.examples as f64;
        let before = if self.examples == 0 { Some(0.0) } else { self.correct };
        self.correct = before.zip(step.correct).map(|(sum, correct)| sum + correct);
        self.examples += step.examples;
        self.seconds += seconds;
        for (name, value) in &step.measured {
            let (sum, count) = self.measured.entry((*name).to_string()).or_default();
            (*sum, *count) = (*sum + value, *count + 1);
        }
    }

    /// The means of what else steps measured.
    pub fn means(&self) -> impl Iterator<Item = (String, f64)> {
        self.measured.iter().map(|(name, (sum, count))| (name.clone(), sum / *count as f64))
    }

    pub fn mean_loss(&self) -> f64 {
        self.loss / self.examples as f64
    }

    pub fn accuracy(&self) -> Option<f64> {
        self.correct.map(|correct| correct / self.examples as f64)
    }
}

impl Progress {
    /// The epoch of the latest step; 0 before the first.
    pub fn latest_epoch(&self) -> usize {
        if self.step_in_epoch > 0 { self.epoch } else { self.epoch.saturating_sub(1) }
    }

    /// The epoch of the latest of `step` completed steps if all epochs have as many steps, 0 before the first: for
    /// trajectories of earlier versions.
    pub fn epoch_of(&self, step: u64) -> usize {
        let each = (self.step - self.step_in_epoch as u64).checked_div(self.epoch as u64).unwrap_or(0);
        let epoch = step.saturating_sub(1).checked_div(each).unwrap_or(0);
        self.latest_epoch().min(epoch as usize)
    }

    /// Completes the current epoch, whose decisions are then to be taken.
    pub fn finish_epoch(&mut self, record: EpochRecord) {
        self.history.push(record);
        self.epoch += 1;
        self.undecided = true;
        self.step_in_epoch = 0;
        self.sums = EpochSums::default();
    }
}
