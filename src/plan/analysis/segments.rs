//! Cuts a plan into runs of instructions that a backward pass can compute again from their inputs.

use std::collections::{HashMap, HashSet};
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
        let mut before = vec![0_u64];
        for instruction in &self.instructions {
            before.push(before[before.len() - 1] + instruction.shape.elements());
        }
        let total = before[self.instructions.len()];
        let middle = starts(self).into_iter().min_by_key(|start| (2 * before[*start]).abs_diff(total));
        cut(self, middle.as_slice())
    }
}

/// The first instruction of each cell but the first.
fn starts(plan: &Plan) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut cell = None;
    let unmodified = unmodified(plan);
    for (index, instruction) in plan.instructions.iter().enumerate() {
        let here = match instruction.scope.module {
            Module::Cell(cell) => Some(cell),
            _ => None,
        };
        if here.is_some() && cell.is_some() && here != cell && unmodified[index] {
            starts.push(index);
        }
        cell = here.or(cell);
    }
    starts
}

/// For each instruction, whether no instruction from it on overwrites an earlier value: a segment is computed again from
/// its inputs.
fn unmodified(plan: &Plan) -> Vec<bool> {
    let mut made: HashMap<ValueId, usize> = HashMap::new();
    // The overwritten values that exist before an instruction: those that begin to exist there less those that end.
    let mut changes = vec![0_isize; plan.instructions.len() + 1];
    for (index, instruction) in plan.instructions.iter().enumerate() {
        let written = instruction.inputs.first().filter(|_| instruction.op == Op::Accumulate);
        if let Some(first) = written.and_then(|value| made.get(value)) {
            changes[first + 1] += 1;
            changes[index + 1] -= 1;
        }
        made.entry(instruction.output).or_insert(index);
    }
    let overwritten = changes.iter().scan(0, |sum, change| {
        *sum += change;
        Some(*sum)
    });
    overwritten.map(|count| count == 0).collect()
}

fn cut(plan: &Plan, at: &[usize]) -> Vec<Segment> {
    let mut last_read: HashMap<ValueId, usize> = HashMap::new();
    for (index, instruction) in plan.instructions.iter().enumerate() {
        last_read.extend(instruction.inputs.iter().map(|value| (*value, index)));
    }
    let ends: Vec<usize> = [0].iter().chain(at).copied().chain([plan.instructions.len()]).collect();
    ends.windows(2).map(|pair| segment(plan, pair[0]..pair[1], &last_read)).collect()
}

fn segment(plan: &Plan, range: Range<usize>, last_read: &HashMap<ValueId, usize>) -> Segment {
    let inside = &plan.instructions[range.clone()];
    let made: HashSet<ValueId> = inside.iter().map(|it| it.output).collect();
    let mut inputs: Vec<ValueId> = inside.iter().flat_map(|it| it.inputs.iter().copied()).collect();
    inputs.retain(|value| !made.contains(value));
    let is_read_later = |value: &ValueId| last_read.get(value).is_some_and(|index| *index >= range.end);
    let mut outputs: Vec<ValueId> = made.iter().copied().filter(is_read_later).collect();
    for values in [&mut inputs, &mut outputs] {
        values.sort_unstable();
        values.dedup();
    }
    Segment { range, inputs, outputs }
}
