//! What a plan needs to run, prepared once for all passes.

use tch::{Device, Kind, Tensor};

use super::Statistics;
use super::kernels::Kernels;
use super::scales::ScaleLayout;
use super::statistics::Followers;
use crate::error::{Error, Result};
use crate::params::Table;
use crate::plan::{AlphaId, Instruction, Op, Plan, Scale, ValueId};

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
            if let Op::BatchNorm { scale: Scale::Mixing { alpha, .. }, .. } | Op::Mixtures { alpha, .. } =
                &instruction.op
            {
                step.scale = scales[alpha.0];
                scales[alpha.0] += 1;
            }
            steps.push(step);
        }
        let followers = statistics.followers(&plan)?;
        Ok(Schedule { plan, steps, kernels, layouts, followers })
    }

    /// Runs the instructions in order over values of any kind, and lets go of each value after its last reader.
    pub fn walk<V>(&self, input: V, mut run: impl FnMut(&Instruction, &Step, &[&V]) -> Result<V>) -> Result<V> {
        let mut values: Vec<Option<V>> = Vec::new();
        values.resize_with(self.plan.values(), || None);
        values[self.plan.input.0] = Some(input);
        for (instruction, step) in self.plan.instructions.iter().zip(&self.steps) {
            let inputs = instruction.inputs.iter().map(|id| values[id.0].as_ref());
            let inputs = inputs.collect::<Option<Vec<_>>>().ok_or_else(|| broken_plan(instruction))?;
            let value = run(instruction, step, &inputs)?;
            values[instruction.output.0] = Some(value);
            for id in &step.dying {
                values[id.0] = None;
            }
        }
        values[self.plan.output.0].take().ok_or_else(|| Error::engine("the plan never computes its output"))
    }
}

/// The plan was checked, so this is never seen.
pub fn broken_plan(instruction: &Instruction) -> Error {
    Error::engine(format!("the plan reads a value that is not alive, in {}", instruction.scope))
}
