//! The cells of a network: in a chain, in stages, or one for each word of a sequence.

use serde_json::{Value, json};

use crate::error::Result;
use crate::json::Field;

/// The largest number of stages.
const MOST_STAGES: usize = 8;

/// The largest factor of the channels of a stage.
const MOST_CHANNELS: usize = 4;

/// The largest factor of the channels of a network: that of the most stages which each double them.
const MOST_GROWTH: usize = 1 << MOST_STAGES;

/// The cells of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stages {
    /// Cells in a row, each of which reads the two before it: the space's first cell, which keeps the size, and in some
    /// positions its second, which halves the size and doubles the channels.
    Chain {
        /// The positions of the second cell; None: layers//3 and 2·layers//3.
        reductions: Option<Vec<usize>>,
    },
    /// One cell, as often as `layers` says in each of so many stages. Between two stages a residual block halves the size
    /// and doubles the channels (NAS-Bench-201).
    Residual {
        /// The number of stages.
        stages: usize,
    },
    /// One cell, as often as `layers` says in each of these stages. The edges that leave the input of the first cell of a
    /// stage change channels and size (TransNAS-Bench-101).
    Direct {
        /// The stages.
        stages: Vec<Stage>,
    },
    /// One cell, applied to each word of a sequence.
    Recurrence,
}

/// What the first cell of a stage does to its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage {
    /// The channels of the stage divided by those before it.
    pub channels: usize,
    /// The stride: 1, or 2, which halves the size.
    pub stride: usize,
}

impl Stages {
    /// The number of stages, or a list of stages as pairs [channels, stride].
    pub(super) fn read(field: &Field) -> Result<Stages> {
        let Value::Array(pairs) = field.value else {
            return field.whole_within(1, MOST_STAGES).map(|stages| Stages::Residual { stages });
        };
        let expected = "a number of stages, or a list of pairs [channels, stride], such as [[2, 2], [1, 1]]";
        let stage = |pair: &Value| {
            let numbers = Field { value: pair, ..*field }.wholes().map_err(|_| field.refuse(expected))?;
            match numbers[..] {
                [channels, stride] => Ok(Stage { channels, stride }),
                _ => Err(field.refuse(expected)),
            }
        };
        Ok(Stages::Direct { stages: pairs.iter().map(stage).collect::<Result<_>>()? })
    }

    /// As `read` takes it; null without stages.
    pub(super) fn to_value(&self) -> Value {
        match self {
            Stages::Residual { stages } => json!(stages),
            Stages::Direct { stages } => stages.iter().map(|stage| json!([stage.channels, stage.stride])).collect(),
            Stages::Chain { .. } | Stages::Recurrence => Value::Null,
        }
    }

    /// The number of stages; None in networks without.
    pub fn count(&self) -> Option<usize> {
        match self {
            Stages::Residual { stages } => Some(*stages),
            Stages::Direct { stages } => Some(stages.len()),
            Stages::Chain { .. } | Stages::Recurrence => None,
        }
    }

    /// Whether the input of some cell has other channels than the cell.
    pub fn change_channels(&self) -> bool {
        matches!(self, Stages::Direct { stages } if stages.iter().any(|stage| stage.channels != 1))
    }

    /// What is wrong with them.
    pub(super) fn flaw(&self) -> Option<String> {
        if let Some(count) = self.count().filter(|count| !(1..=MOST_STAGES).contains(count)) {
            return Some(match self {
                Stages::Direct { .. } => format!("`stages` has {count} stages; give 1 to {MOST_STAGES}"),
                _ => format!("`stages` is {count}; it must be a whole number from 1 to {MOST_STAGES}"),
            });
        }
        let Stages::Direct { stages } = self else { return None };
        for (number, Stage { channels, stride }) in stages.iter().enumerate() {
            if !(1..=MOST_CHANNELS).contains(channels) {
                return Some(format!(
                    "`stages[{number}]` multiplies the channels by {channels}; it must be a whole number from 1 to \
                     {MOST_CHANNELS}"
                ));
            }
            if !(1..=2).contains(stride) {
                return Some(format!("the stride of `stages[{number}]` is {stride}; it must be 1 or 2"));
            }
        }
        let growth: usize = stages.iter().map(|stage| stage.channels).product();
        (growth > MOST_GROWTH)
            .then(|| format!("`stages` multiply the channels by {growth}; the largest factor is {MOST_GROWTH}"))
    }
}
