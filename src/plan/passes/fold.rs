//! Folds the mixing weight of an operation into the scale of the batch norm that ends it.
//!
//! Σ_o p_o · norm(z_o) needs each normalised z_o once more for the gradient of p_o. As the batch norm's scale, p_o
//! gets its gradient from the batch norm's own backward pass, nothing more is kept, and the sum grows in place, each
//! term added while it is still in the cache.

use std::collections::{HashMap, HashSet};

use super::editor::{Editor, Term, readers};
use crate::error::Result;
use crate::plan::{AlphaId, Op, Plan, Scale, ValueId};

pub(super) fn apply(plan: &Plan) -> Result<Plan> {
    let foldable = foldable(plan);
    Editor::rewrite(plan, |editor, instruction| {
        let scope = &instruction.scope;
        match &instruction.op {
            Op::BatchNorm { statistic, members, aliases, .. } if foldable.contains_key(&instruction.output) => {
                let Folded { mixture, alpha, term } = foldable[&instruction.output];
                let scale = Scale::Mixing { alpha, terms: vec![term] };
                let op = Op::BatchNorm { statistic: *statistic, members: *members, aliases: aliases.clone(), scale };
                editor.define(op, instruction.inputs.clone(), scope, instruction.output)?;
                editor.add(mixture, Term { value: instruction.output, owned: true }, scope)
            }
            Op::Mix { alpha, terms } => {
                let rest = instruction.inputs.iter().zip(terms).filter(|(input, _)| !foldable.contains_key(input));
                let (inputs, terms): (Vec<ValueId>, Vec<_>) = rest.unzip();
                if inputs.is_empty() {
                    return Ok(());
                }
                let value = editor.push(Op::Mix { alpha: *alpha, terms }, inputs, scope)?;
                editor.add(instruction.output, Term { value, owned: true }, scope)
            }
            _ => editor.keep(instruction),
        }
    })
}

/// The term of a mixture that a batch norm takes over.
#[derive(Clone, Copy)]
struct Folded {
    mixture: ValueId,
    alpha: AlphaId,
    term: (usize, usize),
}

/// The plain batch norms whose output is read once, by a mixture.
fn foldable(plan: &Plan) -> HashMap<ValueId, Folded> {
    let readers = readers(plan);
    let norms = plan.instructions.iter().filter(|it| matches!(it.op, Op::BatchNorm { scale: Scale::One, .. }));
    let norms: HashSet<ValueId> = norms.map(|it| it.output).collect();
    let mut foldable = HashMap::new();
    for instruction in &plan.instructions {
        let Op::Mix { alpha, terms } = &instruction.op else { continue };
        for (input, term) in instruction.inputs.iter().zip(terms) {
            if norms.contains(input) && readers[input].len() == 1 {
                foldable.insert(*input, Folded { mixture: instruction.output, alpha: *alpha, term: *term });
            }
        }
    }
    foldable
}
