//! The specification of a cell: its graph, how its nodes are computed, and the candidates of each edge.

use serde::Serialize;

use super::Operation;

/// The kind of a cell: from images to an image, or from a state and an input to a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CellKind {
    /// Images in, convolutions and poolings on the edges.
    Convolutional,
    /// A state and a word in, activations on the edges.
    Recurrent,
}

impl CellKind {
    /// Both kinds.
    pub(crate) const ALL: [CellKind; 2] = [CellKind::Convolutional, CellKind::Recurrent];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            CellKind::Convolutional => "convolutional",
            CellKind::Recurrent => "recurrent",
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

/// A cell of a space.
#[derive(Debug, Clone, PartialEq)]
pub struct CellSpec {
    /// The name of its table of logits.
    pub name: &'static str,
    /// The number of input nodes, which come first.
    pub inputs: usize,
    /// The number of intermediate nodes.
    pub nodes: usize,
    /// How the inputs are brought to the form of the nodes.
    pub preprocess: Preprocess,
    /// How a node is computed from its edges.
    pub aggregate: Aggregate,
    /// How the output is computed from the nodes.
    pub output: Output,
    /// The edges that a genotype keeps.
    pub keep: Keep,
    /// Whether a genotype may hold `none`.
    pub none_selectable: bool,
    /// The candidates of the edges.
    pub operations: Candidates,
    /// The layers of the candidates in a search network.
    pub layers: Layers,
}

/// The layers of a candidate in a search network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layers {
    /// Whether a batch norm follows each pooling.
    pub pooling_norm: bool,
    /// Whether batch norms have a weight and a bias.
    pub affine: bool,
    /// Whether convolutions have a bias. Before a batch norm it changes no output of a search.
    pub bias: bool,
}

impl Layers {
    /// Those of the published DARTS cells.
    pub const DARTS: Layers = Layers { pooling_norm: true, affine: false, bias: false };
}

/// How the inputs of a cell are brought to the form of its nodes. It determines the number of inputs and the operations
/// that edges may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preprocess {
    /// Each input by a ReLU, a convolution and a batch norm; convolutions and poolings on the edges.
    Project,
    /// The word and the state before it by a gate, to one node; activations on the edges.
    Gate,
    /// The one input is node 0 as it is; convolutions and poolings on the edges.
    Nothing,
}

impl Preprocess {
    /// The number of input nodes.
    pub fn inputs(self) -> usize {
        match self {
            Preprocess::Project => 2,
            Preprocess::Gate | Preprocess::Nothing => 1,
        }
    }
}

/// How a node is computed from the mixed operations of its edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    /// Their sum.
    Sum,
    /// The batch norm of their sum.
    NormalizedSum,
}

/// The output of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// The channels of these nodes, concatenated.
    Concat(Vec<usize>),
    /// The last node.
    Last,
    /// The mean of these nodes.
    Mean(Vec<usize>),
}

/// The edges into a node that a genotype keeps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Keep {
    /// So many of the strongest; all of a node that has fewer.
    Strongest(usize),
    /// All.
    EveryEdge,
    /// Those whose strength is at least this number; a node may have none.
    Threshold(f64),
}

/// The candidates of the edges of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Candidates {
    /// The same on every edge.
    Everywhere(Vec<Operation>),
    /// One list per edge, in the order of the edges.
    PerEdge(Vec<Vec<Operation>>),
}

/// An edge between two nodes of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Edge {
    /// The node that it leaves.
    pub from: usize,
    /// The node that it enters; greater than `from`.
    pub to: usize,
}

impl Candidates {
    /// One list per edge, or one for all if the lists are equal.
    pub fn of_edges(lists: Vec<Vec<Operation>>) -> Candidates {
        match lists.first() {
            Some(first) if lists.iter().all(|list| list == first) => Candidates::Everywhere(first.clone()),
            _ => Candidates::PerEdge(lists),
        }
    }
}

impl CellSpec {
    /// The numbers of the intermediate nodes.
    pub fn intermediate(&self) -> std::ops::Range<usize> {
        self.inputs..self.inputs + self.nodes
    }

    /// The edges in the order of α's rows: by the node entered, then by the node left.
    pub fn edges(&self) -> Vec<Edge> {
        self.intermediate().flat_map(|to| (0..to).map(move |from| Edge { from, to })).collect()
    }

    /// The candidates of an edge, in the order of α's columns; none if there is no such edge.
    pub fn operations(&self, row: usize) -> &[Operation] {
        match &self.operations {
            Candidates::Everywhere(operations) => operations,
            Candidates::PerEdge(lists) => lists.get(row).map_or(&[], Vec::as_slice),
        }
    }

    /// The nodes that form the output.
    pub fn output_nodes(&self) -> Vec<usize> {
        match &self.output {
            Output::Concat(nodes) | Output::Mean(nodes) => nodes.clone(),
            Output::Last => self.intermediate().last().into_iter().collect(),
        }
    }

    /// The number of edges that a node keeps; None if the space does not fix it.
    pub fn kept(&self) -> Option<usize> {
        match self.keep {
            Keep::Strongest(k) => Some(k),
            Keep::EveryEdge | Keep::Threshold(_) => None,
        }
    }

    /// The least strength of an edge that is kept; None: any.
    pub fn least(&self) -> Option<f64> {
        match self.keep {
            Keep::Threshold(least) => Some(least),
            Keep::Strongest(_) | Keep::EveryEdge => None,
        }
    }

    /// The kind of the cell.
    pub fn kind(&self) -> CellKind {
        match self.preprocess {
            Preprocess::Project | Preprocess::Nothing => CellKind::Convolutional,
            Preprocess::Gate => CellKind::Recurrent,
        }
    }
}
