//! Multiplies all states that enter a node by the node's weight at once.

use std::collections::{HashMap, HashSet};

use super::Pass;
use super::editor::Editor;
use crate::error::Result;
use crate::plan::{Instruction, Op, Plan, ValueId, WeightId};

/// Rewrites products with one weight.
pub struct Stack;

impl Pass for Stack {
    fn name(&self) -> &'static str {
        "stack"
    }

    fn apply(&self, mut plan: Plan) -> Result<Plan> {
        if plan.recurrence.is_none() {
            return Ok(plan);
        }
        plan.instructions = masks_first(std::mem::take(&mut plan.instructions));
        let teams = teams(&plan);
        let output = plan.output;
        let (mut editor, instructions) = Editor::new(plan);
        let mut written: HashSet<ValueId> = HashSet::new();
        for instruction in instructions {
            let Some(team) = teams.get(&key(&instruction)).filter(|team| team.len() > 1) else {
                editor.keep(instruction);
                continue;
            };
            if written.contains(&instruction.output) {
                continue;
            }
            let inputs: Vec<ValueId> = team.iter().map(|(input, _)| *input).collect();
            if inputs.iter().any(|input| editor.shape(*input).is_err()) {
                editor.keep(instruction);
                continue;
            }
            let scope = instruction.scope.as_str();
            let stack = editor.push(Op::Stack, inputs, scope)?;
            let together = editor.push(instruction.op.clone(), vec![stack], scope)?;
            for (index, (_, product)) in team.iter().enumerate() {
                editor.define(Op::Unstack { index, of: team.len() }, vec![together], scope, *product)?;
                written.insert(*product);
            }
        }
        Ok(editor.finish(output))
    }
}

/// The same instructions with each state's dropout where the state is made, so that a product finds all its inputs.
fn masks_first(instructions: Vec<Instruction>) -> Vec<Instruction> {
    let is_mask = |instruction: &Instruction| matches!(instruction.op, Op::Mask { .. });
    let made: HashSet<ValueId> = instructions.iter().map(|instruction| instruction.output).collect();
    let mut of: HashMap<ValueId, Vec<Instruction>> = HashMap::new();
    let mut order = Vec::with_capacity(instructions.len());
    let mut rest = Vec::with_capacity(instructions.len());
    for instruction in instructions {
        match instruction.inputs.first().copied().filter(|input| is_mask(&instruction) && made.contains(input)) {
            Some(input) => of.entry(input).or_default().push(instruction),
            None => rest.push(instruction),
        }
    }
    let mut waiting: Vec<Instruction> = rest.into_iter().rev().collect();
    while let Some(instruction) = waiting.pop() {
        waiting.extend(of.remove(&instruction.output).unwrap_or_default().into_iter().rev());
        order.push(instruction);
    }
    order
}

type Key = Option<(WeightId, (usize, usize))>;

/// What products have in common that are written as one.
fn key(instruction: &Instruction) -> Key {
    match instruction.op {
        Op::Product { weight, rows } => Some((weight, rows)),
        _ => None,
    }
}

/// The inputs and values of the products of each weight, where they are no stacks already.
fn teams(plan: &Plan) -> HashMap<Key, Vec<(ValueId, ValueId)>> {
    let mut teams: HashMap<Key, Vec<(ValueId, ValueId)>> = HashMap::new();
    for instruction in &plan.instructions {
        if let (Some(key), [_]) = (key(instruction), &instruction.shape.0[..]) {
            teams.entry(Some(key)).or_default().push((instruction.inputs[0], instruction.output));
        }
    }
    teams
}
