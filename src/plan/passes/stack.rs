//! Multiplies all states that enter a node by the node's weight at once.

use std::collections::{HashMap, HashSet};

use super::editor::Editor;
use crate::error::Result;
use crate::plan::{Instruction, Op, Plan, ValueId, WeightId};

pub(super) fn apply(plan: &Plan) -> Result<Plan> {
    if plan.recurrence.is_none() {
        return Ok(plan.clone());
    }
    let plan = Plan { instructions: masks_first(&plan.instructions), ..plan.clone() };
    let products = products(&plan);
    let mut written: HashSet<ValueId> = HashSet::new();
    Editor::rewrite(&plan, |editor, instruction| {
        let Some(products) = products.get(&key(instruction)).filter(|products| products.len() > 1) else {
            return editor.keep(instruction);
        };
        if written.contains(&instruction.output) {
            return Ok(());
        }
        let inputs: Vec<ValueId> = products.iter().map(|(input, _)| *input).collect();
        if inputs.iter().any(|input| editor.shape(*input).is_err()) {
            return editor.keep(instruction);
        }
        let scope = &instruction.scope;
        let stack = editor.push(Op::Stack, inputs, scope)?;
        let together = editor.push(instruction.op.clone(), vec![stack], scope)?;
        for (index, (_, product)) in products.iter().enumerate() {
            editor.define(Op::Unstack { index, of: products.len() }, vec![together], scope, *product)?;
            written.insert(*product);
        }
        Ok(())
    })
}

/// The instructions with the dropout of each state directly after the state, so that all inputs of a product are
/// available at the first one.
fn masks_first(instructions: &[Instruction]) -> Vec<Instruction> {
    let is_mask = |instruction: &Instruction| matches!(instruction.op, Op::Mask { .. });
    let made: HashSet<ValueId> = instructions.iter().map(|instruction| instruction.output).collect();
    let mut masks: HashMap<ValueId, Vec<&Instruction>> = HashMap::new();
    let mut waiting: Vec<&Instruction> = Vec::with_capacity(instructions.len());
    for instruction in instructions {
        match instruction.inputs.first().filter(|input| is_mask(instruction) && made.contains(input)) {
            Some(input) => masks.entry(*input).or_default().push(instruction),
            None => waiting.push(instruction),
        }
    }
    waiting.reverse();
    let mut order = Vec::with_capacity(instructions.len());
    while let Some(instruction) = waiting.pop() {
        waiting.extend(masks.remove(&instruction.output).unwrap_or_default().into_iter().rev());
        order.push(instruction.clone());
    }
    order
}

type Key = Option<(WeightId, (usize, usize))>;

/// The weight and rows of a product: products with equal keys are written as one.
fn key(instruction: &Instruction) -> Key {
    match instruction.op {
        Op::Product { weight, rows } => Some((weight, rows)),
        _ => None,
    }
}

/// The input and output of each product by key, except products of stacked values.
fn products(plan: &Plan) -> HashMap<Key, Vec<(ValueId, ValueId)>> {
    let mut products: HashMap<Key, Vec<(ValueId, ValueId)>> = HashMap::new();
    for instruction in &plan.instructions {
        if let (Some(key), [_]) = (key(instruction), &instruction.shape.0[..]) {
            products.entry(Some(key)).or_default().push((instruction.inputs[0], instruction.output));
        }
    }
    products
}
