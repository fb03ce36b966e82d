//! A pass that leaves out the operations whose mixing weight is 0: on edges of cells, whatever only such operations need.
//!
//! The rest runs as in a whole pass, so that values and gradients are the same to rounding. A sum without terms is no
//! value at all until something that is not a sum reads it, which then gets zeros.

use std::cell::RefCell;
use std::collections::HashSet;

use tch::{Device, Kind, Tensor};

use super::executable::{Interpreter, Prepared, Value, broken_plan};
use super::layout::channels_second;
use crate::error::{Error, Result};
use crate::params::Table;
use crate::plan::{AlphaId, Instruction, Op, Plan, Scale, ValueId};

/// What a pass leaves out.
pub struct Thinned {
    /// Whether each instruction runs.
    runs: Vec<bool>,
    mixed: Mixed,
    /// Whether the mixing weights have no gradients: then a weight of 1 need not be multiplied.
    constant: bool,
    /// Values that share the memory of another one, which must not be overwritten.
    shared: RefCell<HashSet<ValueId>>,
    /// The number of images, and the dtype and device of values.
    batch: i64,
    options: (Kind, Device),
}

/// Which mixing weights are not 0, on the host.
struct Mixed {
    m: Vec<f64>,
    /// By table: the place of its first weight, and the number of its columns.
    tables: Vec<(usize, usize)>,
}

impl Mixed {
    fn at(&self, alpha: AlphaId, (row, column): (usize, usize)) -> f64 {
        let (first, columns) = self.tables[alpha.0];
        self.m[first + row * columns + column]
    }
}

impl Thinned {
    /// What a pass over `plan` with mixing weights `m`, which are read here, leaves out; `tables` says where they are.
    /// None if no mixing weight of the plan is 0.
    pub fn new(
        plan: &Plan,
        (tables, m): (&Table, &Tensor),
        batch: i64,
        options: (Kind, Device),
    ) -> Result<Option<Self>> {
        let m = Vec::<f64>::try_from(m.f_detach()?.f_to_kind(Kind::Double)?.f_to_device(Device::Cpu)?)?;
        let of_table = |table: &crate::params::Entry| (table.offset as usize, table.shape[1] as usize);
        let tables = tables.entries().iter().map(of_table).collect();
        let mixed = Mixed { m, tables };
        let mut whole = true;
        let mut runs = vec![false; plan.instructions.len()];
        let mut read = vec![false; plan.values()];
        for (index, instruction) in plan.instructions.iter().enumerate().rev() {
            // What is not on an edge runs always: it moves its statistics and kernels, whatever was sampled.
            runs[index] = match &instruction.op {
                _ if instruction.scope.edges().is_empty() => true,
                Op::BatchNorm { scale: Scale::Mixing { alpha, terms }, .. } => {
                    terms.iter().any(|term| mixed.at(*alpha, *term) != 0.0)
                }
                _ => read[instruction.output.0],
            };
            whole &= runs[index];
            if !runs[index] {
                continue;
            }
            match &instruction.op {
                Op::Mix { alpha, terms } => {
                    for (input, term) in instruction.inputs.iter().zip(terms) {
                        read[input.0] |= mixed.at(*alpha, *term) != 0.0;
                    }
                }
                _ => instruction.inputs.iter().for_each(|input| read[input.0] = true),
            }
        }
        let shared = RefCell::default();
        Ok((!whole).then_some(Thinned { runs, mixed, constant: false, shared, batch, options }))
    }

    /// The same for a pass in which the mixing weights have no gradients.
    pub fn without_gradients(self) -> Self {
        Thinned { constant: true, ..self }
    }

    /// Whether an instruction runs.
    pub fn runs(&self, index: usize) -> bool {
        self.runs[index]
    }

    /// Whether a mixing weight is not 0.
    pub fn mixes(&self, alpha: AlphaId, term: (usize, usize)) -> bool {
        self.mixed.at(alpha, term) != 0.0
    }

    /// The value of an instruction; None if it is left out, or a sum of nothing.
    pub fn value<I: Interpreter>(
        &self,
        plan: &Plan,
        interpreter: &I,
        (instruction, prepared): (&Instruction, &Prepared),
        values: &[Option<I::Value>],
    ) -> Result<Option<I::Value>> {
        if !self.runs(prepared.index) {
            return Ok(None);
        }
        let read = |id: &ValueId| values[id.0].as_ref();
        match (&instruction.op, &instruction.inputs[..]) {
            (Op::Mix { alpha, terms }, ids) => {
                let live = |(id, term): &(&ValueId, &(usize, usize))| self.mixes(*alpha, **term) && read(id).is_some();
                let (inputs, terms): (Vec<ValueId>, Vec<_>) = ids.iter().zip(terms).filter(live).unzip();
                let found: Vec<&I::Value> = inputs.iter().filter_map(read).collect();
                if found.is_empty() {
                    return Ok(None);
                }
                if self.constant
                    && let ([only], [term]) = (&found[..], &terms[..])
                    && self.mixed.at(*alpha, *term) == 1.0
                {
                    self.shared.borrow_mut().insert(instruction.output);
                    return Ok(Some(only.share()));
                }
                let scope = instruction.scope.clone();
                let (op, shape) = (Op::Mix { alpha: *alpha, terms }, instruction.shape.clone());
                let fewer = Instruction { op, inputs, output: instruction.output, shape, scope };
                interpreter.value(&fewer, prepared, &found).map(Some)
            }
            (Op::Add | Op::Accumulate, [one, other]) => match (read(one), read(other)) {
                (Some(left), Some(right)) => self.sum(interpreter, (instruction, prepared), [left, right]).map(Some),
                (Some(only), None) => Ok(Some(self.alone(only, *one, instruction, prepared))),
                (None, Some(only)) => Ok(Some(self.alone(only, *other, instruction, prepared))),
                (None, None) => Ok(None),
            },
            (Op::BatchToSpace { .. } | Op::Drop { .. }, [id]) if read(id).is_none() => Ok(None),
            (_, ids) => {
                let missing = ids.iter().filter(|id| read(id).is_none());
                let zeros = missing.map(|id| self.zeros(plan, *id)).collect::<Result<Vec<_>>>()?;
                let mut zeros = zeros.iter();
                let inputs: Option<Vec<&I::Value>> = ids.iter().map(|id| read(id).or_else(|| zeros.next())).collect();
                let inputs = inputs.ok_or_else(|| broken_plan(instruction))?;
                interpreter.value(instruction, prepared, &inputs).map(Some)
            }
        }
    }

    /// The sum of two terms, written over the first if that is not shared.
    fn sum<I: Interpreter>(
        &self,
        interpreter: &I,
        (instruction, prepared): (&Instruction, &Prepared),
        terms: [&I::Value; 2],
    ) -> Result<I::Value> {
        if instruction.op == Op::Add || !self.shared.borrow().contains(&instruction.inputs[0]) {
            return interpreter.value(instruction, prepared, &terms);
        }
        interpreter.value(&Instruction { op: Op::Add, ..instruction.clone() }, prepared, &terms)
    }

    /// The sum of one term, the term itself. A later term must not be added in place if something else reads it.
    fn alone<V: Value>(&self, term: &V, id: ValueId, instruction: &Instruction, prepared: &Prepared) -> V {
        let mut shared = self.shared.borrow_mut();
        if shared.contains(&id) || !prepared.dying.contains(&id) {
            shared.insert(instruction.output);
        }
        term.share()
    }

    /// The value of a sum without terms.
    fn zeros<V: Value>(&self, plan: &Plan, id: ValueId) -> Result<V> {
        let shape = plan.instructions.iter().find(|instruction| instruction.output == id).map(|it| &it.shape.0[..]);
        let (phases, [channels, height, width]) = match shape {
            Some(&[channels, height, width]) => (1, [channels, height, width]),
            Some(&[phases, channels, height, width]) => (phases, [channels, height, width]),
            _ => return Err(Error::engine(format!("value {} is missing and is no image", id.0))),
        };
        let size = [self.batch * phases as i64, height as i64, width as i64, channels as i64];
        channels_second(&Tensor::f_zeros(size, self.options)?).map(V::constant)
    }
}
