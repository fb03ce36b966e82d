//! Parts of a plan as plans of their own, for measuring.

use std::collections::{BTreeMap, HashSet};

use super::group::sites;
use super::order::renumber;
use crate::error::{Error, Result};
use crate::plan::{Instruction, Op, Plan, Shape, ValueId};

/// The sites of a plan that is ready to be grouped, each once: its name, and the instructions of its edges. Its input
/// is the value that the edges leave, its output all of their ends, one after the other along the channels.
pub fn excerpts(plan: &Plan) -> Result<BTreeMap<String, Plan>> {
    let first: BTreeMap<String, Vec<ValueId>> = sites(plan)?.into_iter().rev().collect();
    first.into_iter().map(|(site, members)| Ok((site, excerpt(plan, members)?))).collect()
}

fn excerpt(plan: &Plan, members: Vec<ValueId>) -> Result<Plan> {
    let mut instructions: Vec<Instruction> =
        plan.instructions.iter().filter(|it| members.contains(&it.output)).cloned().collect();
    let made: HashSet<ValueId> = instructions.iter().map(|it| it.output).collect();
    let read: HashSet<ValueId> = instructions.iter().flat_map(|it| it.inputs.iter().copied()).collect();
    let mut inputs = read.difference(&made).copied();
    let (Some(input), None) = (inputs.next(), inputs.next()) else {
        return Err(Error::engine("the edges of a group leave more than one value"));
    };
    let shape_of = |value: ValueId| plan.instructions.iter().find(|it| it.output == value).map(|it| it.shape.clone());
    let input_shape = shape_of(input).unwrap_or_else(|| plan.input_shape.clone());
    let ends: Vec<&Instruction> = instructions.iter().filter(|it| !read.contains(&it.output)).collect();
    let first = ends.first().ok_or_else(|| Error::engine("a group without an end"))?;
    let mut shape: Shape = first.shape.clone();
    let channels = shape.0.len() - 3;
    shape.0[channels] = ends.iter().map(|end| end.shape.channels()).sum();
    let inputs: Vec<ValueId> = ends.iter().map(|end| end.output).collect();
    let (output, scope) = (ValueId(plan.values()), first.scope.clone());
    instructions.push(Instruction { op: Op::Concat { blocks: 1 }, inputs, output, shape, scope });

    let (mut weights, mut statistics) = (Vec::new(), Vec::new());
    let place = |kept: &mut Vec<usize>, id: usize| {
        kept.iter().position(|known| *known == id).unwrap_or_else(|| {
            kept.push(id);
            kept.len() - 1
        })
    };
    for instruction in &mut instructions {
        let (weight, statistic) = (|id| place(&mut weights, id), |id| place(&mut statistics, id));
        renumber(&mut instruction.op, weight, statistic);
    }
    Ok(Plan {
        space: plan.space.clone(),
        sizes: plan.sizes,
        input,
        input_shape,
        recurrence: None,
        weights: weights.iter().map(|id| plan.weights[*id].clone()).collect(),
        statistics: statistics.iter().map(|id| plan.statistics[*id].clone()).collect(),
        alphas: plan.alphas.clone(),
        instructions,
        output,
        passes: plan.passes.clone(),
        forms: BTreeMap::new(),
    })
}
