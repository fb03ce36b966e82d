//! Backward passes in segments, each with its own graph. A segment's graph is freed before the segment before it is
//! differentiated. To save memory, a segment can keep only its inputs and be computed again.

use std::collections::HashMap;

use tch::Tensor;

use super::executable::{Executable, Interpreter, Value};
use super::leaves::Leaves;
use super::weight_gradients::{Deferred, weight_gradients};
use crate::error::{Error, Result};
use crate::nn::gradients::{add, leaf};
use crate::plan::{Segment, ValueId};

/// Sums of gradients; None where no gradient has been added.
pub struct GradientSums<'a> {
    leaves: Vec<&'a Tensor>,
    /// One per leaf.
    pub gradients: Vec<Option<Tensor>>,
    values: HashMap<ValueId, Vec<Option<Tensor>>>,
}

impl<'a> GradientSums<'a> {
    /// No gradients yet.
    pub fn new(leaves: &'a Leaves) -> Self {
        let leaves = leaves.list();
        let gradients = leaves.iter().map(|_| None).collect();
        GradientSums { leaves, gradients, values: HashMap::new() }
    }

    /// Adds the gradients of a scalar with respect to the leaves of these indices and to the inputs of a segment.
    pub fn add(
        &mut self,
        scalar: &Tensor,
        mut indices: Vec<usize>,
        inputs: &[SegmentInput],
        deferred: Vec<Deferred>,
    ) -> Result<()> {
        let required = |tensor: &Tensor| tensor.requires_grad();
        indices.retain(|index| required(self.leaves[*index]));
        let mut targets: Vec<&Tensor> = indices.iter().map(|index| self.leaves[*index]).collect();
        targets.extend(inputs.iter().flat_map(|(_, tensors)| tensors.iter().filter(|tensor| required(tensor))));
        targets.extend(deferred.iter().map(|one| &one.y));
        if !required(scalar) || targets.is_empty() {
            return Ok(());
        }
        let mut found = Tensor::f_run_backward(&[scalar], &targets, false, false)?.into_iter();
        let mut next = || found.next().filter(Tensor::defined);
        for index in indices {
            add(&mut self.gradients[index], next())?;
        }
        for (id, tensors) in inputs {
            let sums = self.values.entry(*id).or_insert_with(|| tensors.iter().map(|_| None).collect());
            for (sum, _) in sums.iter_mut().zip(tensors).filter(|(_, tensor)| required(tensor)) {
                add(sum, next())?;
            }
        }
        let (reached, result_gradients): (Vec<Deferred>, Vec<Tensor>) =
            deferred.into_iter().filter_map(|one| next().map(|gradient| (one, gradient))).unzip();
        for (index, gradient) in weight_gradients(&reached, &result_gradients, &self.leaves)? {
            add(&mut self.gradients[index], Some(gradient))?;
        }
        Ok(())
    }
}

/// A segment that was run with its own graph.
struct Graph<V> {
    inputs: Vec<SegmentInput>,
    outputs: Vec<(ValueId, V)>,
    deferred: Vec<Deferred>,
}

/// A value that a segment reads, and the leaves of the segment's graph that represent it.
type SegmentInput = (ValueId, Vec<Tensor>);

/// What is kept of a segment until it is differentiated.
enum Kept<V> {
    /// Everything that its backward pass needs.
    Graph(Graph<V>),
    /// Its inputs, from which it is computed again.
    Inputs(Vec<(ValueId, V)>),
}

/// How a backward pass is divided.
#[derive(Clone, Copy)]
pub struct Division<'a> {
    /// The segments.
    pub segments: &'a [Segment],
    /// Whether all segments but the last are computed again when they are differentiated.
    pub recompute: bool,
}

/// Runs an executable from `start` in segments, and differentiates the scalar that `finish` makes of its output.
/// Returns the second result of `finish`, and the gradients with respect to the leaves, in the order of their list.
/// `interpreter(true)` runs a segment for the first time, `interpreter(false)` for the second.
pub fn backward<I: Interpreter, T>(
    executable: &Executable,
    division: Division,
    start: I::Value,
    interpreter: impl Fn(bool) -> Result<I>,
    leaves: &Leaves,
    finish: impl FnOnce(I::Value) -> Result<(Tensor, T)>,
) -> Result<(T, Vec<Option<Tensor>>)> {
    let (last, earlier) =
        division.segments.split_last().ok_or_else(|| Error::engine("the plan has no instructions"))?;
    let mut values = executable.values(start);
    let mut kept = Vec::with_capacity(earlier.len());
    for segment in earlier {
        let first = interpreter(true)?;
        let inputs = read(&segment.inputs, &values, &first)?;
        if division.recompute {
            let _guard = tch::no_grad_guard();
            kept.push(Kept::Inputs(inputs));
            executable.walk(segment.range.clone(), &mut values, &first, |_| false)?;
        } else {
            let graph = run(executable, segment, inputs, &mut values, &first)?;
            for (id, output) in &graph.outputs {
                values[id.0] = Some(output.share());
            }
            kept.push(Kept::Graph(graph));
        }
    }
    let mut sums = GradientSums::new(leaves);
    let first = interpreter(true)?;
    let indices = |segment: &Segment| executable.leaves(segment.range.clone(), &leaves.mixing, first.thinned());
    let inputs = detach(executable, read(&last.inputs, &values, &first)?, &mut values)?;
    executable.walk(last.range.clone(), &mut values, &first, |_| false)?;
    let (scalar, result) = finish(executable.output(&mut values)?)?;
    drop(values);
    sums.add(&scalar, indices(last), &inputs, first.take_deferred())?;
    drop((scalar, inputs));
    for (segment, kept) in earlier.iter().zip(kept).rev() {
        let Graph { inputs, outputs, deferred } = match kept {
            Kept::Graph(graph) => graph,
            Kept::Inputs(inputs) => run(executable, segment, inputs, &mut executable.empty(), &interpreter(false)?)?,
        };
        let mut scalar: Option<Tensor> = None;
        for (id, output) in &outputs {
            let gradients = sums.values.remove(id).unwrap_or_default();
            for (tensor, gradient) in output.tensors().into_iter().zip(gradients) {
                let Some(gradient) = gradient else { continue };
                add(&mut scalar, Some(tensor.f_mul(&gradient)?.f_sum(None)?))?;
            }
        }
        drop(outputs);
        if let Some(scalar) = scalar {
            sums.add(&scalar, indices(segment), &inputs, deferred)?;
        }
    }
    Ok((result, sums.gradients))
}

/// Runs a segment with a graph that begins at its inputs.
fn run<I: Interpreter>(
    executable: &Executable,
    segment: &Segment,
    inputs: Vec<(ValueId, I::Value)>,
    values: &mut [Option<I::Value>],
    interpreter: &I,
) -> Result<Graph<I::Value>> {
    let inputs = detach(executable, inputs, values)?;
    executable.walk(segment.range.clone(), values, interpreter, |id| segment.outputs.contains(id))?;
    let outputs: Vec<_> = segment.outputs.iter().filter_map(|id| Some((*id, values[id.0].take()?))).collect();
    if outputs.len() < segment.outputs.len() && interpreter.thinned().is_none() {
        return Err(Error::engine("a segment does not compute one of its outputs"));
    }
    Ok(Graph { inputs, outputs, deferred: interpreter.take_deferred() })
}

/// Replaces the inputs of a segment by leaves. The plan's own input keeps its graph: its caller decides whether it
/// requires a gradient.
fn detach<V: Value>(
    executable: &Executable,
    inputs: Vec<(ValueId, V)>,
    values: &mut [Option<V>],
) -> Result<Vec<SegmentInput>> {
    let mut leaves = Vec::with_capacity(inputs.len());
    for (id, value) in inputs {
        let is_input = id == executable.plan.input;
        let tensors = value.tensors().into_iter().map(|t| if is_input { Ok(t.shallow_clone()) } else { leaf(t) });
        let tensors = tensors.collect::<Result<Vec<_>>>()?;
        values[id.0] = Some(value.like(tensors.iter().map(Tensor::shallow_clone).collect()));
        leaves.push((id, tensors));
    }
    Ok(leaves)
}

/// The values of these ids, without those that the pass leaves out.
fn read<I: Interpreter>(
    ids: &[ValueId],
    values: &[Option<I::Value>],
    interpreter: &I,
) -> Result<Vec<(ValueId, I::Value)>> {
    let found: Vec<_> = ids.iter().filter_map(|id| Some((*id, values[id.0].as_ref()?.share()))).collect();
    match found.len() == ids.len() || interpreter.thinned().is_some() {
        true => Ok(found),
        false => Err(Error::engine("a segment reads a value that was freed")),
    }
}
