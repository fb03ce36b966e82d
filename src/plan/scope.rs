//! The part of the network that an instruction belongs to.

use std::fmt;

use crate::arch::AUXILIARY_SKIP;
use crate::space::{Edge, Operation};

/// A module of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Module {
    /// The first layers of a network that reads images.
    Stem,
    /// The convolutional cell, or the residual block between cells, with this number.
    Cell(usize),
    /// The norm before the classifier.
    Last,
    /// The last layers of a network that reads images.
    Classifier,
    /// The embedding of a language model.
    Encoder,
    /// The only cell of a language model.
    RecurrentCell,
    /// The last layer of a language model.
    Decoder,
}

impl Module {
    /// Whether the module is a searched cell.
    pub fn is_cell(self) -> bool {
        matches!(self, Module::Cell(_) | Module::RecurrentCell)
    }
}

/// A part of a module.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Part {
    /// The module as a whole.
    Whole,
    /// The preprocessing of a cell's input.
    Preprocess(usize),
    /// The operation of an edge. A pass that computes several edges together joins them, and their operations if
    /// these differ.
    Edges {
        /// Each edge once.
        edges: Vec<Edge>,
        /// Each operation once.
        operations: Vec<Operation>,
    },
    /// The skip connection that an edge has besides its operations.
    AuxiliarySkip(Edge),
    /// A node: the sum of its edges, and the parts that edges read.
    Node(usize),
}

/// The part of the network that an instruction belongs to, displayed as "cells.0.edges.0_2.sep_conv_3x3".
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The module.
    pub module: Module,
    /// The part of the module.
    pub part: Part,
}

impl Scope {
    /// A module as a whole.
    pub fn whole(module: Module) -> Scope {
        Scope { module, part: Part::Whole }
    }

    /// The preprocessing of a cell's input.
    pub fn preprocess(cell: Module, input: usize) -> Scope {
        Scope { module: cell, part: Part::Preprocess(input) }
    }

    /// An operation of an edge.
    pub fn edge(cell: Module, edge: Edge, operation: Operation) -> Scope {
        Scope { module: cell, part: Part::Edges { edges: vec![edge], operations: vec![operation] } }
    }

    /// The skip connection that an edge has besides its operations.
    pub fn auxiliary_skip(cell: Module, edge: Edge) -> Scope {
        Scope { module: cell, part: Part::AuxiliarySkip(edge) }
    }

    /// A node.
    pub fn node(cell: Module, node: usize) -> Scope {
        Scope { module: cell, part: Part::Node(node) }
    }

    /// The edges it belongs to; empty outside of edges.
    pub fn edges(&self) -> &[Edge] {
        match &self.part {
            Part::Edges { edges, .. } => edges,
            _ => &[],
        }
    }

    /// The operations it belongs to; empty outside of edges.
    pub fn operations(&self) -> &[Operation] {
        match &self.part {
            Part::Edges { operations, .. } => operations,
            _ => &[],
        }
    }

    /// This scope with the edges and operations of another one.
    pub fn joined(mut self, other: &Scope) -> Scope {
        if let Part::Edges { edges, operations } = &mut self.part {
            add_new(edges, other.edges());
            add_new(operations, other.operations());
        }
        self
    }
}

/// Appends the elements that are not present yet.
fn add_new<T: Copy + PartialEq>(known: &mut Vec<T>, others: &[T]) {
    for other in others {
        if !known.contains(other) {
            known.push(*other);
        }
    }
}

impl fmt::Display for Module {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Module::Stem => formatter.write_str("stem"),
            Module::Cell(cell) => write!(formatter, "cells.{cell}"),
            Module::Last => formatter.write_str("last"),
            Module::Classifier => formatter.write_str("classifier"),
            Module::Encoder => formatter.write_str("encoder"),
            Module::RecurrentCell => formatter.write_str("cell"),
            Module::Decoder => formatter.write_str("decoder"),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        self.module.fmt(formatter)?;
        match &self.part {
            Part::Whole => Ok(()),
            Part::Preprocess(input) => write!(formatter, ".pre{input}"),
            Part::Edges { edges, operations } => {
                write!(formatter, ".edges.{}.{}", edge_names(edges), operation_names(operations))
            }
            Part::AuxiliarySkip(edge) => write!(formatter, ".edges.{}.{AUXILIARY_SKIP}", edge_names(&[*edge])),
            Part::Node(node) => write!(formatter, ".nodes.{node}"),
        }
    }
}

/// "0_2,0_3".
pub(super) fn edge_names(edges: &[Edge]) -> String {
    let names: Vec<String> = edges.iter().map(|edge| format!("{}_{}", edge.from, edge.to)).collect();
    names.join(",")
}

/// "sep_conv_3x3", or several names with commas.
pub(super) fn operation_names(operations: &[Operation]) -> String {
    let names: Vec<&str> = operations.iter().map(|operation| operation.name()).collect();
    names.join(",")
}
