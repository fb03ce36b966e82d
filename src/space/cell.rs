//! The cell: its kind, its input nodes and tables, and the edges between nodes.

use serde::Serialize;

use super::Operation;

/// The kind of a cell: from two images to an image, or from a state and an input to a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CellKind {
    /// Two input nodes, tables `normal` and `reduce`.
    Convolutional,
    /// One input node, table `recurrent`.
    Recurrent,
}

impl CellKind {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            CellKind::Convolutional => "convolutional",
            CellKind::Recurrent => "recurrent",
        }
    }

    /// The number of input nodes of a cell.
    pub fn inputs(self) -> usize {
        match self {
            CellKind::Convolutional => 2,
            CellKind::Recurrent => 1,
        }
    }

    /// The names of the α tables, in order.
    pub fn tables(self) -> &'static [&'static str] {
        match self {
            CellKind::Convolutional => &["normal", "reduce"],
            CellKind::Recurrent => &["recurrent"],
        }
    }

    /// The number of edges that a node keeps in a genotype.
    pub fn kept_edges(self) -> usize {
        match self {
            CellKind::Convolutional => 2,
            CellKind::Recurrent => 1,
        }
    }

    /// Whether its cells may contain an operation.
    pub fn allows(self, operation: Operation) -> bool {
        match self {
            CellKind::Convolutional => operation.is_convolutional(),
            CellKind::Recurrent => operation.is_recurrent(),
        }
    }
}

/// An edge between two nodes of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Edge {
    /// The node that it leaves.
    pub from: usize,
    /// The node that it enters; greater than `from`.
    pub to: usize,
}
