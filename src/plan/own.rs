//! Modules of user-defined operations: opaque to the plan, which knows their shapes, weights and cost.

use super::{Edge, Shape};
use crate::error::Result;
use crate::space::Operation;

/// A row of the plan's table of modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnId(pub usize);

/// The module of a user-defined operation on one edge of one cell.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnSpec {
    /// The prefix of the names of its weights and buffers, such as "cells.0.edges.0_2.ghost".
    pub name: String,
    /// The operation.
    pub operation: Operation,
    /// The number of the cell.
    pub cell: usize,
    /// The kind of the cell, which is the name of its α table.
    pub table: &'static str,
    /// The edge.
    pub edge: Edge,
    /// The stride in all directions.
    pub stride: usize,
    /// The shape of the input, and of the output but for its extents, which are divided by the stride.
    pub input: Shape,
    /// Its cost.
    pub description: Description,
}

/// What is known of a module before it runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Description {
    /// The names within the module, and the shapes, of its weights.
    pub weights: Vec<(String, Vec<usize>)>,
    /// Multiply-adds per example of a forward pass.
    pub multiply_adds: u64,
    /// Elements per example that autograd keeps besides the input.
    pub kept: u64,
}

/// Makes the modules of user-defined operations.
pub trait Makers: Send + Sync {
    /// Describes the module, whose own description is not used; an error if its output has the wrong shape.
    fn describe(&self, module: &OwnSpec) -> Result<Description>;
}
