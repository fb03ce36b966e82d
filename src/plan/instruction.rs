//! The elements of a plan: values with shapes, weights, statistics, α tables, and the instructions between them.

use std::fmt;

use super::{By, DropoutTarget, Fill, MaskId, OwnId, Scope};
use crate::space::Operation;

/// A value: the network's input or an instruction's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub usize);

/// A row of the plan's table of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WeightId(pub usize);

/// A row of the plan's table of running statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatisticId(pub usize);

/// A table of mixing weights: a row of the plan's tables of α, followed by its constant tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AlphaId(pub usize);

/// A shape without the batch dimension: `[channels, height, width]`, `[features]`, or `[]` for a token. Images split
/// into phases ([`Op::SpaceToBatch`]) and stacked values ([`Op::Stack`]) are concatenated along the batch: `[phases,
/// channels, height, width]` and `[phases, features]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Shape(pub Vec<usize>);

impl Shape {
    /// The number of channels or features.
    pub fn channels(&self) -> usize {
        match self.0[..] {
            [channels] | [_, channels] | [channels, _, _] | [_, channels, _, _] => channels,
            _ => 0,
        }
    }

    /// The number of elements of a value of this shape.
    pub fn elements(&self) -> u64 {
        self.0.iter().fold(1, |product, extent| product.saturating_mul(*extent as u64))
    }
}

/// "16x32x32".
impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let extents: Vec<String> = self.0.iter().map(usize::to_string).collect();
        formatter.pad(&extents.join("x"))
    }
}

/// The initial distribution of a weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// Uniform between ±1/√n for n inputs per output, as in PyTorch's convolution and linear layers.
    FanIn(usize),
    /// Uniform between ± a bound.
    Within(f64),
    /// A constant.
    Constant(f64),
    /// As the module of a user-defined operation draws it; 0 until then.
    Own,
}

/// A weight of the network.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightSpec {
    /// The name under which it is saved.
    pub name: String,
    /// The shape.
    pub shape: Vec<usize>,
    /// The initial distribution.
    pub init: Init,
}

impl WeightSpec {
    /// The shape of a convolution's kernel, [out, in / groups, height, width]. Sequences have kernels without a height,
    /// as `nn.Conv1d` has.
    pub fn kernel(&self) -> Option<[usize; 4]> {
        match self.shape[..] {
            [out, depth, tall, wide] => Some([out, depth, tall, wide]),
            [out, depth, wide] => Some([out, depth, 1, wide]),
            _ => None,
        }
    }

    /// The number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().fold(1, |product, extent| product.saturating_mul(*extent))
    }
}

/// The running mean and variance of one batch norm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatisticSpec {
    /// The name of the batch norm, "stem.bn"; saved as its `.running_mean` and `.running_var`.
    pub name: String,
    /// The number of channels or units.
    pub width: usize,
}

/// The factor by which a batch norm scales the normalised channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scale {
    /// 1.
    One,
    /// weight · x + bias per channel.
    Affine {
        /// `[channels]`.
        weight: WeightId,
        /// `[channels]`.
        bias: WeightId,
    },
    /// m[row, column]; the channels are divided equally among the terms.
    Mixing {
        /// The table.
        alpha: AlphaId,
        /// The row and column of each block of channels.
        terms: Vec<(usize, usize)>,
    },
}

/// The operation of an instruction.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// A convolution without bias; the kernel is `[out, in / groups, height, width]`, or without `height` if that is 1.
    Conv {
        /// The kernel, or the first of several consecutive ones.
        weight: WeightId,
        /// The number of consecutive weights that make the kernel, concatenated along `out`.
        members: usize,
        /// Vertical and horizontal stride.
        stride: [usize; 2],
        /// Rows of zeros above and below, columns of zeros left and right.
        padding: [usize; 2],
        /// Distance between the points of the kernel, in both directions.
        dilation: usize,
        /// Groups of channels that are convolved separately.
        groups: usize,
    },
    /// The input plus a number per channel.
    Bias {
        /// `[channels]`.
        weight: WeightId,
    },
    /// Normalisation of each channel over the batch, with the statistics of the batch or the running ones.
    BatchNorm {
        /// The running statistics, or the first of several consecutive ones.
        statistic: StatisticId,
        /// The number of consecutive statistics that make those of all channels.
        members: usize,
        /// Running statistics of other batch norms that this one replaces.
        aliases: Vec<StatisticId>,
        /// The factor of the normalised channels.
        scale: Scale,
    },
    /// max(x, 0).
    Relu,
    /// The maximum of each window.
    MaxPool {
        /// Height and width of the window.
        kernel: [usize; 2],
        /// Vertical and horizontal stride.
        stride: [usize; 2],
        /// Padding above and below, and left and right.
        padding: [usize; 2],
        /// Whether a last window may reach past the end, so that every element belongs to a window.
        ceil: bool,
    },
    /// The mean of each window, without the padding.
    AvgPool {
        /// Height and width of the window.
        kernel: [usize; 2],
        /// Vertical and horizontal stride.
        stride: [usize; 2],
        /// Padding above and below, and left and right.
        padding: [usize; 2],
        /// The number of first columns that are padding too ([`Op::Pad`]).
        outside: usize,
        /// Whether a last window may reach past the end, so that every element belongs to a window.
        ceil: bool,
        /// Whether the CPU computes it as a depthwise convolution in float32. This takes half the time of libtorch's
        /// pooling, and rounds differently: poolings that a norm follows keep libtorch's.
        convolve: bool,
    },
    /// Columns before the first one.
    Pad {
        /// The number of columns.
        left: usize,
        /// Their values.
        fill: Fill,
    },
    /// The pixel below, to the right or to the left of each.
    Shift {
        /// By axis, height and width: `Next` is x[1:], padded with a zero at the end if x has an odd extent.
        by: [By; 2],
    },
    /// The inputs concatenated along the channels: the first block of every input, then the second block of every
    /// input.
    Concat {
        /// The number of equal blocks into which each input is divided.
        blocks: usize,
    },
    /// Σ_t m[row_t, column_t] · input_t. As lowered: all operations but `none` on all edges into a node.
    Mix {
        /// The table.
        alpha: AlphaId,
        /// The row and column of each input.
        terms: Vec<(usize, usize)>,
    },
    /// Every `factors[0]`th row and `factors[1]`th column.
    Subsample {
        /// Vertical and horizontal stride.
        factors: [usize; 2],
    },
    /// The image as smaller ones (phases), as many as the product of `factors`, concatenated along the batch: each has
    /// the rows and columns of equal remainder. Height and width are multiples of the factors.
    SpaceToBatch {
        /// Distance of neighbouring rows, and of neighbouring columns, of a phase.
        factors: [usize; 2],
    },
    /// The inverse of `SpaceToBatch`.
    BatchToSpace {
        /// Distance of neighbouring rows, and of neighbouring columns, of a phase.
        factors: [usize; 2],
    },
    /// The input several times, concatenated along the channels.
    Repeat {
        /// The number of repetitions.
        times: usize,
    },
    /// One of several equal blocks of channels.
    Slice {
        /// The index of the result.
        index: usize,
        /// The number of parts.
        of: usize,
    },
    /// The channels before one of them, copied, or those from it on, a view.
    Cut {
        /// The first channel of the second part.
        at: usize,
        /// Whether it is the second part.
        rest: bool,
    },
    /// The channels j in the order of (j mod `by`, ⌊j / `by`⌋).
    Shuffle {
        /// The number of channels that were mixed.
        by: usize,
    },
    /// The inputs concatenated along the batch, as phases are.
    Stack,
    /// Several mixtures of the same stacked values: Σ_k m[row_j, column_k] · value_k for each row, stacked.
    Mixtures {
        /// The table.
        alpha: AlphaId,
        /// One per mixture.
        rows: Vec<usize>,
        /// One per value.
        columns: Vec<usize>,
    },
    /// One of several stacked values.
    Unstack {
        /// The index of the result.
        index: usize,
        /// The number of parts.
        of: usize,
    },
    /// The sum of both inputs.
    Add,
    /// The sum of both inputs, written over the first, which is not read afterwards.
    Accumulate,
    /// The mean over height and width.
    GlobalAvgPool,
    /// The row of a weight for each token; dropped rows are zero.
    Lookup {
        /// `[words, units]`.
        weight: WeightId,
    },
    /// Variational dropout: every token of a sequence is multiplied by the same mask.
    Mask {
        /// The mask.
        target: DropoutTarget,
    },
    /// Dropout of a supernet: the input times a mask of the step and the constant that keeps its mean.
    Drop {
        /// The mask.
        mask: MaskId,
    },
    /// Input · weight, or input · consecutive rows of the weight.
    Product {
        /// `[in, out]`.
        weight: WeightId,
        /// The first row and the number of rows.
        rows: (usize, usize),
    },
    /// s + σ(c)·(f(u) − s), from a state s and [c, u].
    Gate {
        /// f.
        activation: Operation,
    },
    /// All gates of a node in one, Σ_t m[row_t, column_t] · gate_t, from stacked states and their stacked [c,
    /// u]. The columns are the same for each state.
    Gates {
        /// The table.
        alpha: AlphaId,
        /// One per state.
        rows: Vec<usize>,
        /// One per activation, with the activation.
        columns: Vec<(usize, Operation)>,
    },
    /// The mean of the inputs.
    Mean,
    /// Standard normal numbers, drawn when the instruction runs; the input gives the number of examples and the extents,
    /// which are divided by the stride. Its scope is part of the key of the draw, so that no two edges share numbers.
    Noise {
        /// The stride in all directions.
        stride: usize,
    },
    /// A module of a user-defined operation; the output has as many channels, and extents divided by the stride.
    Own {
        /// The module.
        module: OwnId,
        /// Its weights, in its order.
        weights: Vec<WeightId>,
        /// The stride in all directions.
        stride: usize,
    },
    /// weight · x + bias; the weight is `[out, in]`.
    Linear {
        /// `[out, in]`.
        weight: WeightId,
        /// `[out]`.
        bias: WeightId,
    },
}

impl Op {
    /// The weights that it uses, as rows of the plan's table.
    pub fn weights(&self) -> Vec<usize> {
        match self {
            Op::Conv { weight, members, .. } => (weight.0..weight.0 + members).collect(),
            Op::Linear { weight, bias } | Op::BatchNorm { scale: Scale::Affine { weight, bias }, .. } => {
                vec![weight.0, bias.0]
            }
            Op::Own { weights, .. } => weights.iter().map(|weight| weight.0).collect(),
            Op::Lookup { weight } | Op::Product { weight, .. } | Op::Bias { weight } => vec![weight.0],
            _ => Vec::new(),
        }
    }

    /// The α table that it mixes with, and the row and column of each term; `None` if it mixes nothing.
    pub fn mixing(&self) -> Option<(AlphaId, Vec<(usize, usize)>)> {
        match self {
            Op::Mix { alpha, terms } | Op::BatchNorm { scale: Scale::Mixing { alpha, terms }, .. } => {
                Some((*alpha, terms.clone()))
            }
            Op::Mixtures { alpha, rows, columns } => Some((*alpha, pairs(rows, columns))),
            Op::Gates { alpha, rows, columns } => {
                let columns: Vec<usize> = columns.iter().map(|(column, _)| *column).collect();
                Some((*alpha, pairs(rows, &columns)))
            }
            _ => None,
        }
    }
}

/// A step of the plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Instruction {
    /// The operation.
    pub op: Op,
    /// The values that it reads.
    pub inputs: Vec<ValueId>,
    /// The value that it defines.
    pub output: ValueId,
    /// The shape of the output.
    pub shape: Shape,
    /// The part of the network that it belongs to.
    pub scope: Scope,
}

/// Every row with every column, row by row.
pub(super) fn pairs(rows: &[usize], columns: &[usize]) -> Vec<(usize, usize)> {
    rows.iter().flat_map(|row| columns.iter().map(move |column| (*row, *column))).collect()
}
