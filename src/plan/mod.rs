//! The plan: a search network as a sequence of instructions with known shapes, before any tensor exists.

mod analysis;
mod check;
mod dropout;
mod edges;
mod instruction;
mod lower;
mod masks;
mod own;
mod padding;
pub mod passes;
mod scope;
mod shape;

use std::collections::HashMap;

pub use analysis::{Cost, Demand, Peak, Segment, Spans, Term, Terms};
pub use dropout::DropoutTarget;
pub use edges::EdgeOptions;
pub use instruction::{
    AlphaId, Init, Instruction, Op, Scale, Shape, StatisticId, StatisticSpec, ValueId, WeightId, WeightSpec,
};
pub use masks::{MaskId, MaskKind, MaskSpec};
pub use own::{Description, Makers, OwnId, OwnSpec};
pub use padding::{By, Fill};
pub use scope::{Module, Part, Scope};

use crate::arch::LogitTable;
use crate::space::{Edge, Space};

/// The size of a network that reads images, or sequences as images of height 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Geometry {
    /// Channels of the first cells; they double at each reduction.
    pub channels: usize,
    /// Number of cells.
    pub layers: usize,
    /// Number of classes.
    pub num_classes: usize,
    /// Channels of an image.
    pub in_channels: usize,
    /// Height and width of an image; 1 and the length of a sequence.
    pub image_size: (usize, usize),
}

/// The size of a language model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Language {
    /// Size of the vocabulary.
    pub words: usize,
    /// Size of an embedded word and of a state.
    pub units: usize,
}

/// The size of a network, by the kind of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sizes {
    /// Images.
    Images(Geometry),
    /// Sequences of words.
    Words(Language),
}

impl Sizes {
    /// The size of a network that reads images.
    pub fn images(&self) -> Option<&Geometry> {
        match self {
            Sizes::Images(geometry) => Some(geometry),
            Sizes::Words(_) => None,
        }
    }

    /// The number of outputs.
    pub fn outputs(&self) -> usize {
        match self {
            Sizes::Images(geometry) => geometry.num_classes,
            Sizes::Words(language) => language.words,
        }
    }
}

/// The state that a plan passes from one token to the next. Instructions that do not depend on it, or that the next
/// state does not depend on, are computed for all tokens of a sequence at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recurrence {
    /// The state before a token: `[units]`.
    pub state: ValueId,
    /// The state after it.
    pub next: ValueId,
}

/// A search network, ready to be rewritten, explained, costed and run.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The space.
    pub space: Space,
    /// The size.
    pub sizes: Sizes,
    /// How the edges of convolutional cells are computed.
    pub edges: EdgeOptions,
    /// The value of the images, or of the tokens.
    pub input: ValueId,
    /// The shape of an image, or of a token.
    pub input_shape: Shape,
    /// The state that is passed from token to token, if it reads words.
    pub recurrence: Option<Recurrence>,
    /// The weights, in the order of the flat vector.
    pub weights: Vec<WeightSpec>,
    /// The running statistics.
    pub statistics: Vec<StatisticSpec>,
    /// The modules of user-defined operations.
    pub own: Vec<OwnSpec>,
    /// The masks of drop path and skip dropout.
    pub masks: Vec<MaskSpec>,
    /// The tables of logits.
    pub alphas: Vec<LogitTable>,
    /// Tables of mixing weights that do not depend on logits. They follow those of the logits.
    pub constants: Vec<LogitTable>,
    /// The instructions, in an order in which they can run.
    pub instructions: Vec<Instruction>,
    /// The value of the logits.
    pub output: ValueId,
    /// The names of the passes that have been applied, in order.
    pub passes: Vec<&'static str>,
}

impl Plan {
    /// For each instruction the values that are not read after it, so that a run can free them. The output is never
    /// among them.
    pub fn last_uses(&self) -> Vec<Vec<ValueId>> {
        let mut last: HashMap<ValueId, usize> = HashMap::new();
        for (index, instruction) in self.instructions.iter().enumerate() {
            // An output that is never read is freed where it is defined.
            for value in instruction.inputs.iter().chain([&instruction.output]) {
                last.insert(*value, index);
            }
        }
        last.remove(&self.output);
        if let Some(recurrence) = &self.recurrence {
            last.remove(&recurrence.next);
        }
        let mut dying = vec![Vec::new(); self.instructions.len()];
        for (value, index) in last {
            dying[index].push(value);
        }
        for values in &mut dying {
            values.sort_unstable();
        }
        dying
    }

    /// All tables of mixing weights: those of the logits, then the constant ones.
    pub fn mixing_tables(&self) -> impl Iterator<Item = &LogitTable> {
        self.alphas.iter().chain(&self.constants)
    }

    /// A table of mixing weights.
    pub fn mixing_table(&self, alpha: AlphaId) -> Option<&LogitTable> {
        self.mixing_tables().nth(alpha.0)
    }

    /// The shape of a weight; empty for a weight that does not exist.
    fn weight_shape(&self, weight: WeightId) -> &[usize] {
        self.weights.get(weight.0).map_or(&[], |weight| &weight.shape)
    }

    /// The kernel of a convolution, [out, in / groups, height, width]; None for a weight of another sort.
    fn kernel(&self, weight: WeightId) -> Option<[usize; 4]> {
        self.weights.get(weight.0).and_then(WeightSpec::kernel)
    }

    /// The shape of an example as data hold it: that of an image, [C, L] of a sequence, [] of a token.
    pub fn example_shape(&self) -> Vec<usize> {
        match (self.space.dimensions(), &self.input_shape.0[..]) {
            (Some(1), &[channels, _, length]) => vec![channels, length],
            (_, shape) => shape.to_vec(),
        }
    }

    /// One more than the highest value id: the length of a table of all values.
    pub fn values(&self) -> usize {
        let outputs = self.instructions.iter().map(|instruction| instruction.output.0);
        let state = self.recurrence.iter().map(|recurrence| recurrence.state.0);
        outputs.chain([self.input.0]).chain(state).max().map_or(0, |highest| highest + 1)
    }
}
