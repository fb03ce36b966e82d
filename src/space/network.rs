//! The specification of the network that cells form.

use super::CellKind;

/// What a network reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reads {
    /// Images, which it classifies.
    Images,
    /// Sequences of words, of which it predicts the next one.
    Words,
}

/// A network: what comes before the cells, the cells, and what follows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSpec {
    /// The first layers.
    pub stem: Stem,
    /// The cells.
    pub stages: Stages,
    /// The last layers.
    pub head: Head,
}

/// The first layers of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stem {
    /// A convolution and a batch norm.
    Convolution {
        /// The channels of the stem divided by those of the first cell.
        multiplier: usize,
    },
    /// An embedding of words.
    Embedding,
}

/// The cells of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stages {
    /// Cells in a row, each of which reads the two before it: the space's first cell, which keeps the size, and in some
    /// positions its second, which halves the size and doubles the channels.
    Chain {
        /// The positions of the second cell; None: layers//3 and 2·layers//3.
        reductions: Option<Vec<usize>>,
    },
    /// One cell, applied to each word of a sequence.
    Recurrence,
}

/// The last layers of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// The mean over the image, and a linear classifier.
    Classifier,
    /// A linear layer whose weight is the embedding's.
    TiedDecoder,
}

impl NetworkSpec {
    /// What the network reads.
    pub fn reads(&self) -> Reads {
        match self.stem {
            Stem::Convolution { .. } => Reads::Images,
            Stem::Embedding => Reads::Words,
        }
    }

    /// The positions of the reduction cells; None: the published ones, or a network without such cells.
    pub fn reductions(&self) -> Option<&Vec<usize>> {
        match &self.stages {
            Stages::Chain { reductions } => reductions.as_ref(),
            Stages::Recurrence => None,
        }
    }

    /// The channels of the stem divided by those of the first cell; 1 for words.
    pub fn stem_multiplier(&self) -> usize {
        match self.stem {
            Stem::Convolution { multiplier } => multiplier,
            Stem::Embedding => 1,
        }
    }

    /// The number of different cells that the stages have, and their kind; None if the parts do not fit each other.
    pub(super) fn cells(&self) -> Option<(usize, CellKind)> {
        match (&self.stem, &self.stages, self.head) {
            (Stem::Convolution { .. }, Stages::Chain { .. }, Head::Classifier) => Some((2, CellKind::Convolutional)),
            (Stem::Embedding, Stages::Recurrence, Head::TiedDecoder) => Some((1, CellKind::Recurrent)),
            _ => None,
        }
    }
}
