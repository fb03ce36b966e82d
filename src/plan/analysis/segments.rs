//! Cuts a plan into runs of instructions that a backward pass can compute again from their inputs.

use std::collections::HashSet;
use std::ops::Range;

use crate::plan::{Module, Op, Plan, ValueId};

/// A run of instructions.
#[derive(Debug, PartialEq)]
pub struct Segment {
    /// The positions of its instructions in the plan.
    pub range: Range<usize>,
    /// Values of earlier segments that it reads.
    pub inputs: Vec<ValueId>,
    /// Values that later segments read.
    pub outputs: Vec<ValueId>,
}

impl Plan {
    /// The whole plan as one segment.
    pub fn whole(&self) -> Vec<Segment> {
        cut(self, &[])
    }

    /// One segment per cell; the first includes the stem, the last the classifier.
    pub fn cells(&self) -> Vec<Segment> {
        cut(self, &starts(self))
    }

    /// Two segments of whole cells that compute about the same number of elements.
    pub fn halves(&self) -> Vec<Segment> {
        let before = |index: usize| self.instructions[..index].iter().map(|it| it.shape.elements()).sum::<u64>();
        let total = before(self.instructions.len());
        let middle = starts(self).into_iter().min_by_key(|start| (2 * before(*start)).abs_diff(total));
        cut(self, middle.as_slice())
    }
}

/// The first instruction of each cell but the first.
fn starts(plan: &Plan) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut cell = None;
    for (index, instruction) in plan.instructions.iter().enumerate() {
        let here = match instruction.scope.module {
            Module::Cell(cell) => Some(cell),
            _ => None,
        };
        if here.is_some() && cell.is_some() && here != cell && is_unmodified(plan, index) {
            starts.push(index);
        }
        cell = here.or(cell);
    }
    starts
}

/// Whether no instruction from `index` on overwrites an earlier value: a segment is computed again from its inputs.
fn is_unmodified(plan: &Plan, index: usize) -> bool {
    let (before, after) = plan.instructions.split_at(index);
    let written = after.iter().filter(|it| it.op == Op::Accumulate).filter_map(|it| it.inputs.first());
    let made: HashSet<ValueId> = before.iter().map(|it| it.output).collect();
    !written.into_iter().any(|value| made.contains(value))
}

fn cut(plan: &Plan, at: &[usize]) -> Vec<Segment> {
    let ends: Vec<usize> = [0].iter().chain(at).copied().chain([plan.instructions.len()]).collect();
    ends.windows(2).map(|pair| segment(plan, pair[0]..pair[1])).collect()
}

fn segment(plan: &Plan, range: Range<usize>) -> Segment {
    let inside = &plan.instructions[range.clone()];
    let made = |value: &ValueId| inside.iter().any(|it| it.output == *value);
    let mut inputs: Vec<ValueId> = inside.iter().flat_map(|it| it.inputs.iter().copied()).collect();
    inputs.retain(|value| !made(value));
    let mut outputs: Vec<ValueId> =
        plan.instructions[range.end..].iter().flat_map(|it| it.inputs.iter().copied()).collect();
    outputs.retain(made);
    for values in [&mut inputs, &mut outputs] {
        values.sort_unstable();
        values.dedup();
    }
    Segment { range, inputs, outputs }
}
