//! One batch.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use tch::Tensor;

use crate::error::{Error, Result};

/// One batch on the network's device: inputs and floating targets in the network's dtype, int64 labels and tokens; for a
/// user's network any tensors.
#[derive(Debug)]
pub struct Batch {
    /// Images [N, C, H, W], or tokens [tokens, N]; the first tensor of a user's batch, [N, …].
    pub inputs: Tensor,
    /// Labels [N] or other targets [N, …] of images, or the next tokens [tokens, N]; of a user's batch the same tensor as `inputs`.
    pub targets: Tensor,
    /// The other tensors of a user's batch.
    pub others: Vec<Tensor>,
    /// What a user's batch is made of; None for images and texts.
    pub layout: Option<Layout>,
    /// The hidden state that the previous batch of the stream left; `None` at the start of a stream, and for images.
    pub carried: Option<Tensor>,
    /// Whether this batch is the first of its stream.
    pub begins: bool,
    /// The learning rate of this batch relative to that of a full one.
    pub rate_scale: f64,
    /// If this is the share of one rank, the widths of the shares of all ranks.
    pub shares: Option<Arc<[i64]>>,
}

/// How a user's batch is made of its tensors. The engine passes it on to the network, which alone reads it.
#[derive(Clone)]
pub struct Layout(pub Arc<dyn Any + Send + Sync>);

impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Layout")
    }
}

impl Batch {
    /// A full batch without a carried state.
    pub fn new(inputs: Tensor, targets: Tensor) -> Batch {
        Batch {
            inputs,
            targets,
            others: Vec::new(),
            layout: None,
            carried: None,
            begins: true,
            rate_scale: 1.0,
            shares: None,
        }
    }

    /// A batch of a user: any tensors, at least one.
    pub fn of_tensors(tensors: Vec<Tensor>, layout: Layout) -> Result<Batch> {
        let mut tensors = tensors.into_iter();
        let first = tensors.next().filter(|first| first.dim() > 0);
        let first =
            first.ok_or_else(|| Error::data("the first tensor of a batch must have a dimension of examples"))?;
        let targets = first.shallow_clone();
        Ok(Batch { others: tensors.collect(), layout: Some(layout), ..Batch::new(first, targets) })
    }

    /// All tensors of a user's batch.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        std::iter::once(&self.inputs).chain(&self.others)
    }

    /// The number of examples: images, or tokens.
    pub fn examples(&self) -> i64 {
        if self.counts_inputs() { self.width() } else { self.targets.numel() as i64 }
    }

    /// The number of examples in the shares of all ranks.
    pub fn examples_of_all(&self) -> i64 {
        match &self.shares {
            Some(widths) => self.examples() / self.width().max(1) * widths.iter().sum::<i64>(),
            None => self.examples(),
        }
    }

    /// The number of images, or of sequences that are read in parallel.
    pub fn width(&self) -> i64 {
        match self.counts_inputs() {
            true => self.inputs.size().first().copied().unwrap_or(1),
            false => self.targets.size().last().copied().unwrap_or(1),
        }
    }

    /// Whether the first dimension of the inputs counts the examples: of images, sequences and a user's batch.
    fn counts_inputs(&self) -> bool {
        self.layout.is_some() || self.inputs.dim() > 2
    }

    /// A batch that shares the tensors of this one.
    pub fn share(&self) -> Batch {
        let same = Tensor::shallow_clone;
        Batch {
            inputs: same(&self.inputs),
            targets: same(&self.targets),
            others: self.others.iter().map(same).collect(),
            layout: self.layout.clone(),
            carried: self.carried.as_ref().map(same),
            shares: self.shares.clone(),
            ..*self
        }
    }

    /// The rows `start` to `end` of every tensor, as a batch of its own.
    pub fn rows(&self, start: i64, end: i64) -> Result<Batch> {
        let count = self.inputs.size()[0];
        let slice = |tensor: &Tensor| match tensor.size().first() {
            Some(rows) if *rows == count => Ok(tensor.f_narrow(0, start, end - start)?),
            _ => Err(Error::data(format!(
                "a batch of {count} examples holds a tensor of shape {:?}, which cannot be divided into \
                 micro-batches; leave out micro_batch, or give every tensor one row per example",
                tensor.size()
            ))),
        };
        let others = self.others.iter().map(slice).collect::<Result<_>>()?;
        Ok(Batch { others, layout: self.layout.clone(), ..Batch::new(slice(&self.inputs)?, slice(&self.targets)?) })
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
