//! Lets the mixing weight of an operation ride in the scale of the batch norm that ends it.
//!
//! Σ_o p_o · norm(z_o) needs each normalised z_o once more for the gradient of p_o. As the batch norm's scale, p_o
//! gets its gradient from the batch norm's own backward pass, nothing more is kept, and the sum grows in place, each
//! term added while it is still in the cache.

use std::collections::{HashMap, HashSet};

use super::Pass;
use super::editor::{Editor, Partial, readers};
use crate::error::Result;
use crate::plan::{AlphaId, Instruction, Op, Plan, Scale, ValueId};

/// Rewrites mixtures of batch norms.
pub struct Fold;

impl Pass for Fold {
    fn name(&self) -> &'static str {
        "fold"
    }

    fn apply(&self, plan: Plan) -> Result<Plan> {
        let foldable = foldable(&plan);
        let output = plan.output;
        let (mut editor, instructions) = Editor::new(plan);
        // The sum of what a mixture has received so far, by the mixture's output.
        let mut sums: HashMap<ValueId, Partial> = HashMap::new();
        for mut instruction in instructions {
            if let Op::Mix { terms, .. } = &mut instruction.op {
                let stays: Vec<bool> = instruction.inputs.iter().map(|input| !foldable.contains_key(input)).collect();
                terms.retain(with(&stays));
                instruction.inputs.retain(with(&stays));
            }
            for input in &mut instruction.inputs {
                *input = sums.get(input).map_or(*input, |sum| sum.value);
            }
            let scope = instruction.scope.clone();
            match instruction.op {
                Op::BatchNorm { statistic, members, aliases, .. } if foldable.contains_key(&instruction.output) => {
                    let Place { mixture, alpha, term } = foldable[&instruction.output];
                    let scale = Scale::Mixing { alpha, terms: vec![term] };
                    let norm = Op::BatchNorm { statistic, members, aliases, scale };
                    editor.define(norm, instruction.inputs, &scope, instruction.output)?;
                    add(&mut editor, &mut sums, mixture, instruction.output, &scope)?;
                }
                Op::Mix { terms, .. } if terms.is_empty() => {}
                op @ Op::Mix { .. } => {
                    let mixed = editor.push(op, instruction.inputs, &scope)?;
                    add(&mut editor, &mut sums, instruction.output, mixed, &scope)?;
                }
                op => editor.keep(Instruction { op, ..instruction }),
            }
        }
        Ok(editor.finish(sums.get(&output).map_or(output, |sum| sum.value)))
    }
}

/// Keeps the elements whose flag is set.
fn with<T>(flags: &[bool]) -> impl FnMut(&T) -> bool {
    let mut flags = flags.iter();
    move |_| flags.next().copied().unwrap_or(true)
}

/// The mixture a batch norm ends in.
#[derive(Clone, Copy)]
struct Place {
    mixture: ValueId,
    alpha: AlphaId,
    term: (usize, usize),
}

/// The plain batch norms whose output one mixture reads, once, and nobody else.
fn foldable(plan: &Plan) -> HashMap<ValueId, Place> {
    let readers = readers(&plan.instructions);
    let is_plain = |it: &&Instruction| matches!(it.op, Op::BatchNorm { scale: Scale::One, .. });
    let norms: HashSet<ValueId> = plan.instructions.iter().filter(is_plain).map(|it| it.output).collect();
    let mut places = HashMap::new();
    for instruction in &plan.instructions {
        let Op::Mix { alpha, terms } = &instruction.op else { continue };
        for (input, term) in instruction.inputs.iter().zip(terms) {
            if norms.contains(input) && readers[input].len() == 1 {
                places.insert(*input, Place { mixture: instruction.output, alpha: *alpha, term: *term });
            }
        }
    }
    places
}

/// Adds a term to the sum of a mixture.
fn add(
    editor: &mut Editor,
    sums: &mut HashMap<ValueId, Partial>,
    mixture: ValueId,
    term: ValueId,
    scope: &str,
) -> Result<()> {
    let term = Partial { value: term, owned: true };
    let sum = editor.plus(sums.get(&mixture).copied(), term, scope)?;
    sums.insert(mixture, sum);
    Ok(())
}
