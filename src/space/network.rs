//! The specification of the network that cells form.

use super::{Preprocess, Stages};

/// What a network reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reads {
    /// Images or sequences of numbers, which it classifies.
    Images,
    /// Sequences of words, of which it predicts the next one.
    Words,
}

/// What a network of convolutional cells reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Domain {
    /// Images [C, H, W].
    Images,
    /// Sequences [C, L]. In a plan they are images of height 1, with kernels 1 x k.
    Sequences {
        /// Whether position i of a value with stride s depends on positions 0 to s·i of the sequence only.
        causal: bool,
    },
}

impl Domain {
    /// The number of dimensions that convolutions run over.
    pub fn dimensions(self) -> usize {
        match self {
            Domain::Images => 2,
            Domain::Sequences { .. } => 1,
        }
    }

    /// Whether all padding is before the first position of a sequence.
    pub fn is_causal(self) -> bool {
        self == Domain::Sequences { causal: true }
    }
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
        /// What the network reads.
        domain: Domain,
    },
    /// A convolution of stride 2 to half of the channels and a batch norm, then a ReLU, a convolution of stride 2 and a
    /// batch norm: images.
    Strided,
    /// An embedding of words.
    Embedding,
}

impl Stem {
    /// Its name in JSON; None for words.
    pub(super) fn name(&self) -> Option<&'static str> {
        match self {
            Stem::Convolution { .. } => Some("convolution"),
            Stem::Strided => Some("strided"),
            Stem::Embedding => None,
        }
    }
}

/// The last layers of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// The mean over the image, and a linear classifier.
    Classifier,
    /// A batch norm, a ReLU, the mean over the image, and a linear classifier.
    NormalizedClassifier,
    /// A linear layer whose weight is the embedding's.
    TiedDecoder,
}

impl NetworkSpec {
    /// What the network reads.
    pub fn reads(&self) -> Reads {
        match self.stem {
            Stem::Convolution { .. } | Stem::Strided => Reads::Images,
            Stem::Embedding => Reads::Words,
        }
    }

    /// The positions of the reduction cells; None: the published ones, or a network without such cells.
    pub fn reductions(&self) -> Option<&Vec<usize>> {
        match &self.stages {
            Stages::Chain { reductions } => reductions.as_ref(),
            Stages::Residual { .. } | Stages::Direct { .. } | Stages::Recurrence => None,
        }
    }

    /// The number of stages; None in networks without.
    pub fn stages(&self) -> Option<usize> {
        self.stages.count()
    }

    /// The channels of the stem divided by those of the first cell; 1 for words.
    pub fn stem_multiplier(&self) -> usize {
        match self.stem {
            Stem::Convolution { multiplier, .. } => multiplier,
            Stem::Strided | Stem::Embedding => 1,
        }
    }

    /// What a network of convolutional cells reads; None for words.
    pub fn domain(&self) -> Option<Domain> {
        match self.stem {
            Stem::Convolution { domain, .. } => Some(domain),
            Stem::Strided => Some(Domain::Images),
            Stem::Embedding => None,
        }
    }

    /// The number of different cells that the stages have, and how these read their inputs; None if the parts do not fit
    /// each other.
    pub(super) fn cells(&self) -> Option<(usize, Preprocess)> {
        let images = self.domain() == Some(Domain::Images);
        match (&self.stem, &self.stages, self.head) {
            (Stem::Convolution { .. }, Stages::Chain { .. }, Head::Classifier) => Some((2, Preprocess::Project)),
            (_, Stages::Residual { .. }, Head::NormalizedClassifier) if images => Some((1, Preprocess::Nothing)),
            (_, Stages::Direct { .. }, Head::Classifier) if images => Some((1, Preprocess::Nothing)),
            (Stem::Embedding, Stages::Recurrence, Head::TiedDecoder) => Some((1, Preprocess::Gate)),
            _ => None,
        }
    }
}
