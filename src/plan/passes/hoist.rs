//! Splits the product of a cell's input and state, so that the product of the input does not depend on the state.
//!
//! [x, h]·w is x·w_above + h·w_below: the first is one product for all tokens of a sequence.

use std::collections::{HashMap, HashSet};

use super::editor::{Editor, prune};
use crate::error::Result;
use crate::plan::{Op, Plan, ValueId};

pub(super) fn apply(plan: &Plan) -> Result<Plan> {
    let Some(spans) = plan.spans() else { return Ok(plan.clone()) };
    let ready: HashSet<ValueId> = spans.before.iter().map(|index| plan.instructions[*index].output).collect();
    let mut pairs: HashMap<ValueId, [ValueId; 2]> = HashMap::new();
    let rewritten = Editor::rewrite(plan, |editor, instruction| {
        if let (Op::Concat { blocks: 1 }, [above, below]) = (&instruction.op, &instruction.inputs[..])
            && ready.contains(above)
            && !ready.contains(below)
        {
            pairs.insert(instruction.output, [*above, *below]);
        }
        let pair = instruction.inputs.first().and_then(|input| pairs.get(input)).copied();
        let (Op::Product { weight, rows: (first, _) }, Some([above, below])) = (&instruction.op, pair) else {
            return editor.keep(instruction);
        };
        let (upper, lower) = (editor.shape(above)?.channels(), editor.shape(below)?.channels());
        let product = |rows| Op::Product { weight: *weight, rows };
        let above = editor.push(product((*first, upper)), vec![above], &instruction.scope)?;
        let below = editor.push(product((first + upper, lower)), vec![below], &instruction.scope)?;
        editor.define(Op::Add, vec![above, below], &instruction.scope, instruction.output)
    })?;
    Ok(prune(rewritten))
}
