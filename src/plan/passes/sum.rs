//! Adds the operations of one node's edges before the edges part.
//!
//! After grouping, each operation of a node is one value, of which every target adds its block of channels. Groups
//! that go to the same targets are added to each other first, so that a target takes one block of a node, not one of
//! each operation.

use std::collections::HashMap;

use super::Pass;
use super::editor::{Editor, Partial, readers};
use crate::error::Result;
use crate::plan::{Instruction, Op, Plan, Shape, ValueId};

/// Rewrites sums of blocks of channels.
pub struct Sum;

impl Pass for Sum {
    fn name(&self) -> &'static str {
        "sum"
    }

    fn apply(&self, plan: Plan) -> Result<Plan> {
        let (output, found) = (plan.output, Bundles::find(&plan));
        let (editor, instructions) = Editor::new(plan);
        let mut writer = Writer { editor, found, bundles: HashMap::new(), sums: HashMap::new() };
        for instruction in instructions {
            writer.instruction(instruction)?;
        }
        let output = writer.sums.get(&output).map_or(output, |sum| sum.value);
        Ok(writer.editor.finish(output))
    }
}

/// Which sums there are, and which groups can be added before they part.
struct Bundles {
    /// The last value of the sum that an addition belongs to, by the addition's output.
    sum: HashMap<ValueId, ValueId>,
    /// The targets of each group that is added to others, by its blocks.
    targets: HashMap<ValueId, usize>,
    /// The bundles: what their groups have in common.
    bundles: Vec<Vec<ValueId>>,
}

impl Bundles {
    fn find(plan: &Plan) -> Self {
        let all = &plan.instructions;
        let readers = readers(all);
        let is_sum = |instruction: &Instruction| matches!(instruction.op, Op::Add | Op::Accumulate);
        let mut sum: HashMap<ValueId, ValueId> = HashMap::new();
        for instruction in all.iter().rev().filter(|it| is_sum(it)) {
            let next = match readers.get(&instruction.output).map(Vec::as_slice) {
                Some([only]) if is_sum(&all[*only]) => sum.get(&all[*only].output).copied(),
                _ => None,
            };
            sum.insert(instruction.output, next.unwrap_or(instruction.output));
        }
        // The sum that alone reads a value, once.
        let reader = |value: &ValueId| match readers.get(value).map(Vec::as_slice) {
            Some([only]) => sum.get(&all[*only].output).copied(),
            _ => None,
        };
        let mut alike: Vec<(Vec<ValueId>, Shape, Vec<ValueId>)> = Vec::new();
        for group in all {
            let Some(slices) = readers.get(&group.output) else { continue };
            let block = |index: usize| {
                let is = |it: &&Instruction| matches!(it.op, Op::Slice { index: i, .. } if i == index);
                slices.iter().map(|slice| &all[*slice]).find(is)
            };
            let whole = |it: &Instruction| matches!(it.op, Op::Slice { of, .. } if of == slices.len());
            let is_normalised = matches!(group.op, Op::BatchNorm { .. });
            if !is_normalised || !slices.iter().all(|slice| whole(&all[*slice])) {
                continue;
            }
            let ends = (0..slices.len()).map(|index| block(index).and_then(|slice| reader(&slice.output)));
            let Some(ends) = ends.collect::<Option<Vec<_>>>() else { continue };
            match alike.iter_mut().find(|(known, shape, _)| *known == ends && *shape == group.shape) {
                Some((_, _, groups)) => groups.push(group.output),
                None => alike.push((ends, group.shape.clone(), vec![group.output])),
            }
        }
        let (mut targets, mut bundles) = (HashMap::new(), Vec::new());
        for (ends, _, groups) in alike.into_iter().filter(|(_, _, groups)| groups.len() > 1) {
            targets.extend(groups.into_iter().map(|group| (group, bundles.len())));
            bundles.push(ends);
        }
        Bundles { sum, targets, bundles }
    }
}

struct Writer {
    editor: Editor,
    found: Bundles,
    /// The groups of a bundle, added.
    bundles: HashMap<usize, Partial>,
    /// What each sum has received.
    sums: HashMap<ValueId, Partial>,
}

impl Writer {
    fn instruction(&mut self, mut instruction: Instruction) -> Result<()> {
        let bundled = |value: &ValueId| self.found.targets.contains_key(value);
        if matches!(instruction.op, Op::Slice { .. }) && instruction.inputs.iter().any(bundled) {
            return Ok(());
        }
        if let Some(sum) = self.found.sum.get(&instruction.output).copied() {
            return self.addition(sum, &instruction);
        }
        for input in &mut instruction.inputs {
            *input = self.sums.get(input).map_or(*input, |sum| sum.value);
        }
        let (value, scope) = (instruction.output, instruction.scope.clone());
        self.editor.keep(instruction);
        if let Some(bundle) = self.found.targets.get(&value).copied() {
            let so_far = self.bundles.get(&bundle).copied();
            let added = self.editor.plus(so_far, Partial { value, owned: true }, &scope)?;
            self.bundles.insert(bundle, added);
        }
        Ok(())
    }

    /// An instruction of `sum`: adds those of its inputs that are terms and come in no bundle.
    fn addition(&mut self, sum: ValueId, instruction: &Instruction) -> Result<()> {
        for (place, input) in instruction.inputs.iter().enumerate() {
            let is_of_sum = self.found.sum.get(input) == Some(&sum);
            // A block of a bundle was never written.
            if is_of_sum || self.editor.shape(*input).is_err() && !self.sums.contains_key(input) {
                continue;
            }
            let value = self.sums.get(input).map_or(*input, |sum| sum.value);
            let owned = place == 0 && instruction.op == Op::Accumulate;
            let so_far = self.sums.get(&sum).copied();
            let added = self.editor.plus(so_far, Partial { value, owned }, &instruction.scope)?;
            self.sums.insert(sum, added);
        }
        if instruction.output != sum {
            return Ok(());
        }
        for bundle in 0..self.found.bundles.len() {
            let ends = self.found.bundles[bundle].clone();
            for (index, _) in ends.iter().enumerate().filter(|(_, end)| **end == sum) {
                let Some(together) = self.bundles.get(&bundle).copied() else { continue };
                let slice = Op::Slice { index, of: ends.len() };
                let value = self.editor.push(slice, vec![together.value], &instruction.scope)?;
                let so_far = self.sums.get(&sum).copied();
                let added = self.editor.plus(so_far, Partial { value, owned: false }, &instruction.scope)?;
                self.sums.insert(sum, added);
            }
        }
        Ok(())
    }
}
