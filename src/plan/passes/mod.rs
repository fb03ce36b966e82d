//! Passes: each rewrites a plan into one that computes the same.

mod editor;
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

use super::Plan;
use crate::config::Rewrite;
use crate::error::Result;

pub(super) use editor::prune;

/// Applies passes in order. Edges are grouped on images of at most `grouped_pixels` pixels.
pub fn rewrite(plan: Plan, passes: &[Rewrite], grouped_pixels: usize) -> Result<Plan> {
    passes.iter().try_fold(plan, |plan, pass| match pass {
        Rewrite::SpaceToBatch => run(&plan, "space_to_batch", space_to_batch::apply),
        Rewrite::Share => run(&plan, "share", |plan| share::apply(plan, true)),
        Rewrite::Fold => run(&plan, "fold", fold::apply),
        Rewrite::Group => run(&plan, "group", |plan| group::apply(plan, grouped_pixels)),
        Rewrite::Sum => run(&plan, "sum", sum::apply),
        Rewrite::Mixtures => run(&plan, "mixtures", mixtures::apply),
        Rewrite::Hoist => run(&plan, "hoist", hoist::apply),
        Rewrite::Stack => run(&plan, "stack", stack::apply),
        Rewrite::Gates => run(&plan, "gates", gates::apply),
    })
}

/// Applies those of `passes` after which each operation of an edge is still computed alone, so that a pass over the plan
/// can leave it out.
pub fn rewrite_by_edge(plan: Plan, passes: &[Rewrite]) -> Result<Plan> {
    passes.iter().try_fold(plan, |plan, pass| match pass {
        Rewrite::SpaceToBatch => run(&plan, "space_to_batch", space_to_batch::apply),
        Rewrite::Share => run(&plan, "share", |plan| share::apply(plan, false)),
        Rewrite::Fold => run(&plan, "fold", fold::apply),
        _ => Ok(plan),
    })
}

/// Applies one pass, checks the plan that it returns and adds the pass's name to it.
pub fn run(plan: &Plan, name: &'static str, apply: impl FnOnce(&Plan) -> Result<Plan>) -> Result<Plan> {
    let mut plan = apply(plan)?;
    plan.check()?;
    plan.passes.push(name);
    Ok(plan)
}
