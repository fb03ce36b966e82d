//! What passes write a plan with: instructions appended in order, their shapes computed, fresh values numbered.

use std::collections::{HashMap, HashSet};

use crate::error::{Error, Result};
use crate::plan::{Form, Instruction, Op, Plan, Shape, Site, Sizes, ValueId};

/// The instructions written so far.
pub(super) struct Editor {
    plan: Plan,
    shapes: HashMap<ValueId, Shape>,
    /// Blocks of other values, whose memory they share.
    blocks: HashSet<ValueId>,
    fresh: usize,
}

/// A sum so far, or a term of one.
#[derive(Clone, Copy)]
pub(super) struct Partial {
    pub value: ValueId,
    /// Whether it may be written over.
    pub owned: bool,
}

impl Editor {
    /// Takes the instructions out of a plan; the caller writes them anew.
    pub fn new(mut plan: Plan) -> (Self, Vec<Instruction>) {
        let fresh = plan.values();
        let mut shapes = HashMap::from([(plan.input, plan.input_shape.clone())]);
        if let (Some(recurrence), Sizes::Words(language)) = (plan.recurrence, plan.sizes) {
            shapes.insert(recurrence.state, Shape(vec![language.units]));
        }
        let instructions = std::mem::take(&mut plan.instructions);
        (Editor { plan, shapes, blocks: HashSet::new(), fresh }, instructions)
    }

    /// Notes the form that a site was given.
    pub fn note(&mut self, site: &Site, form: Form) {
        self.plan.forms.insert(site.to_string(), form);
    }

    /// The plan with what was written.
    pub fn finish(self, output: ValueId) -> Plan {
        Plan { output, ..self.plan }
    }

    /// The shape of a value that is written already.
    pub fn shape(&self, value: ValueId) -> Result<&Shape> {
        self.shapes.get(&value).ok_or_else(|| Error::engine(format!("value {} is not written yet", value.0)))
    }

    /// Shape of a weight.
    pub fn weight_shape(&self, weight: crate::plan::WeightId) -> &[usize] {
        self.plan.weights.get(weight.0).map_or(&[], |weight| &weight.shape)
    }

    /// Writes an instruction that defines a new value.
    pub fn push(&mut self, op: Op, inputs: Vec<ValueId>, scope: &str) -> Result<ValueId> {
        let output = ValueId(self.fresh);
        self.fresh += 1;
        self.define(op, inputs, scope, output)?;
        Ok(output)
    }

    /// Writes an instruction that defines `output`.
    pub fn define(&mut self, op: Op, inputs: Vec<ValueId>, scope: &str, output: ValueId) -> Result<()> {
        let shapes = inputs.iter().map(|value| self.shape(*value)).collect::<Result<Vec<_>>>()?;
        let shape = op
            .output_shape(&shapes, &self.plan.weights)
            .map_err(|detail| Error::engine(format!("`{scope}` cannot be rewritten: {detail}")))?;
        self.keep(Instruction { op, inputs, output, shape, scope: scope.to_owned() });
        Ok(())
    }

    /// Writes an instruction as it is, but for a sum that would be written over a block of another value.
    pub fn keep(&mut self, mut instruction: Instruction) {
        match instruction.op {
            Op::Slice { .. } | Op::Unstack { .. } => {
                self.blocks.insert(instruction.output);
            }
            Op::Accumulate if instruction.inputs.first().is_some_and(|into| self.blocks.contains(into)) => {
                instruction.op = Op::Add;
            }
            _ => {}
        }
        self.shapes.insert(instruction.output, instruction.shape.clone());
        self.plan.instructions.push(instruction);
    }

    /// Writes the addition of a term to what a sum has received, over one of them if it may be.
    pub fn plus(&mut self, so_far: Option<Partial>, term: Partial, scope: &str) -> Result<Partial> {
        let Some(so_far) = so_far else { return Ok(term) };
        let (op, inputs) = match (so_far.owned, term.owned) {
            (true, _) => (Op::Accumulate, vec![so_far.value, term.value]),
            (false, true) => (Op::Accumulate, vec![term.value, so_far.value]),
            (false, false) => (Op::Add, vec![so_far.value, term.value]),
        };
        Ok(Partial { value: self.push(op, inputs, scope)?, owned: true })
    }
}

/// The plan without instructions whose values nobody reads.
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

/// For each value the places of the instructions that read it.
pub(super) fn readers(instructions: &[Instruction]) -> HashMap<ValueId, Vec<usize>> {
    let mut readers: HashMap<ValueId, Vec<usize>> = HashMap::new();
    for (index, instruction) in instructions.iter().enumerate() {
        for input in &instruction.inputs {
            readers.entry(*input).or_default().push(index);
        }
    }
    readers
}
