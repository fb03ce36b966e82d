//! The search space: the nodes and edges of a cell, the candidate operations, and how cells form a network.

mod cell;
mod operation;
mod presets;

use std::collections::HashSet;
use std::hash::Hash;

use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result, unknown};
use crate::json::Field;

pub use cell::{CellKind, Edge};
pub use operation::Operation;

/// The largest number of intermediate nodes; the published cells have 4 and 8.
pub(crate) const MOST_NODES: usize = 32;

/// The largest number of characters in the name of a space.
const LONGEST_NAME: usize = 100;

/// The largest `stem_multiplier`; the published one is 3.
const LARGEST_STEM: usize = 64;

/// A space of cells and of the network that they form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Space {
    /// The name of a preset, or another name.
    pub name: String,
    /// Convolutional or recurrent.
    pub kind: CellKind,
    /// The candidate operations of an edge, in the order of α's columns.
    pub operations: Vec<Operation>,
    /// The number of intermediate nodes of a cell.
    pub nodes: usize,
    /// The nodes that form the output of a cell.
    pub concat: Vec<usize>,
    /// The positions of the reduction cells; None: layers//3 and 2·layers//3.
    pub reductions: Option<Vec<usize>>,
    /// The channels of the stem divided by `channels`.
    pub stem_multiplier: usize,
}

/// The fields of a space, in the order in which they are written.
const FIELDS: &[&str] = &["name", "kind", "operations", "nodes", "concat", "reductions", "stem_multiplier"];

impl Space {
    /// A published space by its name.
    pub fn preset(name: &str) -> Result<Space> {
        let preset = presets::ALL.iter().find(|(known, _)| *known == name);
        preset.map(|(_, space)| space()).ok_or_else(|| Error::config(unknown("space", name, &presets::names())))
    }

    /// The published space of a kind.
    pub(crate) fn published(kind: CellKind) -> Space {
        match kind {
            CellKind::Convolutional => presets::darts::space(),
            CellKind::Recurrent => presets::darts_rnn::space(),
        }
    }

    /// A space from a JSON string (a preset's name) or object, whose missing fields are the preset's of its kind.
    pub fn from_json(text: &str) -> Result<Space> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| Error::space(format!("the space is not JSON: {error}")).with_source(error))?;
        Space::from_value(&value)
    }

    /// As `from_json`, from JSON already parsed.
    pub(crate) fn from_value(value: &Value) -> Result<Space> {
        let given = match value {
            Value::String(name) => return Space::preset(name),
            Value::Object(given) => given,
            other => {
                let given = crate::error::cut(&other.to_string());
                return Err(Error::space(format!(
                    "the space is {given}; it must be a name ({}) or an object",
                    presets::names().join(", ")
                )));
            }
        };
        if let Some(key) = given.keys().find(|key| !FIELDS.contains(&key.as_str())) {
            return Err(Error::space(unknown("field of a space", key, FIELDS)));
        }
        // null means "not given".
        let field = |name: &'static str| {
            let value = given.get(name).filter(|value| !value.is_null())?;
            Some(Field { kind: ErrorKind::Space, name, value })
        };
        let name = field("name").map(|field| field.text("a string")).transpose()?;
        let kind = field("kind")
            .map(|field| match field.value.as_str() {
                Some("convolutional") => Ok(CellKind::Convolutional),
                Some("recurrent") => Ok(CellKind::Recurrent),
                _ => Err(field.refuse("\"convolutional\" or \"recurrent\"")),
            })
            .transpose()?;
        let operations = field("operations").map(|field| Operation::list(&field, kind)).transpose()?;

        let mut space = match (kind, &operations, name) {
            (Some(kind), _, _) => Space::published(kind),
            (_, Some(operations), _) => Space::published(kind_of(operations)),
            (_, _, Some(name)) if presets::names().contains(&name) => Space::preset(name)?,
            _ => Space::published(CellKind::Convolutional),
        };
        if let Some(name) = name {
            space.name = name.to_string();
        }
        if let Some(operations) = operations {
            space.operations = operations;
        }
        if let Some(field) = field("nodes") {
            space.nodes = field.whole_within(1, MOST_NODES)?;
        }
        space.concat = match field("concat") {
            Some(field) => field.wholes()?,
            Option::None => space.intermediate().collect(),
        };
        space.reductions = field("reductions").map(|field| field.wholes()).transpose()?;
        if let Some(field) = field("stem_multiplier") {
            space.stem_multiplier = field.whole_within(1, LARGEST_STEM)?;
        }
        space.validate()?;
        Ok(space)
    }

    /// This space with another number of nodes, all of which form the output, or with other operations.
    pub(crate) fn with(mut self, nodes: Option<usize>, operations: Option<&[Operation]>) -> Space {
        if let Some(nodes) = nodes {
            // `validate` refuses more nodes; a list of all of them could fill the memory.
            self.nodes = nodes.min(MOST_NODES);
            self.concat = self.intermediate().collect();
            self.nodes = nodes;
        }
        if let Some(operations) = operations {
            self.operations = operations.to_vec();
        }
        self
    }

    /// Checks that counts are in range, that no entry occurs twice, and that the operations fit the kind.
    pub fn validate(&self) -> Result<()> {
        let refuse = |detail: String| Err(Error::space(format!("space `{}`: {detail}", crate::error::cut(&self.name))));
        if self.name.chars().count() > LONGEST_NAME {
            return refuse(format!("its name is longer than {LONGEST_NAME} characters"));
        }
        if self.nodes == 0 || self.nodes > MOST_NODES {
            return refuse(format!("`nodes` is {}; it must be a whole number from 1 to {MOST_NODES}", self.nodes));
        }
        if self.stem_multiplier == 0 || self.stem_multiplier > LARGEST_STEM {
            return refuse(format!(
                "`stem_multiplier` is {}; it must be a whole number from 1 to {LARGEST_STEM}",
                self.stem_multiplier
            ));
        }
        if self.operations.is_empty() {
            return refuse("`operations` is empty; give at least one other than `none`".to_string());
        }
        if let Some(operation) = repeated(&self.operations) {
            return refuse(format!("operation `{}` occurs twice in `operations`", operation.name()));
        }
        if self.operations == [Operation::None] {
            return refuse("`operations` holds only `none`; give at least one more".to_string());
        }
        if let Some(operation) = self.operations.iter().find(|operation| !self.kind.allows(**operation)) {
            let (operation, kind) = (operation.name(), self.kind.name());
            let own = Operation::names(self.kind).join(", ");
            return refuse(format!("operation `{operation}` does not belong in a {kind} cell; choose from {own}"));
        }
        if self.concat.is_empty() {
            return refuse("`concat` is empty; the cell would have no output".to_string());
        }
        if let Some(node) = repeated(&self.concat) {
            return refuse(format!("node {node} occurs twice in `concat`"));
        }
        let intermediate = self.intermediate();
        if let Some(node) = self.concat.iter().find(|node| !intermediate.contains(node)) {
            return refuse(format!(
                "`concat` holds node {node}; the intermediate nodes are {} to {}",
                intermediate.start,
                intermediate.end - 1
            ));
        }
        if let Some(cell) = self.reductions.as_deref().and_then(repeated) {
            return refuse(format!("cell {cell} occurs twice in `reductions`"));
        }
        if self.kind == CellKind::Recurrent && self.reductions.as_ref().is_some_and(|cells| !cells.is_empty()) {
            return refuse("a recurrent space has no reduction cells; leave `reductions` out".to_string());
        }
        Ok(())
    }

    /// The number of input nodes of a cell.
    pub fn inputs(&self) -> usize {
        self.kind.inputs()
    }

    /// The numbers of the intermediate nodes.
    pub fn intermediate(&self) -> std::ops::Range<usize> {
        self.inputs()..self.inputs() + self.nodes
    }

    /// The edges in the order of α's rows: by the node entered, then by the node left.
    pub fn edges(&self) -> Vec<Edge> {
        self.intermediate().flat_map(|to| (0..to).map(move |from| Edge { from, to })).collect()
    }

    /// The names of the α tables, in order.
    pub fn tables(&self) -> &'static [&'static str] {
        self.kind.tables()
    }

    /// The number of edges that a node keeps in a genotype.
    pub fn kept_edges(&self) -> usize {
        self.kind.kept_edges()
    }
}

/// The kind of cell with these operations: recurrent if all of them are.
fn kind_of(operations: &[Operation]) -> CellKind {
    let named = |operation: &&Operation| **operation != Operation::None;
    let mut named = operations.iter().filter(named).peekable();
    if named.peek().is_some() && named.all(|operation| operation.is_recurrent()) {
        CellKind::Recurrent
    } else {
        CellKind::Convolutional
    }
}

/// The first item that occurs a second time.
pub(crate) fn repeated<T: Eq + Hash + Copy>(items: &[T]) -> Option<T> {
    let mut seen = HashSet::new();
    items.iter().copied().find(|item| !seen.insert(*item))
}
