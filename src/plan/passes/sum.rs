//! Adds the operations of one node's edges before the edges part.
//!
//! After grouping, each operation of a node is one value, of which every target adds its block of channels. Groups
//! that go to the same targets are added to each other first, so that a target takes one block per node instead of one
//! per operation.

use std::collections::HashMap;

use super::editor::{Editor, Term, readers};
use crate::error::Result;
use crate::plan::{Instruction, Op, Plan, Shape, ValueId};

pub(super) fn apply(plan: &Plan) -> Result<Plan> {
    let bundles = Bundles::find(plan);
    let mut sums: Vec<Option<Term>> = vec![None; bundles.ends.len()];
    Editor::rewrite(plan, |editor, instruction| {
        if matches!(instruction.op, Op::Slice { .. }) && bundles.groups.contains_key(&instruction.inputs[0]) {
            return Ok(());
        }
        if let Some(end) = bundles.sums.get(&instruction.output) {
            return bundles.add(editor, &sums, *end, instruction);
        }
        editor.keep(instruction)?;
        if let Some(bundle) = bundles.groups.get(&instruction.output) {
            let term = Term { value: instruction.output, owned: true };
            sums[*bundle] = Some(match sums[*bundle] {
                None => term,
                Some(sum) => editor.sum(sum, term, &instruction.scope)?,
            });
        }
        Ok(())
    })
}

/// The sums of a plan, and the groups that can be added before they part.
struct Bundles {
    /// The last value of the sum that an addition belongs to, by the addition's output.
    sums: HashMap<ValueId, ValueId>,
    /// The bundle of each group that is added to others.
    groups: HashMap<ValueId, usize>,
    /// Per bundle the sums that its blocks are terms of, in the order of the blocks.
    ends: Vec<Vec<ValueId>>,
}

impl Bundles {
    fn find(plan: &Plan) -> Self {
        let readers = readers(plan);
        let sums = sums(plan, &readers);
        // The sum that is the only reader of a value.
        let reader = |value: &ValueId| match readers.get(value).map(Vec::as_slice) {
            Some([only]) => sums.get(&only.output).copied(),
            _ => None,
        };
        let mut alike: Vec<(Vec<ValueId>, Shape, Vec<ValueId>)> = Vec::new();
        for group in plan.instructions.iter().filter(|it| matches!(it.op, Op::BatchNorm { .. })) {
            let Some(slices) = readers.get(&group.output) else { continue };
            let whole = |it: &&Instruction| matches!(it.op, Op::Slice { of, .. } if of == slices.len());
            if !slices.iter().all(whole) {
                continue;
            }
            let block = |index: usize| {
                slices.iter().find(|it| matches!(it.op, Op::Slice { index: block, .. } if block == index))
            };
            let ends = (0..slices.len()).map(|index| block(index).and_then(|slice| reader(&slice.output)));
            let Some(ends) = ends.collect::<Option<Vec<_>>>() else { continue };
            match alike.iter_mut().find(|(known, shape, _)| *known == ends && *shape == group.shape) {
                Some((_, _, groups)) => groups.push(group.output),
                None => alike.push((ends, group.shape.clone(), vec![group.output])),
            }
        }
        let mut bundles = Bundles { groups: HashMap::new(), ends: Vec::new(), sums };
        for (ends, _, groups) in alike.into_iter().filter(|(_, _, groups)| groups.len() > 1) {
            bundles.groups.extend(groups.into_iter().map(|group| (group, bundles.ends.len())));
            bundles.ends.push(ends);
        }
        bundles
    }

    /// Writes an addition of the sum `end`: adds those of its inputs that are terms and belong to no bundle. The last
    /// addition adds the blocks of the bundles.
    fn add(&self, editor: &mut Editor, sums: &[Option<Term>], end: ValueId, instruction: &Instruction) -> Result<()> {
        for (place, input) in instruction.inputs.iter().enumerate() {
            // A block of a bundle was not written.
            if self.sums.get(input) == Some(&end) || editor.shape(*input).is_err() {
                continue;
            }
            let owned = place == 0 && instruction.op == Op::Accumulate;
            editor.add(end, Term { value: *input, owned }, &instruction.scope)?;
        }
        if instruction.output != end {
            return Ok(());
        }
        for (ends, sum) in self.ends.iter().zip(sums) {
            let Some(sum) = sum else { continue };
            for (index, _) in ends.iter().enumerate().filter(|(_, other)| **other == end) {
                let slice = Op::Slice { index, of: ends.len() };
                let value = editor.push(slice, vec![sum.value], &instruction.scope)?;
                editor.add(end, Term { value, owned: false }, &instruction.scope)?;
            }
        }
        Ok(())
    }
}

/// For each addition the last value of the sum that it belongs to.
fn sums(plan: &Plan, readers: &HashMap<ValueId, Vec<&Instruction>>) -> HashMap<ValueId, ValueId> {
    let is_sum = |instruction: &Instruction| matches!(instruction.op, Op::Add | Op::Accumulate);
    let mut sums: HashMap<ValueId, ValueId> = HashMap::new();
    for instruction in plan.instructions.iter().rev().filter(|it| is_sum(it)) {
        let next = match readers.get(&instruction.output).map(Vec::as_slice) {
            Some([only]) if is_sum(only) => sums.get(&only.output).copied(),
            _ => None,
        };
        sums.insert(instruction.output, next.unwrap_or(instruction.output));
    }
    sums
}
