//! Backward passes in segments, each with a graph of its own: what one needs is let go of before the next one's turn,
//! and where memory is short a segment keeps only what it reads and is computed again.

use std::collections::HashMap;

use tch::Tensor;

use super::executable::{Rule, Schedule, Value};
use super::leaves::Parameters;
use super::weight_gradients::{Outside, weight_gradients};
use crate::error::{Error, Result};
use crate::nn::gradients::{add, leaf};
use crate::plan::{Segment, ValueId};

/// Gradients as they add up; none where there is none yet.
pub struct Found<'a> {
    parameters: Vec<&'a Tensor>,
    /// One a parameter.
    pub gradients: Vec<Option<Tensor>>,
    values: HashMap<ValueId, Vec<Option<Tensor>>>,
}

impl<'a> Found<'a> {
    /// None yet.
    pub fn new(of: &'a Parameters) -> Self {
        let parameters = of.list();
        let gradients = parameters.iter().map(|_| None).collect();
        Found { parameters, gradients, values: HashMap::new() }
    }

    /// Gradients of a scalar by the parameters at `places` and by the inputs of a segment.
    pub fn take(
        &mut self,
        scalar: &Tensor,
        mut places: Vec<usize>,
        inputs: &[(ValueId, Vec<Tensor>)],
        outside: Vec<Outside>,
    ) -> Result<()> {
        let asks = |tensor: &Tensor| tensor.requires_grad();
        places.retain(|place| asks(self.parameters[*place]));
        let mut asked: Vec<&Tensor> = places.iter().map(|place| self.parameters[*place]).collect();
        asked.extend(inputs.iter().flat_map(|(_, tensors)| tensors.iter().filter(|tensor| asks(tensor))));
        asked.extend(outside.iter().map(|one| &one.y));
        if !asks(scalar) || asked.is_empty() {
            return Ok(());
        }
        let mut found = Tensor::f_run_backward(&[scalar], &asked, false, false)?.into_iter();
        let mut next = || found.next().filter(Tensor::defined);
        for place in places {
            add(&mut self.gradients[place], next())?;
        }
        for (id, tensors) in inputs {
            let sums = self.values.entry(*id).or_insert_with(|| tensors.iter().map(|_| None).collect());
            for (sum, _) in sums.iter_mut().zip(tensors).filter(|(_, tensor)| asks(tensor)) {
                add(sum, next())?;
            }
        }
        let (reached, of_results): (Vec<Outside>, Vec<Tensor>) =
            outside.into_iter().filter_map(|one| next().map(|of_result| (one, of_result))).unzip();
        for (place, gradient) in weight_gradients(&reached, &of_results, &self.parameters)? {
            add(&mut self.gradients[place], Some(gradient))?;
        }
        Ok(())
    }
}

/// A segment that was run with a graph of its own.
struct Done<V> {
    inputs: Vec<Leaves>,
    outputs: Vec<V>,
    outside: Vec<Outside>,
}

/// What stands for a value that a segment reads: leaves of its graph.
type Leaves = (ValueId, Vec<Tensor>);

/// What is left of a segment until its turn comes.
enum Left<V> {
    /// All that its backward pass needs.
    Done(Done<V>),
    /// What it reads.
    Inputs(Vec<(ValueId, V)>),
}

/// How a backward pass is cut.
#[derive(Clone, Copy)]
pub struct Cut<'a> {
    /// Into which segments.
    pub segments: &'a [Segment],
    /// Whether they are computed again when their turn comes; all but the last.
    pub again: bool,
}

/// Runs a schedule from `start` in segments, and differentiates the scalar that `finish` makes of its output: what
/// `finish` gives besides, and the gradients by the parameters where there are any, in the order of their list.
/// `rule(true)` is the rule of the first run of a segment, `rule(false)` that of its second.
pub fn backward<R: Rule, T>(
    schedule: &Schedule,
    cut: Cut,
    start: R::Value,
    rule: impl Fn(bool) -> Result<R>,
    of: &Parameters,
    finish: impl FnOnce(R::Value) -> Result<(Tensor, T)>,
) -> Result<(T, Vec<Option<Tensor>>)> {
    let (last, earlier) = cut.segments.split_last().ok_or_else(|| Error::engine("a plan without instructions"))?;
    let mut values = schedule.values(start);
    let mut left = Vec::with_capacity(earlier.len());
    for segment in earlier {
        let first = rule(true)?;
        let inputs = read(&segment.inputs, &values)?;
        if cut.again {
            let _guard = tch::no_grad_guard();
            left.push(Left::Inputs(inputs));
            schedule.walk(segment.range.clone(), &mut values, &first)?;
        } else {
            let done = run(schedule, segment, inputs, &mut values, &first)?;
            for (id, output) in segment.outputs.iter().zip(&done.outputs) {
                values[id.0] = Some(again(output));
            }
            left.push(Left::Done(done));
        }
    }
    let mut found = Found::new(of);
    let places = |segment: &Segment| schedule.parameters(segment.range.clone(), &of.mixing);
    let first = rule(true)?;
    let inputs = leaves(schedule, read(&last.inputs, &values)?, &mut values)?;
    schedule.walk(last.range.clone(), &mut values, &first)?;
    let (scalar, seen) = finish(schedule.output(&mut values)?)?;
    drop(values);
    found.take(&scalar, places(last), &inputs, first.outside())?;
    drop((scalar, inputs));
    for (segment, left) in earlier.iter().zip(left).rev() {
        let Done { inputs, outputs, outside } = match left {
            Left::Done(done) => done,
            Left::Inputs(inputs) => run(schedule, segment, inputs, &mut schedule.empty(), &rule(false)?)?,
        };
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
            found.take(&scalar, places(segment), &inputs, outside)?;
        }
    }
    Ok((seen, found.gradients))
}

/// A segment with a graph that begins at what it reads.
fn run<R: Rule>(
    schedule: &Schedule,
    segment: &Segment,
    inputs: Vec<(ValueId, R::Value)>,
    values: &mut [Option<R::Value>],
    rule: &R,
) -> Result<Done<R::Value>> {
    let inputs = leaves(schedule, inputs, values)?;
    // What is read later is still wanted when the segment is over.
    let outputs = schedule.walk_for(segment.range.clone(), values, rule, &segment.outputs)?;
    Ok(Done { inputs, outputs, outside: rule.outside() })
}

/// Puts leaves in the place of what a segment reads. The plan's own input says itself whether its gradient is wanted.
fn leaves<V: Value>(schedule: &Schedule, inputs: Vec<(ValueId, V)>, values: &mut [Option<V>]) -> Result<Vec<Leaves>> {
    let mut leaves = Vec::with_capacity(inputs.len());
    for (id, value) in inputs {
        let is_input = id == schedule.plan.input;
        let tensors = value.tensors().into_iter().map(|t| if is_input { Ok(t.shallow_clone()) } else { leaf(t) });
        let tensors = tensors.collect::<Result<Vec<_>>>()?;
        values[id.0] = Some(value.like(tensors.iter().map(Tensor::shallow_clone).collect()));
        leaves.push((id, tensors));
    }
    Ok(leaves)
}

fn read<V: Value>(ids: &[ValueId], values: &[Option<V>]) -> Result<Vec<(ValueId, V)>> {
    let one = |id: &ValueId| {
        let value = values[id.0].as_ref().ok_or_else(|| Error::engine("a segment reads a value that is gone"))?;
        Ok((*id, again(value)))
    };
    ids.iter().map(one).collect()
}

/// The same value once more.
fn again<V: Value>(value: &V) -> V {
    value.like(value.tensors().into_iter().map(Tensor::shallow_clone).collect())
}
