//! A plan with everything that its passes look up, prepared once.

use std::ops::Range;

use tch::{Device, Kind, Tensor};

use super::mixing::{MixingWeights, ScaleLayout, scaled};
use super::pooling::{Known, MeanPooling};
use super::thinned::Thinned;
use super::weight_gradients::Deferred;
use super::weights::WeightViews;
use crate::error::{Error, Result};
use crate::nn::Statistics;
use crate::nn::buffers::{Followers, Running};
use crate::params::Table;
use crate::plan::{AlphaId, Instruction, Op, Plan, ValueId};

/// A plan that is ready to run.
pub struct Executable {
    /// The plan.
    pub plan: Plan,
    /// One per instruction.
    pub prepared: Vec<Prepared>,
    /// The weights as views of the flat vector.
    pub weights: WeightViews,
    /// One per table of mixing weights.
    pub scales: Vec<ScaleLayout>,
    /// Running statistics that are updated through others.
    pub followers: Option<Followers>,
}

/// What one instruction needs, looked up in advance.
#[derive(Default)]
pub struct Prepared {
    /// The index of the instruction.
    pub index: usize,
    /// Values that no later instruction reads: a pass without a graph can free them.
    pub dying: Vec<ValueId>,
    /// The running statistics of a batch norm.
    pub running: Option<Running>,
    /// The constants of a mean pooling that is computed as a convolution.
    pub pooling: Option<MeanPooling>,
    /// The index of the instruction's scale in the layout of its α table, if it has one (see [`scaled`]).
    pub scale: usize,
}

impl Executable {
    /// Prepares `plan`; the tables say where its weights and statistics are.
    pub fn new(plan: Plan, weights: &Table, statistics: &Statistics, kind: Kind, device: Device) -> Result<Self> {
        let layout = |index| ScaleLayout::new(&plan, AlphaId(index), kind, device);
        let tables = plan.mixing_tables().count();
        let scales = (0..tables).map(layout).collect::<Result<Vec<_>>>()?;
        let weights = WeightViews::new(&plan, weights)?;
        let mut scale_counts = vec![0; tables];
        let mut prepared = Vec::with_capacity(plan.instructions.len());
        let mut poolings = Known::new();
        for (index, (instruction, dying)) in plan.instructions.iter().zip(plan.last_uses()).enumerate() {
            let pooling = MeanPooling::new(&instruction.op, &instruction.shape, &mut poolings)?;
            let mut one = Prepared { index, dying, pooling, ..Prepared::default() };
            if let Op::BatchNorm { statistic, members, .. } = &instruction.op {
                let names = plan.statistics[statistic.0..statistic.0 + members].iter().map(|s| s.name.as_str());
                one.running = Some(statistics.run(names)?);
            }
            if let Some((alpha, _)) = scaled(&instruction.op) {
                one.scale = scale_counts[alpha.0];
                scale_counts[alpha.0] += 1;
            }
            prepared.push(one);
        }
        let followers = statistics.followers(&plan)?;
        Ok(Executable { plan, prepared, weights, scales, followers })
    }

    /// The mixing weights of all tables. Constant ones have no gradient.
    pub fn mixing(&self, tables: Vec<Tensor>) -> Result<Vec<MixingWeights>> {
        let logits = self.plan.alphas.len();
        let one = |(index, (table, layout)): (usize, (&Tensor, &ScaleLayout))| match index < logits {
            true => MixingWeights::new(table, layout),
            false => MixingWeights::new(&table.f_detach()?, layout),
        };
        tables.iter().zip(&self.scales).enumerate().map(one).collect()
    }

    /// The index of a scale among the leaves: after the weights and the mixing weights of earlier tables.
    pub fn scale_leaf(&self, mixing: &[MixingWeights], alpha: AlphaId, index: usize) -> usize {
        let before = mixing[..alpha.0].iter().map(|table| table.tensors().count()).sum::<usize>();
        self.weights.count() + before + mixing[alpha.0].scale_index(index)
    }

    /// The indices of the leaves that some instructions use: weights first, then the mixing weights of each table.
    pub fn leaves(&self, range: Range<usize>, mixing: &[MixingWeights], thinned: Option<&Thinned>) -> Vec<usize> {
        let mut starts = vec![self.weights.count()];
        for table in mixing {
            starts.push(starts[starts.len() - 1] + table.tensors().count());
        }
        let mut leaves = Vec::new();
        for (instruction, prepared) in self.plan.instructions[range.clone()].iter().zip(&self.prepared[range]) {
            if thinned.is_some_and(|thinned| !thinned.runs(prepared.index)) {
                continue;
            }
            leaves.extend(instruction.op.weights().into_iter().map(|weight| self.weights.index[weight]));
            if let Some((alpha, _)) = scaled(&instruction.op) {
                leaves.push(starts[alpha.0] + mixing[alpha.0].scale_index(prepared.scale));
            } else if let Some((alpha, cells)) = instruction.op.mixing() {
                let left = cells.iter().filter(|cell| thinned.is_none_or(|thinned| thinned.mixes(alpha, **cell)));
                leaves.extend(left.map(|cell| starts[alpha.0] + mixing[alpha.0].index(*cell)));
            }
        }
        leaves.sort_unstable();
        leaves.dedup();
        leaves
    }

    /// Which views of the weights a pass uses.
    pub fn used(&self, thinned: &Thinned) -> Vec<bool> {
        let mut used = vec![false; self.weights.count()];
        for (_, instruction) in self.plan.instructions.iter().enumerate().filter(|(index, _)| thinned.runs(*index)) {
            instruction.op.weights().into_iter().for_each(|weight| used[self.weights.index[weight]] = true);
        }
        used
    }

    /// A slot for every value, all empty.
    pub fn empty<V>(&self) -> Vec<Option<V>> {
        let mut values = Vec::new();
        values.resize_with(self.plan.values(), || None);
        values
    }

    /// A slot for every value, all empty but the input's.
    pub fn values<V>(&self, input: V) -> Vec<Option<V>> {
        let mut values = self.empty();
        values[self.plan.input.0] = Some(input);
        values
    }

    /// Runs the whole plan.
    pub fn run<I: Interpreter>(&self, input: I::Value, interpreter: &I) -> Result<I::Value> {
        let mut values = self.values(input);
        self.walk(0..self.plan.instructions.len(), &mut values, interpreter, |_| false)?;
        self.output(&mut values)
    }

    /// Runs some instructions in order. Frees each value after the last instruction that reads it, unless `keep` says
    /// otherwise.
    pub fn walk<I: Interpreter>(
        &self,
        indices: impl IntoIterator<Item = usize>,
        values: &mut [Option<I::Value>],
        interpreter: &I,
        keep: impl Fn(&ValueId) -> bool,
    ) -> Result<()> {
        for index in indices {
            let (instruction, prepared) = (&self.plan.instructions[index], &self.prepared[index]);
            let value = match interpreter.thinned() {
                Some(thinned) => thinned.value(&self.plan, interpreter, (instruction, prepared), values)?,
                None => {
                    let inputs = instruction.inputs.iter().map(|id| values[id.0].as_ref());
                    let inputs = inputs.collect::<Option<Vec<_>>>().ok_or_else(|| broken_plan(instruction))?;
                    Some(interpreter.value(instruction, prepared, &inputs)?)
                }
            };
            values[instruction.output.0] = value;
            for id in prepared.dying.iter().filter(|id| !keep(id)) {
                values[id.0] = None;
            }
        }
        Ok(())
    }

    /// The plan's output, once it is computed.
    pub fn output<V>(&self, values: &mut [Option<V>]) -> Result<V> {
        values[self.plan.output.0].take().ok_or_else(|| Error::engine("the plan never computes its output"))
    }
}

/// Computes the values of instructions.
pub trait Interpreter {
    /// The representation of a value of the plan.
    type Value: Value;
    /// The value of one instruction.
    fn value(&self, instruction: &Instruction, prepared: &Prepared, inputs: &[&Self::Value]) -> Result<Self::Value>;
    /// What a pass leaves out; None if it computes everything.
    fn thinned(&self) -> Option<&Thinned> {
        None
    }
    /// Takes the operations since the last call whose weights are outside the graph.
    fn take_deferred(&self) -> Vec<Deferred> {
        Vec::new()
    }
}

/// One or several tensors that represent a value of the plan.
pub trait Value: Sized {
    /// The tensors that make up this value.
    fn tensors(&self) -> Vec<&Tensor>;
    /// The same kind of value, made up of other tensors.
    fn like(&self, tensors: Vec<Tensor>) -> Self;
    /// A value that depends on nothing.
    fn constant(tensor: Tensor) -> Self;
    /// The same value, made up of the same tensors.
    fn share(&self) -> Self {
        self.like(self.tensors().into_iter().map(Tensor::shallow_clone).collect())
    }
}

/// An instruction whose inputs are missing or too few; plans are checked, so this is a defect.
pub fn broken_plan(instruction: &Instruction) -> Error {
    Error::engine(format!("an input of {} is missing; please report this", instruction.scope))
}
