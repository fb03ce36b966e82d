//! Batches and where they come from.

mod arrays;
mod augment;
mod check;

use tch::Tensor;

use crate::error::Result;

pub use arrays::{ArraySource, Arrays, Role};
pub use augment::Augmentation;
pub use check::{Expected, check_labels};

/// One batch: inputs [N, …] in the network's dtype, targets [N] int64, both on the network's device.
#[derive(Debug)]
pub struct Batch {
    /// [N, …] in the dtype of the network.
    pub inputs: Tensor,
    /// [N] int64.
    pub targets: Tensor,
}

/// A stream of passes over a set of examples. A pass is named by its number, never by history: starting pass
/// 7 gives what an uninterrupted run would have seen as pass 7.
pub trait Source {
    /// Batches in a pass, where that is known.
    fn batches(&self) -> Option<usize>;
    /// Begins pass `index`, leaving out its first `skip` batches.
    fn start(&mut self, index: u64, skip: usize) -> Result<()>;
    /// The next batch; `None` at the end of the pass.
    fn next(&mut self) -> Result<Option<Batch>>;
}
