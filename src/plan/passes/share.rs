//! Computes once what several edges compute alike: the ReLU of a node and its phases, its poolings and their batch
//! norms; in a recurrent cell the dropout of a state, and its product for all activations.
//!
//! Two instructions are alike when they apply the same operation to the same values, with the same weights if they have
//! any. The remaining batch norm updates the running statistics of those that it replaces, so that names, checkpoints
//! and state dicts do not change. Where each batch norm moves only if its own edge is sampled, none is shared.

use std::collections::HashMap;

use super::editor::Editor;
use crate::error::Result;
use crate::plan::{Op, Plan, Scale, ValueId};

pub(super) fn apply(plan: &Plan, norms: bool) -> Result<Plan> {
    let mut by_inputs: HashMap<Vec<ValueId>, Vec<usize>> = HashMap::new();
    Editor::rewrite(plan, |editor, instruction| {
        let inputs = instruction.inputs.iter().map(|input| editor.resolve(*input)).collect();
        if !norms && matches!(instruction.op, Op::BatchNorm { .. }) {
            return editor.keep(instruction);
        }
        let readers = by_inputs.entry(inputs).or_default();
        let written = editor.instructions();
        let Some(place) = readers.iter().copied().find(|place| alike(&written[*place].op, &instruction.op)) else {
            readers.push(written.len());
            return editor.keep(instruction);
        };
        join(&mut written[place].op, &instruction.op);
        let shared = written[place].output;
        editor.replace(instruction.output, shared);
        Ok(())
    })
}

/// Whether two operations compute the same from the same inputs.
fn alike(one: &Op, other: &Op) -> bool {
    match (one, other) {
        (Op::BatchNorm { scale: Scale::One, .. }, Op::BatchNorm { scale: Scale::One, .. }) => true,
        (
            Op::Relu
            | Op::Shift { .. }
            | Op::Pad { .. }
            | Op::MaxPool { .. }
            | Op::AvgPool { .. }
            | Op::Subsample { .. }
            | Op::SpaceToBatch { .. }
            | Op::Add
            | Op::Mask { .. }
            | Op::Product { .. },
            _,
        ) => one == other,
        _ => false,
    }
}

/// Lets the batch norm `kept` update the running statistics of `other` too.
fn join(kept: &mut Op, other: &Op) {
    if let (Op::BatchNorm { aliases, .. }, Op::BatchNorm { statistic, aliases: more, .. }) = (kept, other) {
        aliases.push(*statistic);
        aliases.extend(more);
    }
}
