//! The order of weights and running statistics in a plan.

use crate::error::{Error, Result};
use crate::plan::{Op, Plan, Scale, StatisticId, WeightId};

/// Makes each run of weights, and of statistics, contiguous, at the position of its earliest member.
pub(super) fn reorder(mut plan: Plan, weights: &[Vec<WeightId>], statistics: &[Vec<StatisticId>]) -> Result<Plan> {
    let runs = weights.iter().map(|run| run.iter().map(|id| id.0).collect()).collect();
    let weights = order(plan.weights.len(), runs)?;
    let runs = statistics.iter().map(|run| run.iter().map(|id| id.0).collect()).collect();
    let statistics = order(plan.statistics.len(), runs)?;
    plan.weights = weights.iter().map(|old| plan.weights[*old].clone()).collect();
    plan.statistics = statistics.iter().map(|old| plan.statistics[*old].clone()).collect();
    let (weights, statistics) = (inverse(&weights), inverse(&statistics));
    for instruction in &mut plan.instructions {
        renumber(&mut instruction.op, |id| weights[id], |id| statistics[id]);
    }
    Ok(plan)
}

/// Renumbers the weights and running statistics that an operation uses.
pub(super) fn renumber(
    op: &mut Op,
    mut weights: impl FnMut(usize) -> usize,
    mut statistics: impl FnMut(usize) -> usize,
) {
    match op {
        Op::Conv { weight, .. } | Op::Lookup { weight } | Op::Product { weight, .. } | Op::Bias { weight } => {
            weight.0 = weights(weight.0)
        }
        Op::Own { weights: own, .. } => own.iter_mut().for_each(|id| id.0 = weights(id.0)),
        Op::Linear { weight, bias } => [weight, bias].into_iter().for_each(|id| id.0 = weights(id.0)),
        Op::BatchNorm { statistic, aliases, scale, .. } => {
            aliases.iter_mut().chain([statistic]).for_each(|id| id.0 = statistics(id.0));
            if let Scale::Affine { weight, bias } = scale {
                [weight, bias].into_iter().for_each(|id| id.0 = weights(id.0));
            }
        }
        _ => {}
    }
}

/// The old positions in their new order.
fn order(count: usize, runs: Vec<Vec<usize>>) -> Result<Vec<usize>> {
    let mut run_of: Vec<Option<&Vec<usize>>> = vec![None; count];
    for run in &runs {
        for id in run {
            match run_of.get_mut(*id) {
                Some(place @ None) => *place = Some(run),
                _ => return Err(Error::engine(format!("row {id} does not exist, or belongs to two runs"))),
            }
        }
    }
    let mut order = Vec::with_capacity(count);
    let mut placed = vec![false; count];
    for (id, run) in run_of.iter().enumerate() {
        for member in run.map_or(&[id][..], |run| run) {
            if !std::mem::replace(&mut placed[*member], true) {
                order.push(*member);
            }
        }
    }
    Ok(order)
}

/// The new position of each old one.
fn inverse(order: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; order.len()];
    for (new, old) in order.iter().enumerate() {
        inverse[*old] = new;
    }
    inverse
}
