//! The options that networks run with.

use std::sync::Arc;

use tch::{Device, Tensor};

use super::drop::DropOptions;
use super::dropout::Dropout;
use super::user_operation::OwnModules;
use crate::config::{Memory, Method, Rewrite, SearchConfig};
use crate::error::Result;
use crate::event::Metrics;
use crate::nn::Numbers;
use crate::plan::passes;
use crate::plan::{Demand, Makers, Peak, Plan};
use crate::ranks::Share;
use crate::space::Reads;

/// A user's loss, a function of logits and targets.
pub trait Criterion: Send + Sync {
    /// The scalar to differentiate. `logits` [N, classes], or [tokens, words], are part of the graph.
    fn loss(&self, logits: &Tensor, targets: &Tensor) -> Result<Tensor>;
    /// Called before the losses of a step, and before an evaluation: random numbers of the loss depend on the step.
    fn begin(&self, _step: u64) -> Result<()> {
        Ok(())
    }
    /// Whether it is a cross-entropy, so that the largest of some class probabilities can be predicted correctly.
    fn is_cross_entropy(&self) -> bool {
        false
    }
}

/// What a user measures in the evaluations of a network of images.
pub trait Measure: Send + Sync {
    /// Begins an evaluation before step `step`.
    fn begin(&self, step: u64) -> Result<()>;
    /// Adds a batch: logits [N, classes] and targets.
    fn add(&self, logits: &Tensor, targets: &Tensor) -> Result<()>;
    /// Ends the evaluation.
    fn measured(&self) -> Result<Metrics>;
}

/// The options of every network. Memory and micro-batches apply to networks of images.
pub struct NetworkOptions {
    /// Dtypes and precision.
    pub numbers: Numbers,
    /// The device of all tensors.
    pub device: Device,
    /// The loss; None for cross-entropy.
    pub criterion: Option<Arc<dyn Criterion>>,
    /// What evaluations measure besides loss and accuracy; texts have no such measure.
    pub measure: Option<Arc<dyn Measure>>,
    /// The runner of the modules of user-defined operations; None if the space has no such operation.
    pub own: Option<Arc<dyn OwnModules>>,
    /// The passes that rewrite the plan; None for those that suit device and space.
    pub passes: Option<Vec<Rewrite>>,
    /// Whether a backward pass keeps its graph or computes cells again.
    pub memory: Memory,
    /// The number of examples computed at once; None for the whole batch.
    pub micro_batch: Option<usize>,
    /// Whether operations are sampled: what is multiplied by 0 does not move its statistics and kernels.
    pub samples: bool,
    /// Whether passes compute only what is not multiplied by 0. They read the mixing weights on the host.
    pub sparse: bool,
    /// Drop path and skip dropout.
    pub drop: DropOptions,
    /// The seed of what the operation `noise` draws.
    pub seed: u64,
    /// The share of each batch that the network reads. Masks of text are drawn for all sequences.
    pub share: Share,
}

/// The largest image size, in pixels, at which a CPU groups edges: the overhead of a call dominates on small images,
/// the cache on large ones. Measured with 2 threads, groups save 35 % of a step on 8×8 images and 30 % on 16×16; on
/// 32×32 they save 15 % if the first cells are not grouped, and nothing if they are.
const GROUPED_PIXELS: usize = 16 * 16;

impl NetworkOptions {
    /// The options of a configuration.
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
            measure: None,
            own: None,
            passes: config.execution.passes.clone(),
            memory: config.execution.memory,
            micro_batch: config.execution.micro_batch,
            samples: config.optimisation.relaxation.rule().samples_one(),
            sparse: config.optimisation.relaxation.rule().samples_one() && device == Device::Cpu,
            drop: DropOptions::of_config(config),
            seed: config.optimisation.seed,
            share: Share::WHOLE,
        }
    }

    /// The passes that rewrite a plan that reads images or words: the requested ones, or those that suit the device.
    pub fn rewrites(&self, reads: Reads) -> Vec<Rewrite> {
        let suits = |rewrite: &Rewrite| match rewrite {
            // Dilation is free in libtorch's depthwise kernels for CUDA.
            Rewrite::SpaceToBatch => self.device == Device::Cpu,
            _ => true,
        };
        let suitable = || Rewrite::of(reads).iter().copied().filter(suits).collect();
        self.passes.clone().unwrap_or_else(suitable)
    }

    /// Tells the criterion, if there is one, which step begins.
    pub fn begin(&self, step: u64) -> Result<()> {
        self.criterion.as_ref().map_or(Ok(()), |criterion| criterion.begin(step))
    }

    /// Why a step with the criterion cannot be captured as a graph; None if it can.
    pub fn uncapturable(&self) -> Option<&'static str> {
        self.criterion.as_ref().map(|_| "a loss written in Python may behave differently at each call")
    }

    /// The maker of the modules of user-defined operations, if there is one.
    pub fn makers(&self) -> Option<&dyn Makers> {
        self.own.as_deref().map(|own| own as &dyn Makers)
    }

    /// Rewrites a lowered plan for the search.
    pub fn rewrite(&self, lowered: Plan) -> Result<Plan> {
        // Kernels of few channels do not fill a vector, so partial channels are grouped on larger images.
        let on_cpu = GROUPED_PIXELS.saturating_mul(lowered.edges.partial_channels);
        let largest = if self.device == Device::Cpu { on_cpu } else { usize::MAX };
        let rewrites = self.rewrites(lowered.space.reads());
        passes::rewrite(lowered, &rewrites, largest)
    }

    /// Rewrites a lowered plan for passes that leave out what is multiplied by 0.
    pub fn rewrite_by_edge(&self, lowered: Plan) -> Result<Plan> {
        let rewrites = self.rewrites(lowered.space.reads());
        passes::rewrite_by_edge(lowered, &rewrites)
    }

    /// The estimated peak memory of a search step by `method` on a rewritten plan; of a recurrent plan, for one token
    /// of each sequence.
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

/// The options of a language model that other networks do not have.
pub struct LanguageOptions {
    /// Probabilities of dropout.
    pub dropout: Dropout,
    /// The factor of the mean square by which states change from token to token, in the loss of the weight step.
    pub slowness: f64,
    /// The seed of the dropout masks.
    pub seed: u64,
    /// The number of sequences in a batch of the search.
    pub batch: i64,
    /// The largest number of tokens in a segment, for the estimate of memory.
    pub tokens: usize,
}

impl LanguageOptions {
    /// The options of a configuration.
    pub fn of_config(config: &SearchConfig) -> Self {
        LanguageOptions {
            dropout: Dropout::of_config(config),
            slowness: config.optimisation.slowness,
            seed: config.optimisation.seed,
            batch: config.data.batch_size.examples() as i64,
            tokens: config.data.bptt,
        }
    }
}
