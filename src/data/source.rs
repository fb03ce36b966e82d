//! Streams of batches, and what each is used for.

use super::Batch;
use crate::error::Result;

/// What the batches of a source are used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The weight step: shuffled, augmented, without a partial last batch.
    Train,
    /// The α step: like the weight step, from a stream of its own.
    Valid,
    /// Evaluation: in order, not augmented, with the partial last batch.
    Evaluation,
}

impl Role {
    /// The name that random streams and errors use.
    pub(super) fn name(self) -> &'static str {
        match self {
            Role::Train => "train",
            Role::Valid => "valid",
            Role::Evaluation => "evaluation",
        }
    }
}

/// A stream of passes over a set of examples. A pass depends on its number only, never on the passes before it:
/// starting pass 7 gives what an uninterrupted run sees as pass 7.
pub trait Source {
    /// The number of batches in a pass, if known.
    fn batches(&self) -> Option<usize>;
    /// Starts pass `index` without its first `skip` batches.
    fn start(&mut self, index: u64, skip: usize) -> Result<()>;
    /// The next batch; `None` at the end of the pass.
    fn next(&mut self) -> Result<Option<Batch>>;
}
