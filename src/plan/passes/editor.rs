//! What passes write a plan with: instructions appended in order, their shapes computed, fresh values numbered.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::plan::{Form, Instruction, Op, Plan, Shape, Site, ValueId};

/// The instructions written so far.
pub(super) struct Editor {
    plan: Plan,
    shapes: HashMap<ValueId, Shape>,
    fresh: usize,
}

impl Editor {
    /// Takes the instructions out of a plan; the caller writes them anew.
    pub fn new(mut plan: Plan) -> (Self, Vec<Instruction>) {
        let fresh = plan.values();
        let shapes = HashMap::from([(plan.input, plan.input_shape.clone())]);
        let instructions = std::mem::take(&mut plan.instructions);
        (Editor { plan, shapes, fresh }, instructions)
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
        self.shapes.insert(output, shape.clone());
        self.plan.instructions.push(Instruction { op, inputs, output, shape, scope: scope.to_owned() });
        Ok(())
    }

    /// Writes an instruction as it is.
    pub fn keep(&mut self, instruction: Instruction) {
        self.shapes.insert(instruction.output, instruction.shape.clone());
        self.plan.instructions.push(instruction);
    }
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
