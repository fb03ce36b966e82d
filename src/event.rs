//! What the engine says as it runs, who listens, and how it is asked to stop.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ndarray::Array2;
use serde::{Deserialize, Deserializer, Serialize};

use crate::arch::Genotype;
use crate::error::Result;

/// What one search step measured.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct StepRecord {
    /// The epoch, from 0.
    pub epoch: usize,
    /// The step in the whole search, from 0.
    pub step: u64,
    /// The step in its epoch, from 0.
    pub step_in_epoch: usize,
    /// Steps of an epoch, where the data tell it beforehand.
    pub steps_per_epoch: Option<usize>,
    /// The training loss before the step of the weights.
    pub train_loss: f64,
    /// The validation loss where α's gradient was taken; none while α is frozen.
    pub valid_loss: Option<f64>,
    /// The share of the epoch's training examples so far that were classified correctly.
    pub train_accuracy: f64,
    /// The learning rate of the weights.
    pub learning_rate: f64,
}

/// JSON knows no NaN: a number that is not finite is written as null, and read as NaN.
pub(crate) fn nan_where_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// What one epoch measured.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct EpochRecord {
    /// The epoch, from 0.
    pub epoch: usize,
    /// The mean training loss of its steps.
    #[serde(deserialize_with = "nan_where_null")]
    pub train_loss: f64,
    /// The validation loss at its end.
    #[serde(deserialize_with = "nan_where_null")]
    pub valid_loss: f64,
    /// The mean training accuracy of its steps.
    pub train_accuracy: f64,
    /// The validation accuracy at its end.
    pub valid_accuracy: f64,
    /// The learning rate of the weights.
    pub learning_rate: f64,
    /// Per table of α, the mean entropy (nats) of its rows' softmax.
    pub entropy: BTreeMap<String, f64>,
    /// Skip connections (identities in a recurrent cell) in the genotype of this moment.
    pub skip_connections: usize,
    /// Wall-clock time of the epoch.
    pub seconds: f64,
}

/// How a search ended.
#[derive(Serialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All epochs ran.
    Complete,
    /// The user stopped it.
    Interrupted,
    /// An error stopped it.
    Failed,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// The search begins, or goes on from a checkpoint at `first_epoch`.
    Start {
        /// Epochs of the whole search.
        epochs: usize,
        /// The epoch it begins with: 0 unless resumed.
        first_epoch: usize,
        /// Steps of an epoch, where the data tell it beforehand.
        steps_per_epoch: Option<usize>,
    },
    /// A search step ended.
    Step {
        /// What it measured.
        record: &'a StepRecord,
        /// α after it, by table.
        alphas: &'a [(String, Array2<f64>)],
    },
    /// An epoch ended.
    Epoch {
        /// What it measured.
        record: &'a EpochRecord,
        /// The genotype α stands for now.
        genotype: &'a Genotype,
        /// α after it, by table.
        alphas: &'a [(String, Array2<f64>)],
    },
    /// A checkpoint was written.
    Checkpoint {
        /// Where it lies.
        path: &'a Path,
    },
    /// Something the user should know, though the search goes on.
    Warning {
        /// What it is and what to do.
        message: &'a str,
    },
}

/// Listens to a search.
pub trait Observer {
    /// Hears one event; an error stops the search.
    fn observe(&mut self, event: &Event) -> Result<()>;

    /// Asked between batches; an error stops the search. Where signals are looked at.
    fn poll(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A request to stop, shared between threads; the engine looks at it once a step.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Asks the search to stop.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether a stop was asked for.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
