//! The search space: the nodes and edges of its cells, the candidate operations, and how cells form a network.
//!
//! A space is data. What reads it asks for its parts, not for its name or kind.

mod cell;
mod check;
mod json;
mod network;
mod operation;
mod presets;
mod stages;

use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;

use crate::error::{Error, Result, unknown};

pub use cell::{Aggregate, Candidates, CellKind, CellSpec, Edge, Keep, Layers, Output, Preprocess};
pub use network::{Domain, Head, NetworkSpec, Reads, Stem};
pub use operation::Operation;
pub use stages::{Stage, Stages};

/// The largest number of intermediate nodes; the published cells have 4 and 8.
pub(crate) const MOST_NODES: usize = 32;

/// A space of cells and of the network that they form. All cells have the same graph, output and kept edges; only their
/// candidates differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Space {
    /// The name of a preset, or another name.
    pub name: String,
    /// The cells, in the order of their tables of logits.
    pub cells: Vec<CellSpec>,
    /// The network.
    pub network: NetworkSpec,
    /// The user-defined operations: name -> "module:qualname" of what makes their modules, with a hash of its code.
    pub own_operations: BTreeMap<String, String>,
}

impl Default for Space {
    fn default() -> Self {
        presets::published(CellKind::Convolutional, None, None)
    }
}

impl Space {
    /// A published space by its name.
    pub fn preset(name: &str) -> Result<Space> {
        let preset = presets::ALL.iter().find(|(known, _)| *known == name);
        preset.map(|(_, space)| space()).ok_or_else(|| Error::config(unknown("space", name, &presets::names())))
    }

    /// This space with another number of nodes, all of which form the output, or with other operations on every edge.
    pub(crate) fn with(mut self, nodes: Option<usize>, operations: Option<&[Operation]>) -> Space {
        for cell in &mut self.cells {
            if let Some(nodes) = nodes.filter(|nodes| *nodes != cell.nodes) {
                // `validate` refuses more nodes; a list of all of them could fill the memory.
                cell.nodes = nodes.min(MOST_NODES);
                let all = cell.intermediate().collect();
                match &mut cell.output {
                    Output::Concat(output) | Output::Mean(output) => *output = all,
                    Output::Last => {}
                }
                cell.nodes = nodes;
            }
            if let Some(operations) = operations {
                cell.operations = Candidates::Everywhere(operations.to_vec());
            }
        }
        self
    }

    /// The kind of the cells.
    pub fn kind(&self) -> CellKind {
        self.first().kind()
    }

    /// What the network reads.
    pub fn reads(&self) -> Reads {
        self.network.reads()
    }

    /// What a network of convolutional cells reads; None for words.
    pub fn domain(&self) -> Option<Domain> {
        self.network.domain()
    }

    /// The number of dimensions that convolutions run over; None for words.
    pub fn dimensions(&self) -> Option<usize> {
        self.domain().map(Domain::dimensions)
    }

    /// The first cell, which has what all cells have in common.
    fn first(&self) -> &CellSpec {
        &self.cells[0]
    }

    /// The cell of a table.
    pub fn cell(&self, table: &str) -> Option<&CellSpec> {
        self.cells.iter().find(|cell| cell.name == table)
    }

    /// The layers of the candidates in a search network.
    pub fn layers(&self) -> Layers {
        self.first().layers
    }

    /// The number of input nodes of a cell.
    pub fn inputs(&self) -> usize {
        self.first().inputs
    }

    /// The number of intermediate nodes of a cell.
    pub fn nodes(&self) -> usize {
        self.first().nodes
    }

    /// The numbers of the intermediate nodes.
    pub fn intermediate(&self) -> std::ops::Range<usize> {
        self.first().intermediate()
    }

    /// The edges in the order of α's rows: by the node entered, then by the node left.
    pub fn edges(&self) -> Vec<Edge> {
        self.first().edges()
    }

    /// The nodes that form the output of a cell.
    pub fn concat(&self) -> Vec<usize> {
        self.first().output_nodes()
    }

    /// The edges into a node that a genotype keeps.
    pub fn keep(&self) -> Keep {
        self.first().keep
    }

    /// The number of edges that a node keeps in a genotype; None if the space does not fix it.
    pub fn kept(&self) -> Option<usize> {
        self.first().kept()
    }

    /// The candidates that every edge of every cell has; None if edges differ.
    pub fn uniform_operations(&self) -> Option<&[Operation]> {
        match &self.first().operations {
            Candidates::Everywhere(list)
                if self.cells.iter().all(|cell| cell.operations == self.first().operations) =>
            {
                Some(list)
            }
            _ => None,
        }
    }

    /// Every candidate of some edge, in the order of the first occurrence.
    pub fn all_operations(&self) -> Vec<Operation> {
        let mut all = Vec::new();
        for cell in &self.cells {
            let lists = match &cell.operations {
                Candidates::Everywhere(list) => std::slice::from_ref(list),
                Candidates::PerEdge(lists) => lists,
            };
            for operation in lists.iter().flatten() {
                if !all.contains(operation) {
                    all.push(*operation);
                }
            }
        }
        all
    }

    /// The names of the α tables, in order.
    pub fn tables(&self) -> Vec<&'static str> {
        self.cells.iter().map(|cell| cell.name).collect()
    }
}

/// The first item that occurs a second time.
pub(crate) fn repeated<T: Eq + Hash + Copy>(items: &[T]) -> Option<T> {
    let mut seen = HashSet::new();
    items.iter().copied().find(|item| !seen.insert(*item))
}
