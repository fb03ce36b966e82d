//! The masks of a supernet: of whole mixed edges (drop path), and of skip connections (skip dropout).

use super::Shape;

/// A row of the plan's table of masks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MaskId(pub usize);

/// The sorts of dropout of a supernet, each with a probability of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MaskKind {
    /// A mixed edge is dropped as a whole, image by image.
    DropPath,
    /// Elements of a skip connection that keeps the size are dropped.
    SkipDropout,
}

impl MaskKind {
    /// Both.
    pub const ALL: [MaskKind; 2] = [MaskKind::DropPath, MaskKind::SkipDropout];

    /// The name of its option, also in streams of random numbers.
    pub fn name(self) -> &'static str {
        match self {
            MaskKind::DropPath => "drop_path",
            MaskKind::SkipDropout => "skip_dropout",
        }
    }
}

/// A mask of a supernet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskSpec {
    /// The edge, "cells.0.edges.0_2", or its skip connection, "cells.0.edges.0_2.skip_connect".
    pub name: String,
    /// What it drops.
    pub kind: MaskKind,
    /// The shape per image: 1x1x1 of an edge that is dropped as a whole.
    pub shape: Shape,
}
