//! Computes once what several edges compute alike: the ReLU of a node and its phases, its poolings and their batch
//! norms; in a recurrent cell the dropout of a state, and its product for all activations.
//!
//! Two instructions are alike when they do the same to the same values, with the same weights if they have any. A batch norm keeps the
//! running statistics of all it stands for, so that names, checkpoints and state dicts stay as they were.

use std::collections::HashMap;

use super::Pass;
use crate::error::Result;
use crate::plan::{Instruction, Op, Plan, Scale, ValueId};

/// Common subexpressions of the plan.
pub struct Share;

impl Pass for Share {
    fn name(&self) -> &'static str {
        "share"
    }

    fn apply(&self, mut plan: Plan) -> Result<Plan> {
        let mut kept: Vec<Instruction> = Vec::with_capacity(plan.instructions.len());
        let mut by_inputs: HashMap<Vec<ValueId>, Vec<usize>> = HashMap::new();
        let mut stands_for: HashMap<ValueId, ValueId> = HashMap::new();
        for mut instruction in std::mem::take(&mut plan.instructions) {
            for input in &mut instruction.inputs {
                *input = stands_for.get(input).copied().unwrap_or(*input);
            }
            let readers = by_inputs.entry(instruction.inputs.clone()).or_default();
            match readers.iter().copied().find(|&place| alike(&kept[place].op, &instruction.op)) {
                Some(place) => {
                    stands_for.insert(instruction.output, kept[place].output);
                    join(&mut kept[place].op, instruction.op);
                }
                None => {
                    readers.push(kept.len());
                    kept.push(instruction);
                }
            }
        }
        let now = |value: ValueId| stands_for.get(&value).copied().unwrap_or(value);
        plan.output = now(plan.output);
        if let Some(recurrence) = &mut plan.recurrence {
            recurrence.next = now(recurrence.next);
        }
        plan.instructions = kept;
        Ok(plan)
    }
}

/// Whether two operations, given the same inputs, have the same value.
fn alike(one: &Op, other: &Op) -> bool {
    match (one, other) {
        (Op::BatchNorm { scale: Scale::One, .. }, Op::BatchNorm { scale: Scale::One, .. }) => true,
        (
            Op::Relu
            | Op::Shift
            | Op::MaxPool { .. }
            | Op::AvgPool { .. }
            | Op::Subsample { .. }
            | Op::SpaceToBatch { .. }
            | Op::Mask { .. }
            | Op::Product { .. },
            _,
        ) => one == other,
        _ => false,
    }
}

/// Lets `kept` move the running statistics of `other` too.
fn join(kept: &mut Op, other: Op) {
    if let (Op::BatchNorm { aliases, .. }, Op::BatchNorm { statistic, aliases: more, .. }) = (kept, other) {
        aliases.push(statistic);
        aliases.extend(more);
    }
}
