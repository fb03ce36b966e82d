//! Splits the product of a cell's input and state, so that the input's part does not wait for the state.
//!
//! [x, h]·w is x·w_above + h·w_below: the first is one product for all tokens of a sequence.

use std::collections::{HashMap, HashSet};

use super::Pass;
use super::editor::{Editor, prune};
use crate::error::Result;
use crate::plan::{Op, Plan, ValueId};

/// Rewrites products of concatenations.
pub struct Hoist;

impl Pass for Hoist {
    fn name(&self) -> &'static str {
        "hoist"
    }

    fn apply(&self, plan: Plan) -> Result<Plan> {
        let Some(spans) = plan.spans() else { return Ok(plan) };
        let ready: HashSet<ValueId> = spans.before.iter().map(|index| plan.instructions[*index].output).collect();
        let output = plan.output;
        let (mut editor, instructions) = Editor::new(plan);
        let mut pairs: HashMap<ValueId, [ValueId; 2]> = HashMap::new();
        for instruction in instructions {
            if let (Op::Concat { blocks: 1 }, [above, below]) = (&instruction.op, &instruction.inputs[..])
                && ready.contains(above)
                && !ready.contains(below)
            {
                pairs.insert(instruction.output, [*above, *below]);
            }
            let pair = instruction.inputs.first().and_then(|input| pairs.get(input)).copied();
            let (Op::Product { weight, rows: (first, _) }, Some([above, below])) = (&instruction.op, pair) else {
                editor.keep(instruction);
                continue;
            };
            let (upper, lower) = (editor.shape(above)?.channels(), editor.shape(below)?.channels());
            let scope = instruction.scope.as_str();
            let of = |rows| Op::Product { weight: *weight, rows };
            let above = editor.push(of((*first, upper)), vec![above], scope)?;
            let below = editor.push(of((first + upper, lower)), vec![below], scope)?;
            editor.define(Op::Add, vec![above, below], scope, instruction.output)?;
        }
        Ok(prune(editor.finish(output)))
    }
}
