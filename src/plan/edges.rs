//! Options of the edges of convolutional cells.

use std::fmt;

use crate::arch::{AUXILIARY_SKIP, LogitTable};
use crate::space::Space;

/// How the edges of convolutional cells are computed and summed. The default is the published cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EdgeOptions {
    /// The first 1/k of a node's channels go through the operations, the others bypass them.
    pub partial_channels: usize,
    /// Whether the edges into a node are weighted by logits of their own.
    pub edge_normalization: bool,
    /// Whether every edge has a skip connection besides its operations.
    pub auxiliary_skip: bool,
    /// Whether mixed edges are dropped.
    pub drop_path: bool,
    /// Whether elements of skip connections are dropped.
    pub skip_dropout: bool,
}

impl Default for EdgeOptions {
    fn default() -> Self {
        EdgeOptions {
            partial_channels: 1,
            edge_normalization: false,
            auxiliary_skip: false,
            drop_path: false,
            skip_dropout: false,
        }
    }
}

/// "1/4 of the channels through the operations, weighted edges".
impl fmt::Display for EdgeOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let partial = format!("1/{} of the channels through the operations", self.partial_channels);
        let given = [
            (self.partial_channels != 1, partial.as_str()),
            (self.edge_normalization, "weighted edges"),
            (self.auxiliary_skip, "auxiliary skips"),
        ];
        let given: Vec<&str> = given.into_iter().filter_map(|(given, words)| given.then_some(words)).collect();
        formatter.write_str(&given.join(", "))
    }
}

impl EdgeOptions {
    /// The tables of logits of a space.
    pub fn alphas(&self, space: &Space) -> Vec<LogitTable> {
        let mut tables = space.logit_tables();
        if self.edge_normalization {
            tables.extend(tables.iter().map(LogitTable::edge_weights).collect::<Vec<_>>());
        }
        tables
    }

    /// The tables of constant mixing weights.
    pub fn constants(&self) -> Vec<LogitTable> {
        self.auxiliary_skip.then(|| LogitTable::constant(AUXILIARY_SKIP)).into_iter().collect()
    }

    /// The number of channels, of `channels`, that go through the operations.
    pub fn mixed(&self, channels: usize) -> usize {
        (channels / self.partial_channels).max(1)
    }
}
