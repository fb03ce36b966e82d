//! The forms in which the edges that leave a node can be computed, and which of them is taken where.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Shape;

/// How the edges that leave one node compute the operation that they have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Each edge by itself.
    Edges,
    /// All edges side by side, as one operation on so many times as many channels.
    Grouped,
}

impl fmt::Display for Form {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(match self {
            Form::Edges => "edges",
            Form::Grouped => "grouped",
        })
    }
}

/// All that the cost of a form depends on, but for device, precision and batch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Site<'a> {
    /// The operation, "sep_conv_3x3".
    pub operation: &'a str,
    /// How many edges compute it from one node.
    pub edges: usize,
    /// Its vertical step.
    pub stride: usize,
    /// What they compute it of, per example.
    pub shape: &'a Shape,
}

impl fmt::Display for Site<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "{} x {} stride {} of {}", self.edges, self.operation, self.stride, self.shape)
    }
}

/// Which form is taken where: what was measured, and a rule for the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forms {
    /// Without a measurement, edges are grouped where an image has at most so many pixels.
    pub largest: usize,
    /// What was measured, by [`Site`] as text.
    pub chosen: BTreeMap<String, Form>,
}

impl Forms {
    /// Every group as one.
    pub const GROUPED: Forms = Forms { largest: usize::MAX, chosen: BTreeMap::new() };

    /// The form for a site.
    pub fn of(&self, site: &Site) -> Form {
        // Phases are smaller images of a larger one.
        let pixels: usize = match site.shape.0[..] {
            [_, height, width] => height * width,
            [phases, _, height, width] => phases * height * width,
            _ => 0,
        };
        let rule = if pixels <= self.largest { Form::Grouped } else { Form::Edges };
        self.chosen.get(&site.to_string()).copied().unwrap_or(rule)
    }
}
