//! The rewriter that all passes share: it walks over the instructions of a plan, infers the shapes of new values and
//! numbers them, and lets later instructions read a value's replacement.

use std::collections::{HashMap, HashSet};

use crate::error::{Error, Result};
use crate::plan::{Instruction, Op, Plan, Scope, Shape, Sizes, ValueId};

/// The plan as rewritten so far.
pub(super) struct Editor {
    plan: Plan,
    shapes: HashMap<ValueId, Shape>,
    /// The values that replace values of the old plan.
    replacements: HashMap<ValueId, Term>,
    /// Values that are views of other values, and share their memory.
    views: HashSet<ValueId>,
    fresh: usize,
}

/// A term of a sum, or the sum of the terms so far.
#[derive(Clone, Copy)]
pub(super) struct Term {
    pub value: ValueId,
    /// Whether it may be overwritten.
    pub owned: bool,
}

impl Editor {
    /// Rewrites a plan: `step` gets its instructions in order and writes what takes the place of each.
    pub fn rewrite<'a>(
        plan: &'a Plan,
        mut step: impl FnMut(&mut Editor, &'a Instruction) -> Result<()>,
    ) -> Result<Plan> {
        let mut shapes = HashMap::from([(plan.input, plan.input_shape.clone())]);
        if let (Some(recurrence), Sizes::Words(language)) = (plan.recurrence, plan.sizes) {
            shapes.insert(recurrence.state, Shape(vec![language.units]));
        }
        let (replacements, views) = (HashMap::new(), HashSet::new());
        let mut editor = Editor { plan: plan.clone(), shapes, replacements, views, fresh: plan.values() };
        editor.plan.instructions.clear();
        for instruction in &plan.instructions {
            step(&mut editor, instruction)?;
        }
        let Editor { mut plan, .. } = editor;
        plan.output = resolve(&editor.replacements, plan.output);
        if let Some(recurrence) = &mut plan.recurrence {
            recurrence.next = resolve(&editor.replacements, recurrence.next);
        }
        Ok(plan)
    }

    /// The instructions written so far.
    pub fn instructions(&mut self) -> &mut [Instruction] {
        &mut self.plan.instructions
    }

    /// The value itself, or its replacement.
    pub fn resolve(&self, value: ValueId) -> ValueId {
        resolve(&self.replacements, value)
    }

    /// Lets all instructions that are written from now on read `replacement` instead of `value`.
    pub fn replace(&mut self, value: ValueId, replacement: ValueId) {
        let replacement = Term { value: self.resolve(replacement), owned: false };
        self.replacements.insert(value, replacement);
    }

    /// Adds a term to the sum that replaces `value`: in place, if the sum or the term may be overwritten.
    pub fn add(&mut self, value: ValueId, term: Term, scope: &Scope) -> Result<()> {
        let term = Term { value: self.resolve(term.value), ..term };
        let sum = match self.replacements.get(&value).copied() {
            None => term,
            Some(sum) => self.sum(sum, term, scope)?,
        };
        self.replacements.insert(value, sum);
        Ok(())
    }

    /// Writes the sum of two terms.
    pub fn sum(&mut self, one: Term, other: Term, scope: &Scope) -> Result<Term> {
        let (op, inputs) = match (one.owned, other.owned) {
            (true, _) => (Op::Accumulate, vec![one.value, other.value]),
            (false, true) => (Op::Accumulate, vec![other.value, one.value]),
            (false, false) => (Op::Add, vec![one.value, other.value]),
        };
        Ok(Term { value: self.push(op, inputs, scope)?, owned: true })
    }

    /// The shape of a value that has been written.
    pub fn shape(&self, value: ValueId) -> Result<&Shape> {
        let value = self.resolve(value);
        self.shapes.get(&value).ok_or_else(|| Error::engine(format!("value {} has not been written yet", value.0)))
    }

    /// Writes an instruction that defines a new value.
    pub fn push(&mut self, op: Op, inputs: Vec<ValueId>, scope: &Scope) -> Result<ValueId> {
        let output = ValueId(self.fresh);
        self.fresh += 1;
        self.define(op, inputs, scope, output)?;
        Ok(output)
    }

    /// Writes an instruction that defines `output`.
    pub fn define(&mut self, op: Op, inputs: Vec<ValueId>, scope: &Scope, output: ValueId) -> Result<()> {
        let shapes = inputs.iter().map(|value| self.shape(*value)).collect::<Result<Vec<_>>>()?;
        let shape = op
            .output_shape(&shapes, &self.plan.weights)
            .map_err(|detail| Error::engine(format!("`{scope}` cannot be rewritten: {detail}")))?;
        self.write(Instruction { op, inputs, output, shape, scope: scope.clone() });
        Ok(())
    }

    /// Writes an instruction of the old plan.
    pub fn keep(&mut self, instruction: &Instruction) -> Result<()> {
        self.write(instruction.clone());
        Ok(())
    }

    fn write(&mut self, mut instruction: Instruction) {
        for input in &mut instruction.inputs {
            *input = self.resolve(*input);
        }
        match instruction.op {
            Op::Slice { .. } | Op::Unstack { .. } | Op::Cut { rest: true, .. } => {
                self.views.insert(instruction.output);
            }
            // Overwriting a view would overwrite a part of another value.
            Op::Accumulate if instruction.inputs.first().is_some_and(|into| self.views.contains(into)) => {
                instruction.op = Op::Add;
            }
            _ => {}
        }
        self.shapes.insert(instruction.output, instruction.shape.clone());
        self.plan.instructions.push(instruction);
    }
}

fn resolve(replacements: &HashMap<ValueId, Term>, value: ValueId) -> ValueId {
    replacements.get(&value).map_or(value, |replacement| replacement.value)
}

/// The plan without instructions whose values are never read.
pub(in crate::plan) fn prune(mut plan: Plan) -> Plan {
    let mut read: HashSet<ValueId> = plan.recurrence.iter().map(|recurrence| recurrence.next).collect();
    read.insert(plan.output);
    let mut kept: Vec<Instruction> = Vec::with_capacity(plan.instructions.len());
    for instruction in plan.instructions.into_iter().rev() {
        if read.contains(&instruction.output) {
            read.extend(&instruction.inputs);
            kept.push(instruction);
        }
    }
    kept.reverse();
    plan.instructions = kept;
    plan
}

/// The instructions that read each value, once per time that they read it.
pub(super) fn readers(plan: &Plan) -> HashMap<ValueId, Vec<&Instruction>> {
    let mut readers: HashMap<ValueId, Vec<&Instruction>> = HashMap::new();
    for instruction in &plan.instructions {
        for input in &instruction.inputs {
            readers.entry(*input).or_default().push(instruction);
        }
    }
    readers
}
