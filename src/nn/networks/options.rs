//! How a plan is run; the plan says what.

use std::sync::Arc;

use tch::{Device, Tensor};

use crate::config::{Memory, Method, Rewrite, SearchConfig};
use crate::error::Result;
use crate::nn::Numbers;
use crate::plan::passes;
use crate::plan::{Demand, Peak, Plan};
use crate::space::CellKind;

/// A loss (logits, targets) ↦ scalar of the user's; cross-entropy without one.
pub trait Criterion: Send + Sync {
    /// The scalar to differentiate; `logits` [N, classes], or [tokens, words], are part of the graph.
    fn loss(&self, logits: &Tensor, targets: &Tensor) -> Result<Tensor>;
}

/// What networks of either kind are run with. Memory and parts of batches are matters of images.
pub struct NetworkOptions {
    /// In which numbers it computes.
    pub numbers: Numbers,
    /// Where everything lies.
    pub device: Device,
    /// The loss; cross-entropy by default.
    pub criterion: Option<Arc<dyn Criterion>>,
    /// Rewrites of the plan that the search runs; by default those that suit device and images.
    pub passes: Option<Vec<Rewrite>>,
    /// Whether a backward pass keeps all it needs or computes cells again.
    pub memory: Memory,
    /// Examples computed at once, where not a whole batch.
    pub micro_batch: Option<usize>,
}

/// The largest images, in pixels, on which a CPU groups edges: the overhead of a call dominates on small images, the
/// size of the cache on large ones. Measured with 2 threads, a step takes 35 % less time with groups on 8×8 images and
/// 30 % less on 16×16; on 32×32 it takes 15 % less with groups behind the first reduction only, and no less with groups
/// everywhere.
const GROUPED_PIXELS: usize = 16 * 16;

impl NetworkOptions {
    /// As a configuration says.
    pub fn of_config(
        config: &SearchConfig,
        numbers: Numbers,
        device: Device,
        criterion: Option<Arc<dyn Criterion>>,
    ) -> Self {
        NetworkOptions {
            numbers,
            device,
            criterion,
            passes: config.execution.passes.clone(),
            memory: config.execution.memory,
            micro_batch: config.execution.micro_batch,
        }
    }

    /// The rewrites of a plan that a search runs: those that were asked for, or those that suit the device.
    pub fn rewrites(&self, kind: CellKind) -> Vec<Rewrite> {
        let suits = |rewrite: &Rewrite| match rewrite {
            // Dilation costs nothing in libtorch's depthwise kernels for CUDA.
            Rewrite::SpaceToBatch => self.device == Device::Cpu,
            _ => true,
        };
        let suitable = || Rewrite::of(kind).iter().copied().filter(suits).collect();
        self.passes.clone().unwrap_or_else(suitable)
    }

    /// A lowered plan as a search runs it.
    pub fn rewrite(&self, lowered: Plan) -> Result<Plan> {
        let largest = if self.device == Device::Cpu { GROUPED_PIXELS } else { usize::MAX };
        let rewrites = self.rewrites(lowered.space.kind);
        passes::rewrite(lowered, &rewrites, largest)
    }

    /// The estimate of the memory that a search step by `method` on a rewritten plan takes at its peak; of a plan that
    /// reads words, for one token of each sequence.
    pub fn peak(&self, rewritten: &Plan, method: Method) -> Peak {
        let on_cpu = self.device == Device::Cpu;
        rewritten.peak(&Demand {
            method,
            memory: self.memory,
            element: self.numbers.compute.elt_size_in_bytes(),
            weight: self.numbers.kind.elt_size_in_bytes(),
            kernels_outside: on_cpu,
            heap: on_cpu,
            at_most: self.micro_batch,
        })
    }
}
