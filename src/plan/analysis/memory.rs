//! How much memory a search step takes, counted from the plan.
//!
//! Activations are counted as libtorch's autograd keeps them: convolution, batch norm, pooling and linear layers
//! keep their input, ReLU its output, a mixture its inputs, and those only where α's gradient is asked for. A value
//! kept by several is one value. Left out as small: α, the mean and variance of each batch norm, and what a single
//! operation needs for itself.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use crate::config::{Memory, Method};
use crate::plan::{Instruction, Op, Plan, Segment, Shape, ValueId};

/// Bytes of one index kept by a max pooling.
pub(super) const INDEX_BYTES: u64 = 8;

/// What a search step does with memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// How α's gradient is estimated.
    pub method: Method,
    /// Whether a backward pass keeps all it needs or computes cells again.
    pub memory: Memory,
    /// Bytes of an activation.
    pub element: usize,
    /// Bytes of a weight.
    pub weight: usize,
    /// Gradients by depthwise kernels are taken when a backward pass is over, and hold what they need until then.
    pub kernels_outside: bool,
    /// Activations lie in the heap of the C library, which leaves holes between them.
    pub heap: bool,
    /// Examples that are computed at once, where not a whole batch.
    pub at_most: Option<usize>,
}

/// What the heap takes for what lies in it. glibc's aligned allocations do not fit where an equal one was before:
/// measured over ten configurations (see benches/RESULTS.md), 1.05 to 1.2 where a backward pass keeps all it needs,
/// 1.25 where it does so in two halves, the first of them computed again, and 1.7 to 1.8 where kept and passing values
/// alternate.
fn heap(demand: &Demand) -> f64 {
    match (demand.memory, demand.method) {
        (Memory::Recompute, _) => 1.75,
        (Memory::Keep, Method::UnrolledExact) => 1.25,
        (Memory::Keep, _) => 1.1,
    }
}

/// Kernels that oneDNN compiles for a search step, and what they need for themselves.
const KERNELS: u64 = 40 << 20;

/// Bytes at the peak of a search step, beyond what network, state and data take between steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peak {
    /// For each example of a batch.
    pub per_image: u64,
    /// Whatever the batch.
    pub fixed: u64,
    /// Examples that are computed at once, where not a whole batch.
    pub at_most: Option<usize>,
}

impl Peak {
    /// With batches of so many examples.
    pub fn of(&self, batch: usize) -> u64 {
        let at_once = batch.min(self.at_most.unwrap_or(batch));
        self.per_image.saturating_mul(at_once as u64).saturating_add(self.fixed)
    }

    /// The same where an example is a sequence of so many tokens.
    pub fn of_sequences(self, tokens: usize) -> Peak {
        Peak { per_image: self.per_image.saturating_mul(tokens as u64), ..self }
    }
}

/// What a pass keeps.
#[derive(Clone, Copy)]
struct Pass {
    /// α's gradient is asked for.
    of_alpha: bool,
    /// Gradients by depthwise kernels are asked for, and taken outside autograd.
    outside: bool,
    /// Every value has its derivative along a direction beside it.
    along: bool,
    /// Bytes of an activation.
    element: u64,
}

impl Plan {
    /// What a step takes that is demanded so.
    pub fn peak(&self, demand: &Demand) -> Peak {
        let cells = self.cells();
        let again = demand.memory == Memory::Recompute;
        let by_alpha = Pass { of_alpha: true, outside: false, along: false, element: demand.element as u64 };
        // The weight step asks for the weights' gradient alone, the validation loss of an unrolled step for both.
        let both = demand.method != Method::FirstOrder;
        let by_weights = Pass { of_alpha: both, outside: demand.kernels_outside, ..by_alpha };
        let passes = [by_alpha, by_weights].into_iter();
        let mut per_image = passes.map(|pass| self.at_once(&cells, again, pass)).max().unwrap_or(0);
        if demand.method == Method::UnrolledExact {
            let along = Pass { along: true, ..by_alpha };
            let segments = if again { cells } else { self.halves() };
            per_image = per_image.max(self.at_once(&segments, true, along));
        }
        // A gradient, the parts that it is put together from, and what an update computes; for an unrolled step the
        // virtual weights, its gradient by them and the weights on either side as well.
        let vectors = if demand.method == Method::FirstOrder { 4 } else { 7 };
        let weights = self.weights.iter().fold(0, |sum: u64, weight| sum.saturating_add(weight.elements() as u64));
        let fixed = weights.saturating_mul(vectors * demand.weight as u64);
        if !demand.heap {
            return Peak { per_image, fixed, at_most: demand.at_most };
        }
        let taken = |bytes: u64| (bytes as f64 * heap(demand)) as u64;
        Peak { per_image: taken(per_image), fixed: taken(fixed).saturating_add(KERNELS), at_most: demand.at_most }
    }

    /// Bytes per image at the peak of a backward pass in these segments: the one at hand keeps what it needs, and so do
    /// all earlier ones, or they keep what they read and are computed again.
    fn at_once(&self, segments: &[Segment], again: bool, pass: Pass) -> u64 {
        let doubled = if pass.along { 2 } else { 1 };
        let mut held: HashSet<ValueId> = HashSet::new();
        let (mut peak, mut indices) = (0, 0);
        for segment in segments {
            let kept = self.keepers(segment.range.clone(), pass.of_alpha).into_iter().map(|(_, value)| value);
            let kept: HashSet<ValueId> = kept.chain(segment.inputs.iter().copied()).collect();
            let before = self.elements(&held.difference(&kept).copied().collect());
            let elements = before + self.backward(segment, pass);
            // Along a direction each value has a second one beside it, and a batch norm keeps the normalised one.
            let normal = if pass.along { self.normalised(segment.range.clone()) } else { 0 };
            let of_segment = self.pooling_indices(segment.range.clone()).saturating_mul(INDEX_BYTES);
            let bytes = (doubled * elements + normal).saturating_mul(pass.element);
            peak = peak.max(bytes.saturating_add(indices + of_segment));
            if again {
                held.extend(&segment.inputs);
            } else {
                held.extend(&kept);
                indices += of_segment;
            }
        }
        peak
    }

    /// Numbers per image at the peak of one segment's backward pass: what is kept is let go of on the way, while
    /// gradients come and go.
    fn backward(&self, segment: &Segment, pass: Pass) -> u64 {
        let sizes: HashMap<ValueId, u64> = self.sizes().collect();
        let size = |value: &ValueId| sizes.get(value).copied().unwrap_or(0);
        let range = segment.range.clone();
        // Each value that is kept, with the instruction that lets go of it: the first one that kept it, or none.
        let mut until: HashMap<ValueId, Option<usize>> = HashMap::new();
        for (index, value) in self.keepers(range.clone(), pass.of_alpha) {
            until.entry(value).or_insert(Some(index));
        }
        until.extend(segment.inputs.iter().map(|value| (*value, None)));
        let outside = |instruction: &Instruction| pass.outside && self.is_depthwise(instruction);
        for instruction in self.instructions[range.clone()].iter().filter(|it| outside(it)) {
            until.extend(instruction.inputs.iter().chain([&instruction.output]).map(|value| (*value, None)));
        }
        let mut kept = until.keys().map(size).sum::<u64>();
        let mut gradients = Gradients::default();
        segment.outputs.iter().for_each(|value| gradients.make(*value, size(value)));
        let mut peak = kept + gradients.live;
        for (index, instruction) in self.instructions[range.clone()].iter().enumerate().rev() {
            for input in &instruction.inputs {
                // The gradient of a sum is that of its terms, that of a concatenation holds those of its parts.
                match instruction.op {
                    Op::Add | Op::Accumulate | Op::Concat { .. } | Op::Stack => {
                        gradients.share(*input, instruction.output)
                    }
                    _ => gradients.make(*input, size(input)),
                }
            }
            peak = peak.max(kept + gradients.live);
            if !outside(instruction) {
                gradients.drop(instruction.output);
            }
            let ended = until.iter().filter(|(_, last)| **last == Some(range.start + index));
            kept -= ended.map(|(value, _)| size(value)).sum::<u64>();
        }
        peak
    }

    fn is_depthwise(&self, instruction: &Instruction) -> bool {
        matches!(instruction.op, Op::Conv { groups, .. } if groups > 1 && groups == instruction.shape.channels())
    }

    /// The values that autograd keeps, α's gradient asked for or not.
    pub(super) fn kept(&self, of_alpha: bool) -> HashSet<ValueId> {
        self.keepers(0..self.instructions.len(), of_alpha).into_iter().map(|(_, value)| value).collect()
    }

    /// What each of some instructions has autograd keep, in order.
    fn keepers(&self, range: Range<usize>, of_alpha: bool) -> Vec<(usize, ValueId)> {
        let mut shapes: HashMap<ValueId, &Shape> = HashMap::from([(self.input, &self.input_shape)]);
        // A slice, or a shifted image of even size, is a view: keeping it keeps the image it looks at.
        let mut views: HashMap<ValueId, ValueId> = HashMap::new();
        let mut kept = Vec::new();
        for (index, instruction) in self.instructions.iter().enumerate() {
            let saved: &[ValueId] = match &instruction.op {
                Op::Conv { .. }
                | Op::BatchNorm { .. }
                | Op::MaxPool { .. }
                | Op::AvgPool { .. }
                | Op::Product { .. }
                | Op::Gate { .. }
                | Op::Gates { .. }
                | Op::Linear { .. } => &instruction.inputs,
                Op::Relu => std::slice::from_ref(&instruction.output),
                Op::Mix { .. } | Op::Mixtures { .. } if of_alpha => &instruction.inputs,
                Op::Shift => {
                    let input = instruction.inputs.first().copied();
                    let is_even = |shape: &&Shape| shape.0.iter().skip(1).all(|extent| extent % 2 == 0);
                    let even = input.filter(|input| shapes.get(input).is_some_and(is_even));
                    views.extend(even.map(|input| (instruction.output, *views.get(&input).unwrap_or(&input))));
                    &[]
                }
                Op::Slice { .. } | Op::Unstack { .. } => {
                    let whole = instruction.inputs.first().copied();
                    views.extend(whole.map(|whole| (instruction.output, *views.get(&whole).unwrap_or(&whole))));
                    &[]
                }
                Op::Mix { .. }
                | Op::Mixtures { .. }
                | Op::Lookup { .. }
                | Op::Mask { .. }
                | Op::Mean
                | Op::Stack
                | Op::Concat { .. }
                | Op::GlobalAvgPool
                | Op::Subsample { .. }
                | Op::SpaceToBatch { .. }
                | Op::BatchToSpace { .. }
                | Op::Repeat { .. }
                | Op::Add
                | Op::Accumulate => &[],
            };
            if range.contains(&index) {
                kept.extend(saved.iter().map(|value| (index, *views.get(value).unwrap_or(value))));
            }
            shapes.insert(instruction.output, &instruction.shape);
        }
        kept
    }

    /// Numbers per image in some values.
    pub(super) fn elements(&self, values: &HashSet<ValueId>) -> u64 {
        let sizes = self.sizes().filter(|(value, _)| values.contains(value));
        sizes.fold(0, |sum, (_, size)| sum.saturating_add(size))
    }

    /// Every value with its numbers per image.
    fn sizes(&self) -> impl Iterator<Item = (ValueId, u64)> {
        let made = self.instructions.iter().map(|instruction| (instruction.output, instruction.shape.elements()));
        made.chain([(self.input, self.input_shape.elements())])
    }

    /// Indices per image that max poolings keep.
    pub(super) fn pooling_indices(&self, range: Range<usize>) -> u64 {
        let pooled = self.instructions[range].iter().filter(|it| matches!(it.op, Op::MaxPool { .. }));
        pooled.fold(0, |sum, it| sum.saturating_add(it.shape.elements()))
    }

    /// Numbers per image that batch norms make.
    fn normalised(&self, range: Range<usize>) -> u64 {
        let normalised = self.instructions[range].iter().filter(|it| matches!(it.op, Op::BatchNorm { .. }));
        normalised.fold(0, |sum, it| sum.saturating_add(it.shape.elements()))
    }
}

/// Gradients that are alive, and the memory they share.
#[derive(Default)]
struct Gradients {
    /// The memory of each.
    of: HashMap<ValueId, usize>,
    /// Numbers in each memory, and gradients that lie in it.
    memory: Vec<(u64, usize)>,
    /// Numbers in all that somebody needs.
    live: u64,
}

impl Gradients {
    /// One in memory of its own, unless there is one to add to.
    fn make(&mut self, value: ValueId, size: u64) {
        if let Entry::Vacant(place) = self.of.entry(value) {
            place.insert(self.memory.len());
            self.memory.push((size, 1));
            self.live += size;
        }
    }

    /// One in the memory of another, unless there is one to add to.
    fn share(&mut self, value: ValueId, other: ValueId) {
        let Some(memory) = self.of.get(&other).copied() else { return };
        if let Entry::Vacant(place) = self.of.entry(value) {
            place.insert(memory);
            self.memory[memory].1 += 1;
        }
    }

    fn drop(&mut self, value: ValueId) {
        let Some(memory) = self.of.remove(&value) else { return };
        let (size, gradients) = &mut self.memory[memory];
        *gradients -= 1;
        if *gradients == 0 {
            self.live -= *size;
        }
    }
}
