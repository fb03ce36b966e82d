//! What a plan is made of: values with shapes, weights, statistics, α tables, and the instructions between them.

use std::fmt;

use super::Scope;
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

/// A row of the plan's table of α tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AlphaId(pub usize);

/// A shape per example, the batch dimension left out: `[channels, height, width]`, `[features]`, `[]` for a token, or,
/// for what lies one after the other along the batch (images split into phases, see [`Op::SpaceToBatch`], and what
/// [`Op::Stack`] stacks), `[phases, channels, height, width]` and `[phases, features]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Shape(pub Vec<usize>);

impl Shape {
    /// Channels, or features.
    pub fn channels(&self) -> usize {
        match self.0[..] {
            [channels] | [_, channels] | [channels, _, _] | [_, channels, _, _] => channels,
            _ => 0,
        }
    }

    /// Numbers in a value of this shape.
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

/// How a weight is drawn at the start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// Uniform between ±1/√n for n inputs to each output, as PyTorch's convolution and linear layers are.
    FanIn(usize),
    /// Uniform between ± a number.
    Within(f64),
    /// One number everywhere.
    Constant(f64),
}

/// A weight: its name, shape and start.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightSpec {
    /// The name under which it is saved.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// How it is drawn at the start.
    pub init: Init,
}

impl WeightSpec {
    /// Numbers in it.
    pub fn elements(&self) -> usize {
        self.shape.iter().fold(1, |product, extent| product.saturating_mul(*extent))
    }
}

/// The running mean and variance of one batch norm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatisticSpec {
    /// The name of the batch norm, "stem.bn"; saved as its `.running_mean` and `.running_var`.
    pub name: String,
    /// Channels, or units, that it normalises.
    pub width: usize,
}

/// A table of logits: one row an edge, one column an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlphaSpec {
    /// "normal", "reduce" or "recurrent".
    pub name: String,
    /// Rows.
    pub edges: usize,
    /// Columns.
    pub operations: usize,
}

/// What a batch norm multiplies its channels by, once they are normalised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scale {
    /// Nothing.
    One,
    /// A weight, to which a second one is added.
    Affine {
        /// `[channels]`.
        weight: WeightId,
        /// `[channels]`.
        bias: WeightId,
    },
    /// softmax(α)[row, column], as a mixture would: the channels are divided equally among the terms.
    Mixing {
        /// The table.
        alpha: AlphaId,
        /// Row and column of each block of channels.
        terms: Vec<(usize, usize)>,
    },
}

/// Where variational dropout drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// Rows of the embedding: words.
    Rows,
    /// The embedded input.
    Embedded,
    /// The input of the cell.
    Input,
    /// The hidden state, and every state of the cell, before their products.
    Hidden,
    /// The output.
    Output,
}

impl Place {
    /// Every place, in the order of the pass.
    pub const ALL: [Place; 5] = [Place::Rows, Place::Embedded, Place::Input, Place::Hidden, Place::Output];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Place::Rows => "rows",
            Place::Embedded => "embedded",
            Place::Input => "input",
            Place::Hidden => "hidden",
            Place::Output => "output",
        }
    }
}

/// What an instruction computes.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// A convolution without bias; the kernel is `[out, in / groups, height, width]`.
    Conv {
        /// Its kernel, or the first of several that lie one after the other.
        weight: WeightId,
        /// How many weights make the kernel, one below the other along `out`.
        members: usize,
        /// Vertical and horizontal step.
        stride: [usize; 2],
        /// Rows above and below, columns left and right, of zeros.
        padding: [usize; 2],
        /// Distance between the kernel's points, both ways.
        dilation: usize,
        /// Groups of channels convolved apart.
        groups: usize,
    },
    /// Normalisation of each channel over the batch, with the batch's own or the running statistics.
    BatchNorm {
        /// The running statistics, or the first of several that lie one after the other.
        statistic: StatisticId,
        /// How many statistics make those of all channels.
        members: usize,
        /// Running statistics of other batch norms that this one stands for.
        aliases: Vec<StatisticId>,
        /// What the normalised channels are multiplied by.
        scale: Scale,
    },
    /// max(x, 0).
    Relu,
    /// The largest of each square.
    MaxPool {
        /// Side of the square.
        kernel: usize,
        /// Step both ways.
        stride: usize,
        /// Padding on each side.
        padding: usize,
    },
    /// The mean of each square; padding is left out of it.
    AvgPool {
        /// Side of the square.
        kernel: usize,
        /// Step both ways.
        stride: usize,
        /// Padding on each side.
        padding: usize,
    },
    /// x[:, :, 1:, 1:], then one row (column) of zeros at the bottom (right) if x has an odd number of them.
    Shift,
    /// The inputs one after the other along the channels: the first of equal blocks of all of them, then the second.
    Concat {
        /// Into how many blocks each input parts; 1 leaves it whole.
        blocks: usize,
    },
    /// Σ_t softmax(α)[row_t, column_t] · input_t. As lowered: all operations but `none` on all edges into a node.
    Mix {
        /// The table.
        alpha: AlphaId,
        /// Row and column of each input.
        terms: Vec<(usize, usize)>,
    },
    /// Every `factor`th row and column.
    Subsample {
        /// Step both ways.
        factor: usize,
    },
    /// The image as `factor`² smaller ones, one after the other along the batch: those of the rows and columns of
    /// equal remainder. Height and width are multiples of `factor`.
    SpaceToBatch {
        /// Distance of two rows (columns) of a phase.
        factor: usize,
    },
    /// The inverse of `SpaceToBatch`.
    BatchToSpace {
        /// Distance of two rows (columns) of a phase.
        factor: usize,
    },
    /// The input as often as asked, one after the other along the channels.
    Repeat {
        /// How often.
        times: usize,
    },
    /// One of several equal blocks of channels.
    Slice {
        /// Which.
        index: usize,
        /// Out of how many.
        of: usize,
    },
    /// The inputs one after the other along the batch, as phases are.
    Stack,
    /// Several mixtures of the same values, which are stacked: Σ_k softmax(α)[row_j, column_k] · value_k for each
    /// row, stacked in turn.
    Mixtures {
        /// The table.
        alpha: AlphaId,
        /// One a mixture.
        rows: Vec<usize>,
        /// One a value.
        columns: Vec<usize>,
    },
    /// One of several values that are stacked.
    Unstack {
        /// Which.
        index: usize,
        /// Out of how many.
        of: usize,
    },
    /// The sum of both inputs.
    Add,
    /// The sum of both inputs, written over the first, which nobody reads again.
    Accumulate,
    /// The mean over height and width.
    GlobalAvgPool,
    /// The row of a weight that a token names; dropped rows are zero.
    Lookup {
        /// `[words, units]`.
        weight: WeightId,
    },
    /// Variational dropout: every token of a sequence times the same mask.
    Mask {
        /// Which mask.
        place: Place,
    },
    /// Input · weight, or · some of the rows of the weight.
    Product {
        /// `[in, out]`.
        weight: WeightId,
        /// First row, and how many.
        rows: (usize, usize),
    },
    /// s + σ(c)·(f(u) − s) of a state s and [c, u].
    Gate {
        /// f.
        activation: Operation,
    },
    /// Σ_t softmax(α)[row_t, column_t] · gate_t of stacked states and their stacked [c, u], all gates of a node in one:
    /// the columns are the same for each state.
    Gates {
        /// The table.
        alpha: AlphaId,
        /// One a state.
        rows: Vec<usize>,
        /// One an activation, with it.
        columns: Vec<(usize, Operation)>,
    },
    /// The mean of the inputs.
    Mean,
    /// weight · x + bias; the weight is `[out, in]`.
    Linear {
        /// `[out, in]`.
        weight: WeightId,
        /// `[out]`.
        bias: WeightId,
    },
}

impl Op {
    /// The weights it uses, as rows of the plan's table.
    pub fn weights(&self) -> Vec<usize> {
        match self {
            Op::Conv { weight, members, .. } => (weight.0..weight.0 + members).collect(),
            Op::Linear { weight, bias } | Op::BatchNorm { scale: Scale::Affine { weight, bias }, .. } => {
                vec![weight.0, bias.0]
            }
            Op::Lookup { weight } | Op::Product { weight, .. } => vec![weight.0],
            _ => Vec::new(),
        }
    }

    /// The α table that it mixes with, and the cells of it, row and column, in the order of its terms; none where it
    /// mixes nothing.
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

/// One step of the plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Instruction {
    /// What it computes.
    pub op: Op,
    /// From what.
    pub inputs: Vec<ValueId>,
    /// The value it defines.
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
