//! Events of a search, and the observer that receives them.

use std::collections::BTreeMap;
use std::path::Path;

use indexmap::IndexMap;
use ndarray::Array2;
use serde::{Deserialize, Deserializer, Serialize};

use crate::arch::{Architecture, Decision};
use crate::error::Result;

/// The measurements of one search step.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct StepRecord {
    /// The number of the epoch, from 0.
    pub epoch: usize,
    /// The number of the step in the whole search, from 0.
    pub step: u64,
    /// The number of the step in its epoch, from 0.
    pub step_in_epoch: usize,
    /// The number of steps per epoch; None if the data does not know it in advance.
    pub steps_per_epoch: Option<usize>,
    /// The training loss before the weight step.
    pub train_loss: f64,
    /// The validation loss at which α's gradient was computed; None if α did not move.
    pub valid_loss: Option<f64>,
    /// The share of the epoch's training examples so far that were classified correctly; None if the network does not
    /// predict classes.
    pub train_accuracy: Option<f64>,
    /// The learning rate of the weights.
    pub learning_rate: f64,
}

/// JSON has no NaN: a number that is not finite is written as null, and read as NaN.
pub(crate) fn nan_where_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// Measurements by name, in the order in which the network returns them.
pub type Metrics = IndexMap<String, f64>;

/// As [`nan_where_null`], for every metric.
fn metrics<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Metrics, D::Error> {
    let found = IndexMap::<String, Option<f64>>::deserialize(deserializer)?;
    Ok(found.into_iter().map(|(name, value)| (name, value.unwrap_or(f64::NAN))).collect())
}

/// The measurements of one epoch.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct EpochRecord {
    /// The number of the epoch, from 0.
    pub epoch: usize,
    /// The mean training loss of its steps.
    #[serde(deserialize_with = "nan_where_null")]
    pub train_loss: f64,
    /// The validation loss at its end.
    #[serde(deserialize_with = "nan_where_null")]
    pub valid_loss: f64,
    /// The mean training accuracy of its steps; None if the network does not predict classes.
    pub train_accuracy: Option<f64>,
    /// The validation accuracy at its end; None if the network does not predict classes.
    pub valid_accuracy: Option<f64>,
    /// The learning rate of the weights.
    pub learning_rate: f64,
    /// The mean entropy (nats) of the strengths of the rows of each table.
    pub entropy: BTreeMap<String, f64>,
    /// The number of skip connections (identities in a recurrent cell) in the architecture; None where no table has such
    /// a candidate.
    pub skip_connections: Option<usize>,
    /// Wall-clock time of the epoch.
    pub seconds: f64,
    /// What the network measured on the validation examples besides loss and accuracy; empty in files of earlier versions.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty", deserialize_with = "metrics")]
    pub metrics: Metrics,
    /// What the algorithm was and measured in this epoch: parameters that change, values of terms, curvature and the
    /// like, by name; empty for plain DARTS and in files of earlier versions.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty", deserialize_with = "metrics")]
    pub diagnostics: Metrics,
}

/// How a search ended.
#[derive(Serialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All epochs ran, or a decision ended it.
    Complete,
    /// The user stopped it.
    Interrupted,
    /// An error stopped it.
    Failed,
}

/// An event of a search.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// The search starts, or resumes from a checkpoint at `first_epoch`.
    Start {
        /// The number of epochs of the whole search.
        epochs: usize,
        /// The first epoch to run: 0 unless resumed.
        first_epoch: usize,
        /// The number of steps per epoch; None if the data does not know it in advance.
        steps_per_epoch: Option<usize>,
    },
    /// A search step ended.
    Step {
        /// Its measurements.
        record: &'a StepRecord,
        /// α after it, by table; NaN where masked.
        alphas: &'a [(String, Array2<f64>)],
        /// The mean mixing weights at this α, by table; 0 where masked.
        strengths: &'a [(String, Array2<f64>)],
    },
    /// An epoch ended.
    Epoch {
        /// Its measurements.
        record: &'a EpochRecord,
        /// What the selection picks after it.
        architecture: &'a Architecture,
        /// α after it, by table; NaN where masked.
        alphas: &'a [(String, Array2<f64>)],
        /// The mean mixing weights at this α, by table; 0 where masked.
        strengths: &'a [(String, Array2<f64>)],
        /// The decisions that were taken at its end, on what is above.
        decisions: &'a [Decision],
    },
    /// A checkpoint was written.
    Checkpoint {
        /// The path of the file.
        path: &'a Path,
    },
    /// A problem that does not stop the search.
    Warning {
        /// What the problem is and what to do.
        message: &'a str,
    },
}

/// The kinds of [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// [`Event::Start`].
    Start,
    /// [`Event::Step`].
    Step,
    /// [`Event::Epoch`].
    Epoch,
    /// [`Event::Checkpoint`].
    Checkpoint,
    /// [`Event::Warning`].
    Warning,
}

impl EventKind {
    /// All kinds.
    pub const ALL: [EventKind; 5] =
        [EventKind::Start, EventKind::Step, EventKind::Epoch, EventKind::Checkpoint, EventKind::Warning];

    /// The name of the kind, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            EventKind::Start => "start",
            EventKind::Step => "step",
            EventKind::Epoch => "epoch",
            EventKind::Checkpoint => "checkpoint",
            EventKind::Warning => "warning",
        }
    }
}

impl Event<'_> {
    /// The kind of the event.
    pub fn kind(&self) -> EventKind {
        match self {
            Event::Start { .. } => EventKind::Start,
            Event::Step { .. } => EventKind::Step,
            Event::Epoch { .. } => EventKind::Epoch,
            Event::Checkpoint { .. } => EventKind::Checkpoint,
            Event::Warning { .. } => EventKind::Warning,
        }
    }
}

/// Receives the events of a search.
pub trait Observer {
    /// Whether the observer wants events of this kind. The engine does not prepare unwanted step events, which cost a
    /// copy of α each.
    fn wants(&self, _kind: EventKind) -> bool {
        true
    }

    /// Receives one event; an error stops the search.
    fn observe(&mut self, event: &Event) -> Result<()>;

    /// Receives one event if its kind is wanted.
    fn notify(&mut self, event: &Event) -> Result<()> {
        if self.wants(event.kind()) { self.observe(event) } else { Ok(()) }
    }

    /// Called between batches, to check for signals; an error stops the search.
    fn poll(&mut self) -> Result<()> {
        Ok(())
    }
}
