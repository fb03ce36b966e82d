//! What a network of images prepares for its search plans, and for relaxations that sample operations.

use tch::Device;

use crate::config::Memory;
use crate::error::Result;
use crate::nn::Reach;
use crate::nn::interpreter::executable::Executable;
use crate::params::Table;
use crate::plan::{Plan, Segment};

/// A plan of search passes, with the segments of its backward passes.
pub struct Searched {
    pub executable: Executable,
    /// The segments of a backward pass.
    pub cells: Vec<Segment>,
    /// The segments of a pass along a direction, which keeps twice as much.
    pub jvp_segments: Vec<Segment>,
}

impl Searched {
    pub fn new(executable: Executable, memory: Memory) -> Self {
        let plan = &executable.plan;
        let jvp_segments = match memory {
            Memory::Keep => plan.halves(),
            Memory::Recompute => plan.cells(),
        };
        Searched { cells: plan.cells(), jvp_segments, executable }
    }

    /// For passes that compute few operations: their graph is small enough to be one.
    pub fn in_one(executable: Executable, memory: Memory) -> Self {
        let searched = Searched::new(executable, memory);
        match memory {
            Memory::Keep => Searched { cells: searched.executable.plan.whole(), ..searched },
            Memory::Recompute => searched,
        }
    }
}

/// What rests in a step in which its operation is not sampled.
pub struct Sampled {
    /// The weights.
    pub weights: Reach,
    /// The running statistics, a part per batch norm.
    pub statistics: Reach,
    /// The buffers of user-defined operations, a part per module.
    pub own: Reach,
}

impl Sampled {
    /// Of a lowered plan, whose weights, batch norms and mixing weights these tables describe.
    pub fn new(plan: &Plan, [weights, statistics, alphas]: [&Table; 3], device: Device) -> Result<Self> {
        let terms = plan.terms();
        let own = Table::new(plan.own.iter().map(|module| (module.name.clone(), vec![1])));
        Ok(Sampled {
            weights: Reach::of_terms(weights, terms.of_weights(plan), alphas, device)?,
            statistics: Reach::of_terms(statistics, terms.of_statistics(plan), alphas, device)?,
            own: Reach::of_terms(&own, terms.of_own(plan), alphas, device)?,
        })
    }
}
