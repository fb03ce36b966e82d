//! Rewrites of a plan: each takes one and returns one that computes the same, and leaves its name on it.

mod editor;
mod excerpt;
mod fold;
mod gates;
mod group;
mod hoist;
mod mixtures;
mod order;
mod share;
mod space_to_batch;
mod stack;
mod sum;

use super::{Forms, Plan};
use crate::config::Rewrite;
use crate::error::Result;

pub(super) use editor::prune;
pub use excerpt::excerpts;
pub use fold::Fold;
pub use gates::Gates;
pub use group::Group;
pub use hoist::Hoist;
pub use mixtures::Mixtures;
pub use share::Share;
pub use space_to_batch::SpaceToBatch;
pub use stack::Stack;
pub use sum::Sum;

/// A rewrite of a plan that does not change what it computes.
pub trait Pass {
    /// Its name in `Plan::passes` and in `explain`.
    fn name(&self) -> &'static str;

    /// The rewritten plan.
    fn apply(&self, plan: Plan) -> Result<Plan>;
}

/// Applies the passes of these names in order; `forms` says which form each group takes.
pub fn rewrite(plan: Plan, names: &[Rewrite], forms: &Forms) -> Result<Plan> {
    let passes: Vec<_> = names.iter().map(|name| of(*name, forms)).collect();
    run(plan, &passes.iter().map(Box::as_ref).collect::<Vec<_>>())
}

fn of(rewrite: Rewrite, forms: &Forms) -> Box<dyn Pass> {
    match rewrite {
        Rewrite::SpaceToBatch => Box::new(SpaceToBatch),
        Rewrite::Share => Box::new(Share),
        Rewrite::Fold => Box::new(Fold),
        Rewrite::Group => Box::new(Group { forms: forms.clone() }),
        Rewrite::Sum => Box::new(Sum),
        Rewrite::Mixtures => Box::new(Mixtures),
        Rewrite::Hoist => Box::new(Hoist),
        Rewrite::Stack => Box::new(Stack),
        Rewrite::Gates => Box::new(Gates),
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
