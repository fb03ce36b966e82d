//! One batch.

use tch::Tensor;

use crate::error::Result;

/// One batch: inputs in the network's dtype and int64 targets, both on the network's device.
#[derive(Debug)]
pub struct Batch {
    /// Images [N, C, H, W], or tokens [tokens, N].
    pub inputs: Tensor,
    /// Labels [N], or the next tokens [tokens, N].
    pub targets: Tensor,
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
        Batch { inputs, targets, carried: None, begins: true, rate_scale: 1.0 }
    }

    /// The number of targets.
    pub fn examples(&self) -> i64 {
        self.targets.numel() as i64
    }

    /// The number of images, or of sequences that are read in parallel.
    pub fn width(&self) -> i64 {
        self.targets.size().last().copied().unwrap_or(1)
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
