//! Batches and where they come from.

mod arrays;
mod augment;
mod check;
mod tokens;

use tch::Tensor;

use crate::error::Result;

pub use arrays::{ArraySource, Arrays, Role};
pub use augment::Augmentation;
pub use check::{Expected, check_labels, check_tokens};
pub use tokens::{Reading, TokenSource};

/// One batch: inputs [N, …] in the network's dtype, targets [N] int64, both on the network's device.
#[derive(Debug)]
pub struct Batch {
    /// [N, …] in the dtype of the network.
    pub inputs: Tensor,
    /// [N] int64.
    pub targets: Tensor,
    /// What the batch before it in its stream has left; none at a beginning, and where nothing is left.
    pub carried: Option<Tensor>,
    /// Whether its stream begins with it.
    pub begins: bool,
    /// Its learning rate over that of a full batch.
    pub pace: f64,
}

impl Batch {
    /// A full one that goes on from nothing.
    pub fn new(inputs: Tensor, targets: Tensor) -> Batch {
        Batch { inputs, targets, carried: None, begins: true, pace: 1.0 }
    }

    /// Targets in it.
    pub fn examples(&self) -> i64 {
        self.targets.numel() as i64
    }

    /// Examples, or sequences, side by side.
    pub fn width(&self) -> i64 {
        self.targets.size().last().copied().unwrap_or(1)
    }

    /// The same tensors.
    pub fn share(&self) -> Batch {
        let carried = self.carried.as_ref().map(Tensor::shallow_clone);
        Batch { inputs: self.inputs.shallow_clone(), targets: self.targets.shallow_clone(), carried, ..*self }
    }

    /// Memory for batches like this one.
    pub fn buffer(&self) -> Result<Batch> {
        Ok(Batch::new(self.inputs.f_empty_like()?, self.targets.f_empty_like()?))
    }

    /// Copies a batch of the same shapes into this one's memory.
    pub fn fill(&mut self, from: &Batch) -> Result<()> {
        self.inputs.f_copy_(&from.inputs)?;
        self.targets.f_copy_(&from.targets)?;
        Ok(())
    }
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
