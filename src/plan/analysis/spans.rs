//! Which instructions of a recurrent plan can be run for all tokens of a sequence at once.

use std::collections::{BTreeSet, HashSet};

use crate::plan::{Plan, Recurrence, ValueId};

/// The instructions of a recurrent plan, grouped by whether they depend on the state.
#[derive(Debug, PartialEq, Eq)]
pub struct Spans {
    /// Instructions that do not depend on the state: run for all tokens at once, first.
    pub before: Vec<usize>,
    /// Instructions between the state and the next state: run once per token.
    pub within: Vec<usize>,
    /// Instructions that depend on the state but do not contribute to the next one: run for all tokens at once, last.
    pub after: Vec<usize>,
    /// Values of `before`, or inputs of the plan, that `within` reads.
    pub read_within: Vec<ValueId>,
    /// Values of `within` that `after` reads, and the next state.
    pub read_after: Vec<ValueId>,
}

impl Plan {
    /// The spans of a recurrent plan; `None` for a plan that reads images.
    pub fn spans(&self) -> Option<Spans> {
        let Recurrence { state, next } = self.recurrence?;
        let mut depend: HashSet<ValueId> = HashSet::from([state]);
        for instruction in &self.instructions {
            if instruction.inputs.iter().any(|input| depend.contains(input)) {
                depend.insert(instruction.output);
            }
        }
        let mut wanted: HashSet<ValueId> = HashSet::from([next]);
        for instruction in self.instructions.iter().rev() {
            if wanted.contains(&instruction.output) {
                wanted.extend(&instruction.inputs);
            }
        }
        let (mut before, mut within, mut after) = (Vec::new(), Vec::new(), Vec::new());
        for (index, instruction) in self.instructions.iter().enumerate() {
            let span = match (depend.contains(&instruction.output), wanted.contains(&instruction.output)) {
                (false, _) => &mut before,
                (true, true) => &mut within,
                (true, false) => &mut after,
            };
            span.push(index);
        }
        let read = |span: &[usize], wanted: &dyn Fn(&ValueId) -> bool| -> BTreeSet<ValueId> {
            span.iter().flat_map(|index| &self.instructions[*index].inputs).copied().filter(wanted).collect()
        };
        let read_within = read(&within, &|value| !depend.contains(value)).into_iter().collect();
        let mut read_after = read(&after, &|value| depend.contains(value) && wanted.contains(value));
        read_after.insert(next);
        Some(Spans { before, within, after, read_within, read_after: read_after.into_iter().collect() })
    }
}
