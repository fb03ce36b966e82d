//! What a plan needs to run, prepared once for all passes.

use std::ops::Range;

use tch::{Device, Kind, Tensor};

use super::mixing::MixingWeights;
use super::scales::{ScaleLayout, scaled};
use super::weight_gradients::Outside;
use super::weights::Kernels;
use crate::error::{Error, Result};
use crate::nn::Statistics;
use crate::nn::buffers::Followers;
use crate::params::Table;
use crate::plan::{AlphaId, Instruction, Op, Plan, ValueId};

/// A plan and what each of its instructions needs to run, looked up once.
pub struct Schedule {
    /// What is run.
    pub plan: Plan,
    /// One an instruction.
    pub steps: Vec<Step>,
    /// The weights.
    pub kernels: Kernels,
    /// One an α table.
    pub layouts: Vec<ScaleLayout>,
    /// Running statistics that are moved through others.
    pub followers: Option<Followers>,
}

/// What one instruction needs.
#[derive(Default)]
pub struct Step {
    /// Values that nobody reads afterwards: a pass without a graph then holds only what is alive.
    pub dying: Vec<ValueId>,
    /// Running mean and variance of a batch norm.
    pub running: Option<(Tensor, Tensor)>,
    /// The place of a batch norm's scale, or of a product's weights, in the layout of their table.
    pub scale: usize,
}

impl Schedule {
    /// Of `plan`, whose weights and statistics lie as the tables say.
    pub fn new(plan: Plan, weights: &Table, statistics: &Statistics, kind: Kind, device: Device) -> Result<Self> {
        let layout = |index| ScaleLayout::new(&plan, AlphaId(index), kind, device);
        let layouts = (0..plan.alphas.len()).map(layout).collect::<Result<Vec<_>>>()?;
        let kernels = Kernels::new(&plan, weights)?;
        let mut scales = vec![0; plan.alphas.len()];
        let mut steps = Vec::with_capacity(plan.instructions.len());
        for (instruction, dying) in plan.instructions.iter().zip(plan.last_uses()) {
            let mut step = Step { dying, ..Step::default() };
            if let Op::BatchNorm { statistic, members, .. } = &instruction.op {
                let names = plan.statistics[statistic.0..statistic.0 + members].iter().map(|s| s.name.as_str());
                step.running = Some(statistics.run(names)?);
            }
            if let Some((alpha, _)) = scaled(&instruction.op) {
                step.scale = scales[alpha.0];
                scales[alpha.0] += 1;
            }
            steps.push(step);
        }
        let followers = statistics.followers(&plan)?;
        Ok(Schedule { plan, steps, kernels, layouts, followers })
    }

    /// The mixing weights of α tables.
    pub fn mixing(&self, tables: Vec<Tensor>) -> Result<Vec<MixingWeights>> {
        tables.iter().zip(&self.layouts).map(|(table, layout)| MixingWeights::new(table, layout)).collect()
    }

    /// The place of a scale of a table: after all kernels, and what tables before it have.
    pub fn place_of_scale(&self, mixing: &[MixingWeights], alpha: AlphaId, index: usize) -> usize {
        let before = mixing[..alpha.0].iter().map(|table| table.tensors().count()).sum::<usize>();
        self.kernels.count() + before + mixing[alpha.0].place_of_scale(index)
    }

    /// The places of what some instructions use: among the kernels, and after these among the mixing weights, table
    /// by table.
    pub fn parameters(&self, range: Range<usize>, mixing: &[MixingWeights]) -> Vec<usize> {
        let mut starts = vec![self.kernels.count()];
        for table in mixing {
            starts.push(starts[starts.len() - 1] + table.tensors().count());
        }
        let mut places = Vec::new();
        for (instruction, step) in self.plan.instructions[range.clone()].iter().zip(&self.steps[range]) {
            places.extend(instruction.op.weights().into_iter().map(|weight| self.kernels.place[weight]));
            if let Some((alpha, _)) = scaled(&instruction.op) {
                places.push(starts[alpha.0] + mixing[alpha.0].place_of_scale(step.scale));
            } else if let Some((alpha, cells)) = instruction.op.mixing() {
                places.extend(cells.iter().map(|cell| starts[alpha.0] + mixing[alpha.0].place(*cell)));
            }
        }
        places.sort_unstable();
        places.dedup();
        places
    }

    /// Places for all values, none of them known.
    pub fn empty<V>(&self) -> Vec<Option<V>> {
        let mut values = Vec::new();
        values.resize_with(self.plan.values(), || None);
        values
    }

    /// Places for all values, the images known.
    pub fn values<V>(&self, input: V) -> Vec<Option<V>> {
        let mut values = self.empty();
        values[self.plan.input.0] = Some(input);
        values
    }

    /// Runs the whole plan.
    pub fn run<R: Rule>(&self, input: R::Value, rule: &R) -> Result<R::Value> {
        let mut values = self.values(input);
        self.walk(0..self.plan.instructions.len(), &mut values, rule)?;
        self.output(&mut values)
    }

    /// Runs some instructions in order, and lets go of each value after its last reader.
    pub fn walk<R: Rule>(&self, range: Range<usize>, values: &mut [Option<R::Value>], rule: &R) -> Result<()> {
        self.walk_for(range, values, rule, &[]).map(drop)
    }

    /// The same; also the values asked for, which it makes.
    pub fn walk_for<R: Rule>(
        &self,
        range: Range<usize>,
        values: &mut [Option<R::Value>],
        rule: &R,
        wanted: &[ValueId],
    ) -> Result<Vec<R::Value>> {
        for (instruction, step) in self.plan.instructions[range.clone()].iter().zip(&self.steps[range]) {
            let inputs = instruction.inputs.iter().map(|id| values[id.0].as_ref());
            let inputs = inputs.collect::<Option<Vec<_>>>().ok_or_else(|| broken_plan(instruction))?;
            let value = rule.value(instruction, step, &inputs)?;
            values[instruction.output.0] = Some(value);
            for id in step.dying.iter().filter(|id| !wanted.contains(id)) {
                values[id.0] = None;
            }
        }
        let taken = wanted.iter().map(|id| values[id.0].take());
        taken.collect::<Option<Vec<_>>>().ok_or_else(|| Error::engine("a segment does not make what is read of it"))
    }

    /// The plan's output, once it is computed.
    pub fn output<V>(&self, values: &mut [Option<V>]) -> Result<V> {
        values[self.plan.output.0].take().ok_or_else(|| Error::engine("the plan never computes its output"))
    }
}

/// What is computed of each instruction.
pub trait Rule {
    /// What stands for a value of the plan.
    type Value: Value;
    /// The value of one instruction.
    fn value(&self, instruction: &Instruction, step: &Step, inputs: &[&Self::Value]) -> Result<Self::Value>;
    /// The operations since it was last asked whose weights autograd does not see.
    fn outside(&self) -> Vec<Outside> {
        Vec::new()
    }
}

/// One or several tensors that stand for a value of the plan.
pub trait Value: Sized {
    /// They.
    fn tensors(&self) -> Vec<&Tensor>;
    /// Others in their place.
    fn like(&self, tensors: Vec<Tensor>) -> Self;
}

/// The plan was checked, so this is never seen.
pub fn broken_plan(instruction: &Instruction) -> Error {
    Error::engine(format!("the plan reads a value that is not alive, in {}", instruction.scope))
}
