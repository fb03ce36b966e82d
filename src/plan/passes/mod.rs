//! Rewrites of a plan: each takes one and returns one that computes the same, and leaves its name on it.

mod editor;
mod fold;
mod group;
mod order;
mod share;
mod space_to_batch;

use super::Plan;
use crate::config::Rewrite;
use crate::error::Result;

pub use fold::Fold;
pub use group::Group;
pub use share::Share;
pub use space_to_batch::SpaceToBatch;

/// A rewrite of a plan that does not change what it computes.
pub trait Pass {
    /// Its name in `Plan::passes` and in `explain`.
    fn name(&self) -> &'static str;

    /// The rewritten plan.
    fn apply(&self, plan: Plan) -> Result<Plan>;
}

/// The pass behind a name.
pub fn of(rewrite: Rewrite) -> &'static dyn Pass {
    match rewrite {
        Rewrite::SpaceToBatch => &SpaceToBatch,
        Rewrite::Share => &Share,
        Rewrite::Fold => &Fold,
        Rewrite::Group => &Group,
    }
}

/// Applies the passes in order; each result is checked and stamped with the pass's name.
pub fn run(plan: Plan, passes: &[&dyn Pass]) -> Result<Plan> {
    passes.iter().try_fold(plan, |plan, pass| {
        let mut plan = pass.apply(plan)?;
        plan.check()?;
        plan.passes.push(pass.name());
        Ok(plan)
    })
}
