//! Genotypes: the discrete cells of a network, with their nodes as lists of edges.

mod check;
mod json;
mod nas_bench_201;
mod notation;
mod parts;
mod published;
mod scanner;

use std::collections::BTreeSet;

use serde::Deserialize;

use super::Architecture;
use crate::error::{Error, Result};
use crate::space::{CellKind, Operation, Space};

pub use published::published;

/// An edge of a discrete cell: an operation applied to the output of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(from = "(Operation, usize)")]
pub struct Edge {
    /// The operation.
    pub operation: Operation,
    /// The node whose output it takes.
    pub source: usize,
}

impl From<(Operation, usize)> for Edge {
    fn from((operation, source): (Operation, usize)) -> Edge {
        Edge { operation, source }
    }
}

/// A discrete cell.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cell {
    /// For each intermediate node, in order, the edges into it.
    pub nodes: Vec<Vec<Edge>>,
    /// The nodes that form the output.
    pub concat: Vec<usize>,
}

impl Cell {
    /// The index of the first node without edges.
    pub fn empty_node(&self) -> Option<usize> {
        self.nodes.iter().position(Vec::is_empty)
    }

    /// The edges into all nodes, node by node.
    pub fn edges(&self) -> impl Iterator<Item = &Edge> {
        self.nodes.iter().flatten()
    }
}

/// The discrete cells of a network.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Genotype {
    /// A normal and a reduction cell.
    Convolutional {
        /// The cell that keeps the size.
        normal: Cell,
        /// The cell that halves the size.
        reduce: Cell,
    },
    /// A recurrent cell.
    Recurrent {
        /// The cell.
        recurrent: Cell,
    },
    /// The only cell of a convolutional network, which reads one input.
    Single {
        /// The cell.
        cell: Cell,
    },
}

impl Genotype {
    /// The genotype of an architecture of a cell space. A node that no pick enters has no edges.
    pub fn of_architecture(space: &Space, architecture: &Architecture) -> Result<Genotype> {
        let (tables, edges) = (space.logit_tables(), space.edges());
        let first = space.inputs();
        let cell = |name: &str| -> Result<Cell> {
            let known = architecture.tables.iter().any(|(given, _)| given == name);
            let Some(table) = tables.iter().find(|table| known && table.name == name) else {
                return Err(Error::genotype(format!("the architecture has no table `{name}`")));
            };
            let mut nodes = vec![Vec::new(); space.nodes()];
            for pick in architecture.picks(name) {
                let candidates = table.rows.get(pick.row).map(|row| &row.candidates);
                let Some(operation) = candidates.and_then(|names| names.get(pick.column)) else {
                    let (row, column) = (pick.row, pick.column);
                    let detail = format!("table `{name}` has no candidate in row {row}, column {column}");
                    return Err(Error::genotype(detail));
                };
                let edge = edges[pick.row];
                nodes[edge.to - first].push(Edge { operation: Operation::parse(operation)?, source: edge.from });
            }
            Ok(Cell { nodes, concat: space.concat() })
        };
        match space.tables()[..] {
            ["normal", "reduce"] => Ok(Genotype::Convolutional { normal: cell("normal")?, reduce: cell("reduce")? }),
            ["recurrent"] => Ok(Genotype::Recurrent { recurrent: cell("recurrent")? }),
            ["cell"] => {
                let mut cell = cell("cell")?;
                // As the notation of NAS-Bench-201 has them: equal cells are equal genotypes.
                cell.nodes.iter_mut().for_each(|edges| edges.sort_by_key(|edge| edge.source));
                Ok(Genotype::Single { cell })
            }
            ref others => Err(Error::genotype(format!("there is no genotype of the tables {}", others.join(", ")))),
        }
    }

    /// The kind of its cells.
    pub fn kind(&self) -> CellKind {
        match self {
            Genotype::Convolutional { .. } | Genotype::Single { .. } => CellKind::Convolutional,
            Genotype::Recurrent { .. } => CellKind::Recurrent,
        }
    }

    /// Its cells by the name of their α table.
    pub fn cells(&self) -> Vec<(&'static str, &Cell)> {
        match self {
            Genotype::Convolutional { normal, reduce } => vec![("normal", normal), ("reduce", reduce)],
            Genotype::Recurrent { recurrent } => vec![("recurrent", recurrent)],
            Genotype::Single { cell } => vec![("cell", cell)],
        }
    }

    /// The number of input nodes of its cells.
    pub fn inputs(&self) -> usize {
        self.cells().first().map_or(0, |(name, _)| parts::Form::of_cell(name).inputs)
    }

    /// The number of dimensions that its convolutions and poolings run over; None if it has none.
    pub fn dimensions(&self) -> Option<usize> {
        let edges = || self.cells().into_iter().flat_map(|(_, cell)| cell.edges());
        edges().find_map(|edge| edge.operation.dimensions())
    }

    /// The names of user-defined operations, each once.
    pub fn own_operations(&self) -> Vec<&'static str> {
        let edges = self.cells().into_iter().flat_map(|(_, cell)| cell.edges());
        let names: BTreeSet<_> =
            edges.map(|edge| edge.operation).filter(|it| it.is_own()).map(Operation::name).collect();
        names.into_iter().collect()
    }

    /// The number of skip connections, or of identities in a recurrent cell, in all cells.
    pub fn skip_connections(&self) -> usize {
        let is_skip = |edge: &&Edge| matches!(edge.operation, Operation::SkipConnect | Operation::Identity);
        self.cells().iter().map(|(_, cell)| cell.edges().filter(is_skip).count()).sum()
    }
}
