//! A genotype: the discrete cell read off α, as data, JSON and the paper's notation; and the published ones.

use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::{CellKind, Operation, Space, notation, repeated};
use crate::error::{Error, Result, unknown};

/// One edge of a discrete cell: an operation on the output of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(from = "(Operation, usize)")]
pub struct Gene {
    /// What the edge computes.
    pub operation: Operation,
    /// The node it leaves.
    pub node: usize,
}

impl From<(Operation, usize)> for Gene {
    fn from((operation, node): (Operation, usize)) -> Gene {
        Gene { operation, node }
    }
}

/// A discrete cell: the edges of its nodes, node after node, and the nodes that form its output.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CellGenotype {
    /// The edges, node after node.
    pub genes: Vec<Gene>,
    /// The nodes that form the output.
    pub concat: Vec<usize>,
}

/// The discrete cells of a network.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Genotype {
    /// A normal and a reduction cell.
    Convolutional {
        /// The cell that keeps the size.
        normal: CellGenotype,
        /// The cell that halves it.
        reduce: CellGenotype,
    },
    /// A recurrent cell.
    Recurrent {
        /// The cell.
        recurrent: CellGenotype,
    },
}

/// What a key of a genotype holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Genes,
    Nodes,
}

/// The keys of both kinds of genotype, in the order they are written.
pub(super) const CONVOLUTIONAL: &[(&str, Holds)] = &[
    ("normal", Holds::Genes),
    ("normal_concat", Holds::Nodes),
    ("reduce", Holds::Genes),
    ("reduce_concat", Holds::Nodes),
];
pub(super) const RECURRENT: &[(&str, Holds)] = &[("recurrent", Holds::Genes), ("concat", Holds::Nodes)];

/// What stands behind one key, as read from JSON or notation.
#[derive(Clone)]
pub(super) enum Part {
    Genes(Vec<Gene>),
    Nodes(Vec<usize>),
}

/// What is wrong with the content of a genotype: under which key and, where it is one entry, at which.
pub(super) struct Flaw {
    pub(super) key: String,
    pub(super) entry: Option<usize>,
    pub(super) detail: String,
}

impl Flaw {
    fn new(key: &str, entry: Option<usize>, detail: impl Into<String>) -> Flaw {
        Flaw { key: key.to_string(), entry, detail: detail.into() }
    }
}

impl From<Flaw> for Error {
    fn from(flaw: Flaw) -> Error {
        Error::genotype(flaw.detail)
    }
}

impl Genotype {
    /// A genotype from its JSON object.
    pub fn from_json(text: &str) -> Result<Genotype> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| Error::genotype(format!("the genotype is not JSON: {error}")).with_source(error))?;
        Genotype::from_value(&value)
    }

    fn from_value(value: &Value) -> Result<Genotype> {
        let Value::Object(given) = value else {
            return Err(Error::genotype(
                "the genotype is not an object with the keys `normal`, `normal_concat`, `reduce`, `reduce_concat` \
                 or `recurrent`, `concat`",
            ));
        };
        let parts =
            given.iter().map(|(key, value)| Ok((key.as_str(), read(key, value)?))).collect::<Result<Vec<_>>>()?;
        Ok(Genotype::from_parts(parts)?)
    }

    /// Puts the keys together; each of one kind's must stand there, and no other.
    pub(super) fn from_parts(parts: Vec<(&str, Part)>) -> Result<Genotype, Flaw> {
        let given: Vec<&str> = parts.iter().map(|(key, _)| *key).collect();
        let recurrent = RECURRENT.iter().any(|(key, _)| given.contains(key));
        let keys = if recurrent { RECURRENT } else { CONVOLUTIONAL };
        if let Some(key) = given.iter().find(|key| !keys.iter().any(|(known, _)| known == *key)) {
            let known: Vec<&str> = keys.iter().map(|(key, _)| *key).collect();
            return Err(Flaw::new(key, None, unknown("key of a genotype", key, &known)));
        }
        if let Some((key, _)) = keys.iter().find(|(key, _)| !given.contains(key)) {
            return Err(Flaw::new(key, None, format!("the genotype lacks `{key}`")));
        }
        let genes = |name: &str| {
            parts.iter().find_map(|(key, part)| match part {
                Part::Genes(genes) if *key == name => Some(genes.clone()),
                _ => None,
            })
        };
        let nodes = |name: &str| {
            parts.iter().find_map(|(key, part)| match part {
                Part::Nodes(nodes) if *key == name => Some(nodes.clone()),
                _ => None,
            })
        };
        let cell = |key: &str, concat: &str| CellGenotype {
            genes: genes(key).unwrap_or_default(),
            concat: nodes(concat).unwrap_or_default(),
        };
        let genotype = if recurrent {
            Genotype::Recurrent { recurrent: cell("recurrent", "concat") }
        } else {
            Genotype::Convolutional { normal: cell("normal", "normal_concat"), reduce: cell("reduce", "reduce_concat") }
        };
        genotype.check()?;
        Ok(genotype)
    }

    /// Its JSON object, on one line.
    pub fn to_json(&self) -> String {
        self.to_value().to_string()
    }

    fn to_value(&self) -> Value {
        let mut object = serde_json::Map::new();
        for (name, cell) in self.cells() {
            let genes = cell.genes.iter().map(|gene| serde_json::json!([gene.operation.name(), gene.node]));
            object.insert(name.to_string(), Value::Array(genes.collect()));
            object.insert(concat_key(name), serde_json::json!(cell.concat));
        }
        Value::Object(object)
    }

    /// A genotype from the paper's notation, `Genotype(normal=[('sep_conv_3x3', 1), …], normal_concat=range(2, 6), …)`.
    pub fn from_notation(text: &str) -> Result<Genotype> {
        notation::parse(text)
    }

    /// Its kind of cell.
    pub fn kind(&self) -> CellKind {
        match self {
            Genotype::Convolutional { .. } => CellKind::Convolutional,
            Genotype::Recurrent { .. } => CellKind::Recurrent,
        }
    }

    /// Its cells by the name of their α table.
    pub fn cells(&self) -> Vec<(&'static str, &CellGenotype)> {
        match self {
            Genotype::Convolutional { normal, reduce } => vec![("normal", normal), ("reduce", reduce)],
            Genotype::Recurrent { recurrent } => vec![("recurrent", recurrent)],
        }
    }

    /// What holds in any space: the operations fit the kind, none of them is `none`, no output node stands twice.
    fn check(&self) -> Result<(), Flaw> {
        for (name, cell) in self.cells() {
            for (entry, gene) in cell.genes.iter().enumerate() {
                let refuse = |detail: String| Err(Flaw::new(name, Some(entry), format!("cell `{name}`{detail}")));
                if gene.operation == Operation::None {
                    return refuse(" holds the operation `none`, which a discrete cell cannot have".to_string());
                }
                if !self.kind().allows(gene.operation) {
                    let (operation, kind) = (gene.operation.name(), self.kind().name());
                    return refuse(format!(": operation `{operation}` does not belong in a {kind} cell"));
                }
            }
            let output = concat_key(name);
            if cell.genes.is_empty() {
                return Err(Flaw::new(name, None, format!("cell `{name}` has no edges")));
            }
            if cell.concat.is_empty() {
                return Err(Flaw::new(&output, None, format!("cell `{name}` has no output nodes")));
            }
            if let Some(node) = repeated(&cell.concat) {
                let entry = cell.concat.iter().rposition(|other| *other == node);
                return Err(Flaw::new(&output, entry, format!("cell `{name}`: output node {node} stands twice")));
            }
        }
        Ok(())
    }

    /// Whether it is a genotype of this space, each node keeping the space's number of edges.
    pub fn validate(&self, space: &Space) -> Result<()> {
        space.validate()?;
        let refuse = |name: &str, detail: String| Err(Error::genotype(format!("cell `{name}`: {detail}")));
        if self.kind() != space.kind {
            return Err(Error::genotype(format!(
                "the genotype's cells are {} and those of space `{}` are {}",
                self.kind().name(),
                space.name,
                space.kind.name()
            )));
        }
        self.check()?;
        let (kept, nodes) = (space.kept_edges(), space.intermediate());
        for (name, cell) in self.cells() {
            if cell.genes.len() != kept * space.nodes {
                return refuse(
                    name,
                    format!(
                        "{} edges; space `{}` has {} nodes that keep {kept} each, {} in all",
                        cell.genes.len(),
                        space.name,
                        space.nodes,
                        kept * space.nodes
                    ),
                );
            }
            for (node, genes) in nodes.clone().zip(cell.genes.chunks(kept)) {
                for gene in genes {
                    if gene.node >= node {
                        return refuse(
                            name,
                            format!("an edge into node {node} leaves node {}; it must leave a lower one", gene.node),
                        );
                    }
                    if !space.operations.contains(&gene.operation) {
                        let known: Vec<&str> = space.operations.iter().map(|operation| operation.name()).collect();
                        return refuse(
                            name,
                            format!(
                                "operation `{}` is not one of space `{}`: {}",
                                gene.operation.name(),
                                space.name,
                                known.join(", ")
                            ),
                        );
                    }
                }
                let sources: Vec<usize> = genes.iter().map(|gene| gene.node).collect();
                if let Some(source) = repeated(&sources) {
                    return refuse(name, format!("two edges into node {node} leave the same node {source}"));
                }
            }
            if let Some(node) = cell.concat.iter().find(|node| !nodes.contains(node)) {
                return refuse(
                    name,
                    format!("output node {node}; the intermediate nodes are {} to {}", nodes.start, nodes.end - 1),
                );
            }
        }
        Ok(())
    }

    /// Skip connections, or identities of a recurrent cell, in all cells.
    pub fn skip_connections(&self) -> usize {
        let is_skip = |gene: &&Gene| matches!(gene.operation, Operation::SkipConnect | Operation::Identity);
        self.cells().iter().map(|(_, cell)| cell.genes.iter().filter(is_skip).count()).sum()
    }
}

/// What one key of the JSON object holds.
fn read(key: &str, value: &Value) -> Result<Part> {
    let all = CONVOLUTIONAL.iter().chain(RECURRENT);
    let expected = match all.clone().find(|(known, _)| *known == key) {
        Some((_, Holds::Genes)) => {
            return Vec::<Gene>::deserialize(value).map(Part::Genes).map_err(|error| {
                Error::genotype(format!("`{key}` is not a list of [operation, node] pairs: {error}")).with_source(error)
            });
        }
        Some((_, Holds::Nodes)) => Vec::<usize>::deserialize(value).map(Part::Nodes),
        None => {
            let known: Vec<&str> = all.map(|(known, _)| *known).collect();
            return Err(Error::genotype(unknown("key of a genotype", key, &known)));
        }
    };
    expected
        .map_err(|error| Error::genotype(format!("`{key}` is not a list of node numbers: {error}")).with_source(error))
}

impl Serialize for Genotype {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_value().serialize(serializer)
    }
}

impl fmt::Display for Genotype {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let mut arguments = Vec::new();
        for (name, cell) in self.cells() {
            let genes: Vec<String> =
                cell.genes.iter().map(|gene| format!("('{}', {})", gene.operation.name(), gene.node)).collect();
            arguments.push(format!("{name}=[{}]", genes.join(", ")));
            arguments.push(format!("{}={:?}", concat_key(name), cell.concat));
        }
        write!(formatter, "Genotype({})", arguments.join(", "))
    }
}

/// The key of a cell's output nodes.
fn concat_key(cell: &str) -> String {
    if cell == "recurrent" { "concat".to_string() } else { format!("{cell}_concat") }
}

static PUBLISHED: LazyLock<Vec<(&'static str, Genotype)>> = LazyLock::new(|| {
    let written: serde_json::Map<String, Value> =
        serde_json::from_str(include_str!("published.json")).unwrap_or_default();
    let named =
        |name: &'static str| written.get(name).and_then(|value| Genotype::from_value(value).ok()).map(|it| (name, it));
    NAMES.iter().copied().filter_map(named).collect()
});

/// The names in `published.json`.
const NAMES: &[&str] = &["DARTS_V1", "DARTS_V2", "PC_DARTS_CIFAR", "PC_DARTS_IMAGENET", "DARTS_RNN_V1", "DARTS_RNN_V2"];

/// The genotypes the papers print, by name.
pub fn published() -> &'static [(&'static str, Genotype)] {
    &PUBLISHED
}
