//! Backward passes in segments: a segment keeps only what it reads and is computed again when its turn comes.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use tch::Tensor;

use super::gradients::leaf;
use super::outside::{Outside, kernel_gradients};
use super::schedule::{Rule, Schedule, Value};
use crate::error::{Error, Result};
use crate::plan::{Instruction, Op, Plan, Scale, ValueId, WeightId};

/// A run of instructions.
#[derive(Debug, PartialEq)]
pub struct Segment {
    pub range: Range<usize>,
    /// What it reads of earlier ones.
    inputs: Vec<ValueId>,
    /// What later ones read of it.
    outputs: Vec<ValueId>,
    /// The weights it uses.
    weights: Vec<WeightId>,
}

/// The whole plan.
pub fn whole(plan: &Plan) -> Vec<Segment> {
    cut(plan, &[])
}

/// One segment a cell; the first has the stem, the last the classifier.
pub fn cells(plan: &Plan) -> Vec<Segment> {
    cut(plan, &starts(plan))
}

/// Two segments of cells that compute about as many numbers each.
pub fn halves(plan: &Plan) -> Vec<Segment> {
    let before = |index: usize| plan.instructions[..index].iter().map(|it| it.shape.elements()).sum::<u64>();
    let total = before(plan.instructions.len());
    let middle = starts(plan).into_iter().min_by_key(|start| (2 * before(*start)).abs_diff(total));
    cut(plan, middle.as_slice())
}

/// Where each cell but the first begins.
fn starts(plan: &Plan) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut cell = None;
    for (index, instruction) in plan.instructions.iter().enumerate() {
        let here = cell_of(instruction);
        if here.is_some() && cell.is_some() && here != cell && stands_still(plan, index) {
            starts.push(index);
        }
        cell = here.or(cell);
    }
    starts
}

/// Whether nothing that is made before `index` is written over after it: a segment is computed again from what it read.
fn stands_still(plan: &Plan, index: usize) -> bool {
    let (before, after) = plan.instructions.split_at(index);
    let written = after.iter().filter(|it| it.op == Op::Accumulate).filter_map(|it| it.inputs.first());
    let made: HashSet<ValueId> = before.iter().map(|it| it.output).collect();
    !written.into_iter().any(|value| made.contains(value))
}

fn cut(plan: &Plan, at: &[usize]) -> Vec<Segment> {
    let ends: Vec<usize> = [0].iter().chain(at).copied().chain([plan.instructions.len()]).collect();
    ends.windows(2).map(|pair| segment(plan, pair[0]..pair[1])).collect()
}

fn cell_of(instruction: &Instruction) -> Option<&str> {
    instruction.scope.strip_prefix("cells.")?.split('.').next()
}

fn segment(plan: &Plan, range: Range<usize>) -> Segment {
    let inside = &plan.instructions[range.clone()];
    let made = |value: &ValueId| inside.iter().any(|it| it.output == *value);
    let mut inputs: Vec<ValueId> = inside.iter().flat_map(|it| it.inputs.iter().copied()).collect();
    inputs.retain(|value| !made(value));
    let mut outputs: Vec<ValueId> =
        plan.instructions[range.end..].iter().flat_map(|it| it.inputs.iter().copied()).collect();
    outputs.retain(made);
    let mut weights = Vec::new();
    for instruction in inside {
        match &instruction.op {
            Op::Conv { weight, .. } => weights.push(*weight),
            Op::Linear { weight, bias } | Op::BatchNorm { scale: Scale::Affine { weight, bias }, .. } => {
                weights.extend([*weight, *bias]);
            }
            _ => {}
        }
    }
    for values in [&mut inputs, &mut outputs] {
        values.sort_unstable();
        values.dedup();
    }
    Segment { range, inputs, outputs, weights }
}

/// What a backward pass is over: leaves, where a gradient is asked for.
pub struct Parameters<'a> {
    /// The kernels of the schedule.
    pub kernels: &'a [Tensor],
    /// The logits.
    pub alpha: &'a Tensor,
}

/// Gradients as they add up; none where there is none yet.
pub struct Found {
    /// One a kernel.
    pub kernels: Vec<Option<Tensor>>,
    /// Of the logits.
    pub alpha: Option<Tensor>,
    values: HashMap<ValueId, Vec<Option<Tensor>>>,
}

impl Found {
    /// Gradients of a scalar by the parameters and inputs of a segment.
    fn take(
        &mut self,
        scalar: &Tensor,
        of: &Parameters,
        places: &[usize],
        inputs: &[(ValueId, Vec<Tensor>)],
        outside: Vec<Outside>,
    ) -> Result<()> {
        let asks = |tensor: &Tensor| tensor.requires_grad();
        let kernels: Vec<usize> = places.iter().copied().filter(|place| asks(&of.kernels[*place])).collect();
        let mut asked: Vec<&Tensor> = kernels.iter().map(|place| &of.kernels[*place]).collect();
        asked.extend(Some(of.alpha).filter(|alpha| asks(alpha)));
        asked.extend(inputs.iter().flat_map(|(_, tensors)| tensors.iter().filter(|tensor| asks(tensor))));
        asked.extend(outside.iter().map(|one| &one.y));
        if !asks(scalar) || asked.is_empty() {
            return Ok(());
        }
        let mut found = Tensor::f_run_backward(&[scalar], &asked, false, false)?.into_iter();
        let mut next = || found.next().filter(Tensor::defined);
        for place in kernels {
            add(&mut self.kernels[place], next())?;
        }
        if asks(of.alpha) {
            add(&mut self.alpha, next())?;
        }
        for (id, tensors) in inputs {
            let sums = self.values.entry(*id).or_insert_with(|| tensors.iter().map(|_| None).collect());
            for (sum, _) in sums.iter_mut().zip(tensors).filter(|(_, tensor)| asks(tensor)) {
                add(sum, next())?;
            }
        }
        let (reached, of_results): (Vec<Outside>, Vec<Tensor>) =
            outside.into_iter().filter_map(|one| next().map(|of_result| (one, of_result))).unzip();
        for (one, gradient) in reached.iter().zip(kernel_gradients(&reached, &of_results)?) {
            add(&mut self.kernels[one.place], Some(gradient))?;
        }
        Ok(())
    }
}

fn add(sum: &mut Option<Tensor>, term: Option<Tensor>) -> Result<()> {
    let Some(term) = term else { return Ok(()) };
    *sum = Some(match sum.take() {
        Some(sum) => sum.f_add(&term)?,
        None => term,
    });
    Ok(())
}

/// Runs a schedule from `start` in segments, and differentiates the scalar that `finish` makes of its output.
/// `rule(true)` is the rule of the first run of a segment, `rule(false)` that of its second.
pub fn backward<R: Rule, T>(
    schedule: &Schedule,
    segments: &[Segment],
    start: R::Value,
    rule: impl Fn(bool) -> Result<R>,
    of: &Parameters,
    finish: impl FnOnce(R::Value) -> Result<(Tensor, T)>,
) -> Result<(T, Found)> {
    let (last, earlier) = segments.split_last().ok_or_else(|| Error::engine("a plan without instructions"))?;
    let mut values = schedule.values(start);
    let mut kept: Vec<Vec<(ValueId, R::Value)>> = Vec::with_capacity(earlier.len());
    {
        let _guard = tch::no_grad_guard();
        for segment in earlier {
            kept.push(read(&segment.inputs, &values)?);
            schedule.walk(segment.range.clone(), &mut values, &rule(true)?)?;
        }
    }
    let mut found = Found { kernels: of.kernels.iter().map(|_| None).collect(), alpha: None, values: HashMap::new() };
    let places = |segment: &Segment| -> Vec<usize> {
        segment.weights.iter().map(|weight| schedule.kernels.place[weight.0]).collect()
    };
    // The images need no gradient; every other input of a segment is a leaf.
    let leaves = |inputs: Vec<(ValueId, R::Value)>, values: &mut Vec<Option<R::Value>>| -> Result<Vec<_>> {
        let mut leaves = Vec::with_capacity(inputs.len());
        for (id, value) in inputs {
            let is_input = id == schedule.plan.input;
            let tensors = value.tensors().into_iter().map(|t| if is_input { Ok(t.f_detach()?) } else { leaf(t) });
            let tensors = tensors.collect::<Result<Vec<_>>>()?;
            values[id.0] = Some(value.like(tensors.iter().map(Tensor::shallow_clone).collect()));
            leaves.push((id, tensors));
        }
        Ok(leaves)
    };
    let inputs = leaves(read(&last.inputs, &values)?, &mut values)?;
    let rule_of_last = rule(true)?;
    schedule.walk(last.range.clone(), &mut values, &rule_of_last)?;
    let (scalar, seen) = finish(schedule.output(&mut values)?)?;
    drop(values);
    found.take(&scalar, of, &places(last), &inputs, rule_of_last.outside())?;
    drop((scalar, inputs));
    for segment in earlier.iter().rev() {
        let mut values = schedule.empty();
        let inputs = leaves(kept.pop().unwrap_or_default(), &mut values)?;
        // What is read later is still wanted when the segment is over.
        let rule_again = rule(false)?;
        let outputs = schedule.walk_for(segment.range.clone(), &mut values, &rule_again, &segment.outputs)?;
        drop(values);
        let mut scalar: Option<Tensor> = None;
        for (id, output) in segment.outputs.iter().zip(&outputs) {
            let gradients = found.values.remove(id).unwrap_or_default();
            for (tensor, gradient) in output.tensors().into_iter().zip(gradients) {
                let Some(gradient) = gradient else { continue };
                add(&mut scalar, Some(tensor.f_mul(&gradient)?.f_sum(None)?))?;
            }
        }
        drop(outputs);
        if let Some(scalar) = scalar {
            found.take(&scalar, of, &places(segment), &inputs, rule_again.outside())?;
        }
    }
    Ok((seen, found))
}

fn read<V: Value>(ids: &[ValueId], values: &[Option<V>]) -> Result<Vec<(ValueId, V)>> {
    let one = |id: &ValueId| {
        let value = values[id.0].as_ref().ok_or_else(|| Error::engine("a segment reads a value that is gone"))?;
        Ok((*id, value.like(value.tensors().into_iter().map(Tensor::shallow_clone).collect())))
    };
    ids.iter().map(one).collect()
}
