//! Mixes the gates of a node in one instruction.
//!
//! Σ_jk p_jk·(s_j + σ(c_j)·(f_k(u_j) − s_j)) is, with q_j = Σ_k p_jk, the sum over j of
//! q_j·s_j + σ(c_j)·(Σ_k p_jk·f_k(u_j) − q_j·s_j): one gate per state, whatever the number of activations.

use std::collections::HashMap;

use super::editor::{Editor, prune, readers};
use crate::error::Result;
use crate::plan::instruction::pairs;
use crate::plan::{AlphaId, Instruction, Op, Plan, ValueId};
use crate::space::Operation;

pub(super) fn apply(plan: &Plan) -> Result<Plan> {
    if plan.recurrence.is_none() {
        return Ok(plan.clone());
    }
    let mixtures = mixtures(plan);
    let mut stacks: HashMap<ValueId, (ValueId, usize, usize)> = HashMap::new();
    let rewritten = Editor::rewrite(plan, |editor, instruction| {
        if let Op::Unstack { index, of } = instruction.op {
            stacks.insert(instruction.output, (instruction.inputs[0], index, of));
        }
        let Some(mixture) = mixtures.get(&instruction.output) else { return editor.keep(instruction) };
        let scope = &instruction.scope;
        let states = editor.push(Op::Stack, mixture.states.clone(), scope)?;
        let gates = match whole(&mixture.gates, &stacks) {
            Some(whole) => whole,
            None => editor.push(Op::Stack, mixture.gates.clone(), scope)?,
        };
        let Mixture { alpha, rows, columns, .. } = mixture;
        let op = Op::Gates { alpha: *alpha, rows: rows.clone(), columns: columns.clone() };
        editor.define(op, vec![states, gates], scope, instruction.output)
    })?;
    Ok(prune(rewritten))
}

/// The stack that consists of exactly these values, in order.
fn whole(values: &[ValueId], stacks: &HashMap<ValueId, (ValueId, usize, usize)>) -> Option<ValueId> {
    let mut found = None;
    for (place, value) in values.iter().enumerate() {
        let (stack, index, of) = *stacks.get(value)?;
        if index != place || of != values.len() || found.is_some_and(|known| known != stack) {
            return None;
        }
        found = Some(stack);
    }
    found
}

/// A mixture of one gate per state and activation.
struct Mixture {
    alpha: AlphaId,
    rows: Vec<usize>,
    columns: Vec<(usize, Operation)>,
    states: Vec<ValueId>,
    /// [c, u] of each state.
    gates: Vec<ValueId>,
}

/// The mixtures that consist of gates, with the same activations for each state.
fn mixtures(plan: &Plan) -> HashMap<ValueId, Mixture> {
    let made: HashMap<ValueId, &Instruction> = plan.instructions.iter().map(|it| (it.output, it)).collect();
    let readers = readers(plan);
    let gate = |value: &ValueId| match made.get(value).map(|it| (&it.op, &it.inputs[..])) {
        Some((Op::Gate { activation }, [state, gates])) if readers[value].len() == 1 => {
            Some((*state, *gates, *activation))
        }
        _ => None,
    };
    let mixture = |instruction: &Instruction| -> Option<Mixture> {
        let Op::Mix { alpha, terms } = &instruction.op else { return None };
        let mut found = Mixture { alpha: *alpha, rows: vec![], columns: vec![], states: vec![], gates: vec![] };
        for (input, (row, column)) in instruction.inputs.iter().zip(terms) {
            let (state, gates, activation) = gate(input)?;
            if found.rows.last() != Some(row) {
                found.rows.push(*row);
                found.states.push(state);
                found.gates.push(gates);
            }
            if found.rows.len() == 1 {
                found.columns.push((*column, activation));
            }
            let same = (found.states.last(), found.gates.last()) == (Some(&state), Some(&gates));
            if !same || !found.columns.contains(&(*column, activation)) {
                return None;
            }
        }
        // Row after row, the same columns each time.
        let columns: Vec<usize> = found.columns.iter().map(|(column, _)| *column).collect();
        (pairs(&found.rows, &columns) == *terms).then_some(found)
    };
    plan.instructions.iter().filter_map(|it| Some((it.output, mixture(it)?))).collect()
}
