//! The search space: a cell's graph of nodes and edges, what an edge may compute, and how cells form a network.

mod genotype;
mod notation;
mod operation;

use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result, unknown};
use crate::json::Field;

pub use genotype::{CellGenotype, Gene, Genotype, published};
pub use operation::Operation;

/// Intermediate nodes a cell may have; the published ones have 4 and 8.
const MOST_NODES: usize = 32;

/// Copies of `channels` the stem may make; the published one makes 3.
const LARGEST_STEM: usize = 64;

/// Whether a cell maps two images to one, or a state and an input to a state.
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

    /// Whether an operation may stand in its cells.
    pub fn allows(self, operation: Operation) -> bool {
        match self {
            CellKind::Convolutional => operation.is_convolutional(),
            CellKind::Recurrent => operation.is_recurrent(),
        }
    }
}

/// An edge of the cell's graph, between node numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Edge {
    /// The node it leaves.
    pub from: usize,
    /// The node it enters; greater than `from`.
    pub to: usize,
}

/// A space of cells and the network they form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Space {
    /// The preset's name, or one of the user's.
    pub name: String,
    /// Convolutional or recurrent.
    pub kind: CellKind,
    /// What an edge may compute, in the order of α's columns.
    pub operations: Vec<Operation>,
    /// Intermediate nodes of a cell.
    pub nodes: usize,
    /// The nodes that form the cell's output.
    pub concat: Vec<usize>,
    /// The cells that halve the size; none: layers//3 and 2·layers//3.
    pub reductions: Option<Vec<usize>>,
    /// The stem makes this many times `channels`.
    pub stem_multiplier: usize,
}

/// The names of the presets.
const PRESETS: &[&str] = &["darts", "darts-rnn"];

/// The fields of a space, as they are written.
const FIELDS: &[&str] = &["name", "kind", "operations", "nodes", "concat", "reductions", "stem_multiplier"];

impl Space {
    /// A published space by its name.
    pub fn preset(name: &str) -> Result<Space> {
        match name {
            "darts" => Ok(Space::published(CellKind::Convolutional)),
            "darts-rnn" => Ok(Space::published(CellKind::Recurrent)),
            _ => Err(Error::config(unknown("space", name, PRESETS))),
        }
    }

    /// The published space of a kind.
    pub(crate) fn published(kind: CellKind) -> Space {
        use Operation::*;
        let (name, operations, nodes, stem_multiplier) = match kind {
            CellKind::Convolutional => (
                "darts",
                vec![None, MaxPool3x3, AvgPool3x3, SkipConnect, SepConv3x3, SepConv5x5, DilConv3x3, DilConv5x5],
                4,
                3,
            ),
            CellKind::Recurrent => ("darts-rnn", vec![None, Tanh, Relu, Sigmoid, Identity], 8, 1),
        };
        let mut space = Space {
            name: name.to_string(),
            kind,
            operations,
            nodes,
            concat: Vec::new(),
            reductions: Option::None,
            stem_multiplier,
        };
        space.concat = space.intermediate().collect();
        space
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
                    PRESETS.join(", ")
                )));
            }
        };
        if let Some(key) = given.keys().find(|key| !FIELDS.contains(&key.as_str())) {
            return Err(Error::space(unknown("field of a space", key, FIELDS)));
        }
        // null stands for "not given".
        let field = |name: &'static str| {
            let value = given.get(name).filter(|value| !value.is_null())?;
            Some(Field { kind: ErrorKind::Space, name, value })
        };
        let name = field("name").map(|field| field.text("a text")).transpose()?;
        let operations = field("operations").map(|field| Operation::list(&field)).transpose()?;
        let kind = field("kind")
            .map(|field| match field.value.as_str() {
                Some("convolutional") => Ok(CellKind::Convolutional),
                Some("recurrent") => Ok(CellKind::Recurrent),
                _ => Err(field.refuse("\"convolutional\" or \"recurrent\"")),
            })
            .transpose()?;

        let mut space = match (kind, &operations, name) {
            (Some(kind), _, _) => Space::published(kind),
            (_, Some(operations), _) => Space::published(kind_of(operations)),
            (_, _, Some(name)) if PRESETS.contains(&name) => Space::preset(name)?,
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

    /// This space with another number of nodes, all of them in the output, or other operations.
    pub(crate) fn with(mut self, nodes: Option<usize>, operations: Option<&[Operation]>) -> Space {
        if let Some(nodes) = nodes {
            // More than any cell has are left to `validate`, lest a list of them fill the memory.
            self.nodes = nodes.min(MOST_NODES);
            self.concat = self.intermediate().collect();
            self.nodes = nodes;
        }
        if let Some(operations) = operations {
            self.operations = operations.to_vec();
        }
        self
    }

    /// Whether cells of this space exist: the counts are in range, nothing stands twice, the operations fit the kind.
    pub fn validate(&self) -> Result<()> {
        let refuse = |detail: String| Err(Error::space(format!("space `{}`: {detail}", crate::error::cut(&self.name))));
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
            return refuse("`operations` is empty; give at least one besides `none`".to_string());
        }
        if let Some(operation) = repeated(&self.operations) {
            return refuse(format!("operation `{}` stands twice in `operations`", operation.name()));
        }
        if self.operations == [Operation::None] {
            return refuse("`operations` holds nothing but `none`; give at least one more".to_string());
        }
        if let Some(operation) = self.operations.iter().find(|operation| !self.kind.allows(**operation)) {
            let (operation, kind) = (operation.name(), self.kind.name());
            return refuse(format!("operation `{operation}` does not belong in a {kind} cell"));
        }
        if self.concat.is_empty() {
            return refuse("`concat` is empty; the cell would have no output".to_string());
        }
        if let Some(node) = repeated(&self.concat) {
            return refuse(format!("node {node} stands twice in `concat`"));
        }
        let intermediate = self.intermediate();
        if let Some(node) = self.concat.iter().find(|node| !intermediate.contains(node)) {
            return refuse(format!(
                "`concat` names node {node}; the intermediate nodes are {} to {}",
                intermediate.start,
                intermediate.end - 1
            ));
        }
        if let Some(cell) = self.reductions.as_deref().and_then(repeated) {
            return refuse(format!("cell {cell} stands twice in `reductions`"));
        }
        if self.kind == CellKind::Recurrent && self.reductions.as_ref().is_some_and(|cells| !cells.is_empty()) {
            return refuse("a recurrent space has no reduction cells; leave `reductions` out".to_string());
        }
        Ok(())
    }

    /// Input nodes of a cell.
    pub fn inputs(&self) -> usize {
        match self.kind {
            CellKind::Convolutional => 2,
            CellKind::Recurrent => 1,
        }
    }

    /// The numbers of the intermediate nodes.
    pub fn intermediate(&self) -> std::ops::Range<usize> {
        self.inputs()..self.inputs() + self.nodes
    }

    /// The edges in the order of α's rows: by the node entered, then by the node left.
    pub fn edges(&self) -> Vec<Edge> {
        self.intermediate().flat_map(|to| (0..to).map(move |from| Edge { from, to })).collect()
    }

    /// The α tables, in their order.
    pub fn cells(&self) -> &'static [&'static str] {
        match self.kind {
            CellKind::Convolutional => &["normal", "reduce"],
            CellKind::Recurrent => &["recurrent"],
        }
    }

    /// Edges a node keeps in a genotype.
    pub fn kept_edges(&self) -> usize {
        match self.kind {
            CellKind::Convolutional => 2,
            CellKind::Recurrent => 1,
        }
    }
}

/// The kind whose cells hold these operations: recurrent when every one of them is.
fn kind_of(operations: &[Operation]) -> CellKind {
    let named = |operation: &&Operation| **operation != Operation::None;
    let mut named = operations.iter().filter(named).peekable();
    if named.peek().is_some() && named.all(|operation| operation.is_recurrent()) {
        CellKind::Recurrent
    } else {
        CellKind::Convolutional
    }
}

/// The first item that stands a second time.
fn repeated<T: PartialEq + Copy>(items: &[T]) -> Option<T> {
    (1..items.len()).find(|index| items[..*index].contains(&items[*index])).map(|index| items[index])
}
