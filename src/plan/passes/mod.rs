//! Rewrites of a plan: each takes one and returns one that computes the same, and leaves its name on it.

mod share;

use super::Plan;
use crate::error::Result;

pub use share::Share;

/// A rewrite of a plan that does not change what it computes.
pub trait Pass {
    /// Its name in `Plan::passes` and in `explain`.
    fn name(&self) -> &'static str;

    /// The rewritten plan.
    fn apply(&self, plan: Plan) -> Result<Plan>;
}

/// Every pass, in the order in which they run.
pub fn all() -> Vec<&'static dyn Pass> {
    vec![&share::Share]
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
