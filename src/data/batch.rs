//! One batch.

use tch::Tensor;

use crate::error::Result;

/// One batch on the network's device: inputs in the network's dtype and int64 targets; for a user's network any tensors.
#[derive(Debug)]
pub struct Batch {
    /// Images [N, C, H, W], or tokens [tokens, N]; for a user's network [N, …].
    pub inputs: Tensor,
    /// Labels [N], or the next tokens [tokens, N]; for a user's network [N, …].
    pub targets: Tensor,
    /// Whether an example has one row of targets, not one element.
    pub by_row: bool,
    /// The hidden state that the previous batch of the stream left; `None` at the start of a stream, and for images.
    pub carried: Option<Tensor>,
    /// Whether this batch is the first of its stream.
    pub begins: bool,
    /// The learning rate of this batch relative to that of a full one.
    pub rate_scale: f64,
}

impl Batch {
    /// A full batch without a carried state.
    pub fn new(inputs: Tensor, targets: Tensor) -> Batch {
        Batch { inputs, targets, by_row: false, carried: None, begins: true, rate_scale: 1.0 }
    }

    /// The number of examples: images, or tokens.
    pub fn examples(&self) -> i64 {
        if self.by_row { self.width() } else { self.targets.numel() as i64 }
    }

    /// The number of images, or of sequences that are read in parallel.
    pub fn width(&self) -> i64 {
        let size = self.targets.size();
        if self.by_row { size.first() } else { size.last() }.copied().unwrap_or(1)
    }

    /// A batch that shares the tensors of this one.
    pub fn share(&self) -> Batch {
        let carried = self.carried.as_ref().map(Tensor::shallow_clone);
        Batch { inputs: self.inputs.shallow_clone(), targets: self.targets.shallow_clone(), carried, ..*self }
    }

    /// Uninitialised memory for batches of these shapes.
    pub fn buffer(&self) -> Result<Batch> {
        Ok(Batch::new(self.inputs.f_empty_like()?, self.targets.f_empty_like()?))
    }

    /// Copies a batch of the same shapes into the memory of this one.
    pub fn fill(&mut self, from: &Batch) -> Result<()> {
        self.inputs.f_copy_(&from.inputs)?;
        self.targets.f_copy_(&from.targets)?;
        Ok(())
    }
}
