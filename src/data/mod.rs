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

impl Batch {
    /// The same tensors.
    pub fn share(&self) -> Batch {
        Batch { inputs: self.inputs.shallow_clone(), targets: self.targets.shallow_clone() }
    }

    /// Whether another batch fits into the same memory.
    pub fn alike(&self, other: &Batch) -> bool {
        let same = |one: &Tensor, other: &Tensor| one.size() == other.size() && one.kind() == other.kind();
        same(&self.inputs, &other.inputs) && same(&self.targets, &other.targets)
    }

    /// Memory for batches like this one.
    pub fn buffer(&self) -> Result<Batch> {
        Ok(Batch { inputs: self.inputs.f_empty_like()?, targets: self.targets.f_empty_like()? })
    }

    /// Copies a batch that is [alike](Batch::alike) into this one's memory.
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
