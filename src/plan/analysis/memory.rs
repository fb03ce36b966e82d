//! Estimates the memory that a search step takes, from the plan alone.
//!
//! Activations are counted as libtorch's autograd keeps them: convolution, batch norm, pooling and linear layers
//! keep their input, ReLU its output, a mixture its inputs, and those only for the gradient of α. A value that several
//! operations keep is counted once. Small items are left out: α, the mean and variance of each batch norm, and the
//! workspace of single operations.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use crate::config::{Memory, Method};
use crate::plan::{By, Instruction, Op, Plan, Segment, Shape, ValueId};

/// Bytes of an index that max pooling keeps.
pub(super) const INDEX_BYTES: u64 = 8;

/// The properties of a search step that its memory depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// The estimator of the gradient of α.
    pub method: Method,
    /// Whether a backward pass keeps all activations or computes cells again.
    pub memory: Memory,
    /// Bytes of an activation.
    pub element: usize,
    /// Bytes of a weight.
    pub weight: usize,
    /// Whether the gradients of depthwise kernels are computed after a backward pass, which keeps their inputs until
    /// then.
    pub kernels_outside: bool,
    /// Whether activations are allocated in the heap of the C library, which fragments.
    pub heap: bool,
    /// The size of a micro-batch, if batches are split.
    pub at_most: Option<usize>,
}

/// The size of the heap relative to the values in it. glibc cannot reuse the space of an aligned allocation for an
/// equal one: measured over ten configurations (see benches/RESULTS.md), the factor is 1.05 to 1.2 if a backward pass
/// keeps all activations, 1.4 to 1.55 if each has a tangent, 1.25 if such a pass runs in two halves and computes the
/// first again, and 1.7 to 1.8 if kept and temporary values alternate.
fn heap(demand: &Demand) -> f64 {
    match (demand.memory, demand.method) {
        (Memory::Recompute, _) => 1.75,
        (Memory::Keep, Method::UnrolledExact) => 1.25,
        (Memory::Keep, method) if method.has_products() => 1.5,
        (Memory::Keep, _) => 1.1,
    }
}

/// The kernels that oneDNN compiles for a search step, with their workspace, in bytes.
const KERNELS: u64 = 40 << 20;

/// Bytes at the peak of a search step, in addition to network, state and data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peak {
    /// Per example that is computed at once.
    pub per_image: u64,
    /// Per example of a whole batch: its masks.
    pub masks: u64,
    /// Independent of the batch.
    pub fixed: u64,
    /// The size of a micro-batch, if batches are split.
    pub at_most: Option<usize>,
}

impl Peak {
    /// The peak with batches of `batch` examples.
    pub fn of(&self, batch: usize) -> u64 {
        let at_once = batch.min(self.at_most.unwrap_or(batch));
        let masks = self.masks.saturating_mul(batch as u64);
        self.per_image.saturating_mul(at_once as u64).saturating_add(masks).saturating_add(self.fixed)
    }

    /// The peak if an example is a sequence of `tokens` tokens.
    pub fn of_sequences(self, tokens: usize) -> Peak {
        Peak { per_image: self.per_image.saturating_mul(tokens as u64), ..self }
    }
}

/// The properties of a backward pass that its memory depends on.
#[derive(Clone, Copy)]
struct Pass {
    /// Whether the gradient of α is computed.
    of_alpha: bool,
    /// Whether the gradients of depthwise kernels are computed outside of autograd.
    outside: bool,
    /// Whether every value carries its derivative along a direction.
    along: bool,
    /// Bytes of an activation.
    element: u64,
}

impl Plan {
    /// The peak of a search step.
    pub fn peak(&self, demand: &Demand) -> Peak {
        let cells = self.cells();
        let recompute = demand.memory == Memory::Recompute;
        let by_alpha = Pass { of_alpha: true, outside: false, along: false, element: demand.element as u64 };
        // The weight step needs the gradient of the weights alone, the validation loss of other methods both.
        let both = !matches!(demand.method, Method::FirstOrder | Method::MixedLevel);
        let by_weights = Pass { of_alpha: both, outside: demand.kernels_outside, ..by_alpha };
        let passes = [by_alpha, by_weights].into_iter();
        let mut per_image = passes.map(|pass| self.peak_of(&cells, recompute, pass)).max().unwrap_or(0);
        if demand.method.has_products() {
            let along = Pass { along: true, ..by_alpha };
            // The product of `unrolled_exact` computes the first half again.
            let keeps = !recompute && demand.method != Method::UnrolledExact;
            let segments = if recompute || keeps { self.cells() } else { self.halves() };
            per_image = per_image.max(self.peak_of(&segments, !keeps, along));
            if matches!(demand.method, Method::Neumann | Method::ConjugateGradient) {
                let by_weights = Pass { outside: demand.kernels_outside, ..along };
                per_image = per_image.max(self.peak_of(&cells, recompute, by_weights));
            }
        }
        // A gradient, the parts that it is concatenated from, and the temporaries of an update; an unrolled step adds
        // the virtual weights, the gradient at them and the weights on either side; a solver adds its vectors.
        let vectors = match demand.method {
            Method::FirstOrder | Method::SingleLevel | Method::MixedLevel => 4,
            Method::Unrolled | Method::UnrolledExact | Method::T1T2 => 7,
            Method::Neumann => 8,
            Method::ConjugateGradient => 9,
        };
        let weights = self.weights.iter().fold(0, |sum: u64, weight| sum.saturating_add(weight.elements() as u64));
        let fixed = weights.saturating_mul(vectors * demand.weight as u64);
        let masks = self.mask_bytes();
        if !demand.heap {
            return Peak { per_image, masks, fixed, at_most: demand.at_most };
        }
        let taken = |bytes: u64| (bytes as f64 * heap(demand)) as u64;
        let (per_image, fixed) = (taken(per_image), taken(fixed).saturating_add(KERNELS));
        Peak { per_image, masks, fixed, at_most: demand.at_most }
    }

    /// Bytes per image of the masks of a step: a byte per element, for the training and for the validation batch.
    fn mask_bytes(&self) -> u64 {
        self.masks.iter().fold(0, |sum, mask| sum.saturating_add(mask.shape.elements().saturating_mul(2)))
    }

    /// Bytes per image at the peak of a backward pass in segments. The current segment keeps all activations; earlier
    /// ones do too, or keep their inputs only and are computed again.
    fn peak_of(&self, segments: &[Segment], recompute: bool, pass: Pass) -> u64 {
        let doubled = if pass.along { 2 } else { 1 };
        let mut held: HashSet<ValueId> = HashSet::new();
        let (mut peak, mut indices, mut inside) = (0, 0, 0);
        for segment in segments {
            let kept = self.keepers(segment.range.clone(), pass.of_alpha).into_iter().map(|(_, value)| value);
            let kept: HashSet<ValueId> = kept.chain(segment.inputs.iter().copied()).collect();
            let before = self.elements(&held.difference(&kept).copied().collect());
            let elements = before + self.backward(segment, pass);
            // With derivatives along a direction a batch norm also keeps the normalised values.
            let normal = if pass.along { self.normalised(segment.range.clone()) } else { 0 };
            let of_segment = self.pooling_indices(segment.range.clone()).saturating_mul(INDEX_BYTES);
            // Differentiated twice, a module keeps about twice as much for either derivative.
            let within = doubled * doubled * self.kept_inside(segment.range.clone());
            let bytes = (doubled * elements + normal + inside + within).saturating_mul(pass.element);
            peak = peak.max(bytes.saturating_add(indices + of_segment));
            if recompute {
                held.extend(&segment.inputs);
            } else {
                held.extend(&kept);
                indices += of_segment;
                inside += within;
            }
        }
        peak
    }

    /// Elements per image at the peak of one segment's backward pass: kept values are released on the way, while
    /// gradients are allocated and released.
    fn backward(&self, segment: &Segment, pass: Pass) -> u64 {
        let sizes: HashMap<ValueId, u64> = self.sizes().collect();
        let size = |value: &ValueId| sizes.get(value).copied().unwrap_or(0);
        let range = segment.range.clone();
        // Each kept value with the instruction whose backward pass releases it: the first that kept it, or none.
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
                // The gradient of a sum is that of its terms; the gradients of concatenated values are views of one.
                match instruction.op {
                    Op::Add | Op::Accumulate | Op::Concat { .. } | Op::Stack => {
                        gradients.share(*input, instruction.output)
                    }
                    Op::Noise { .. } => {}
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

    /// The values that autograd keeps, with or without the gradient of α.
    pub(super) fn kept(&self, of_alpha: bool) -> HashSet<ValueId> {
        self.keepers(0..self.instructions.len(), of_alpha).into_iter().map(|(_, value)| value).collect()
    }

    /// The values that autograd keeps for each instruction of a range, in order.
    fn keepers(&self, range: Range<usize>, of_alpha: bool) -> Vec<(usize, ValueId)> {
        let mut shapes: HashMap<ValueId, &Shape> = HashMap::from([(self.input, &self.input_shape)]);
        // A slice, or a shifted image of even size, is a view: keeping it keeps the whole image.
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
                | Op::Own { .. }
                | Op::Linear { .. } => &instruction.inputs,
                Op::Relu => std::slice::from_ref(&instruction.output),
                Op::Mix { .. } | Op::Mixtures { .. } if of_alpha => &instruction.inputs,
                Op::Shift { by } => {
                    let input = instruction.inputs.first().copied();
                    let cuts = |(extent, by): (&usize, &By)| match by {
                        By::Nothing => true,
                        By::Next => extent % 2 == 0,
                        By::Following | By::Previous => false,
                    };
                    let is_even = |shape: &&Shape| shape.0.iter().skip(1).zip(by).all(cuts);
                    let even = input.filter(|input| shapes.get(input).is_some_and(is_even));
                    views.extend(even.map(|input| (instruction.output, *views.get(&input).unwrap_or(&input))));
                    &[]
                }
                Op::Slice { .. } | Op::Unstack { .. } | Op::Cut { rest: true, .. } => {
                    let whole = instruction.inputs.first().copied();
                    views.extend(whole.map(|whole| (instruction.output, *views.get(&whole).unwrap_or(&whole))));
                    &[]
                }
                Op::Mix { .. }
                | Op::Mixtures { .. }
                | Op::Lookup { .. }
                | Op::Bias { .. }
                | Op::Mask { .. }
                | Op::Drop { .. }
                | Op::Mean
                | Op::Stack
                | Op::Concat { .. }
                | Op::Cut { .. }
                | Op::Shuffle { .. }
                | Op::GlobalAvgPool
                | Op::Pad { .. }
                | Op::Subsample { .. }
                | Op::SpaceToBatch { .. }
                | Op::BatchToSpace { .. }
                | Op::Repeat { .. }
                | Op::Noise { .. }
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

    /// Elements per image in some values.
    pub(super) fn elements(&self, values: &HashSet<ValueId>) -> u64 {
        let sizes = self.sizes().filter(|(value, _)| values.contains(value));
        sizes.fold(0, |sum, (_, size)| sum.saturating_add(size))
    }

    /// The elements per image of every value.
    fn sizes(&self) -> impl Iterator<Item = (ValueId, u64)> {
        let made = self.instructions.iter().map(|instruction| (instruction.output, instruction.shape.elements()));
        made.chain([(self.input, self.input_shape.elements())])
    }

    /// Elements per image that modules of user-defined operations keep besides their inputs.
    pub(super) fn kept_inside(&self, range: Range<usize>) -> u64 {
        let of = |instruction: &Instruction| match instruction.op {
            Op::Own { module, .. } => self.own.get(module.0).map_or(0, |own| own.description.kept),
            _ => 0,
        };
        self.instructions[range].iter().fold(0, |sum, it| sum.saturating_add(of(it)))
    }

    /// Indices per image that max pooling keeps.
    pub(super) fn pooling_indices(&self, range: Range<usize>) -> u64 {
        let pooled = self.instructions[range].iter().filter(|it| matches!(it.op, Op::MaxPool { .. }));
        pooled.fold(0, |sum, it| sum.saturating_add(it.shape.elements()))
    }

    /// Elements per image in the outputs of batch norms.
    fn normalised(&self, range: Range<usize>) -> u64 {
        let normalised = self.instructions[range].iter().filter(|it| matches!(it.op, Op::BatchNorm { .. }));
        normalised.fold(0, |sum, it| sum.saturating_add(it.shape.elements()))
    }
}

/// The gradients that are allocated, and the memory that they share.
#[derive(Default)]
struct Gradients {
    /// The block of memory of each.
    block_of: HashMap<ValueId, usize>,
    /// The size of each block in elements, and the number of gradients in it.
    blocks: Vec<(u64, usize)>,
    /// Elements in all blocks that are in use.
    live: u64,
}

impl Gradients {
    /// Allocates a gradient, unless the value has one to add to.
    fn make(&mut self, value: ValueId, size: u64) {
        if let Entry::Vacant(entry) = self.block_of.entry(value) {
            entry.insert(self.blocks.len());
            self.blocks.push((size, 1));
            self.live += size;
        }
    }

    /// Places a gradient in the block of another one, unless the value has one to add to.
    fn share(&mut self, value: ValueId, other: ValueId) {
        let Some(block) = self.block_of.get(&other).copied() else { return };
        if let Entry::Vacant(entry) = self.block_of.entry(value) {
            entry.insert(block);
            self.blocks[block].1 += 1;
        }
    }

    fn drop(&mut self, value: ValueId) {
        let Some(block) = self.block_of.remove(&value) else { return };
        let (size, gradients) = &mut self.blocks[block];
        *gradients -= 1;
        if *gradients == 0 {
            self.live -= *size;
        }
    }
}
