//! The keys of a genotype and their values, as JSON and the published notation hold them.

use super::{Cell, Edge, Genotype};
use crate::error::{Error, unknown};
use crate::space::{CellKind, MOST_NODES};

/// The largest number of edges of a cell; with every edge of the most nodes it has 560.
const MOST_EDGES: usize = 1024;

/// The type of the value of a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Edges,
    Concat,
}

const CONVOLUTIONAL: &[(&str, Holds)] = &[
    ("normal", Holds::Edges),
    ("normal_concat", Holds::Concat),
    ("reduce", Holds::Edges),
    ("reduce_concat", Holds::Concat),
];
const RECURRENT: &[(&str, Holds)] = &[("recurrent", Holds::Edges), ("concat", Holds::Concat)];

/// The keys of a genotype, in the order of the published code.
pub(super) fn keys(recurrent: bool) -> Vec<&'static str> {
    (if recurrent { RECURRENT } else { CONVOLUTIONAL }).iter().map(|(key, _)| *key).collect()
}

/// The type of the value of a key; an unknown key gives the text of an error.
pub(super) fn holds(key: &str) -> Result<Holds, String> {
    let all = || CONVOLUTIONAL.iter().chain(RECURRENT);
    all().find(|(known, _)| *known == key).map(|(_, holds)| *holds).ok_or_else(|| {
        let known: Vec<&str> = all().map(|(known, _)| *known).collect();
        unknown("key of a genotype", key, &known)
    })
}

/// The key of a cell's output nodes.
pub(super) fn concat_key(cell: &str) -> String {
    if cell == "recurrent" { "concat".to_string() } else { format!("{cell}_concat") }
}

/// The value of one key.
#[derive(Clone)]
pub(super) enum Part {
    /// The edges into each node.
    Nodes(Vec<Vec<Edge>>),
    /// The edges into all nodes in one list, as in the published notation.
    Flat(Vec<Edge>),
    /// The output nodes.
    Concat(Vec<usize>),
}

/// An error in the content of a genotype: its key, the index of the wrong entry if there is one, and the text.
pub(super) struct Flaw {
    pub(super) key: String,
    pub(super) entry: Option<usize>,
    pub(super) detail: String,
}

impl Flaw {
    pub(super) fn new(key: &str, entry: Option<usize>, detail: impl Into<String>) -> Flaw {
        Flaw { key: key.to_string(), entry, detail: detail.into() }
    }
}

impl From<Flaw> for Error {
    fn from(flaw: Flaw) -> Error {
        Error::genotype(flaw.detail)
    }
}

/// The genotype of these keys, which must be all the keys of one kind of genotype.
pub(super) fn assemble(parts: Vec<(&str, Part)>) -> Result<Genotype, Flaw> {
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
    let value = |name: &str| parts.iter().find(|(key, _)| *key == name).map(|(_, part)| part.clone());
    let cell = |kind: CellKind, name: &str| {
        let concat = match value(&concat_key(name)) {
            Some(Part::Concat(concat)) => concat,
            _ => Vec::new(),
        };
        let nodes = match value(name) {
            Some(Part::Nodes(nodes)) => nodes,
            Some(Part::Flat(edges)) => split(kind, name, edges, &concat)?,
            _ => Vec::new(),
        };
        Ok(Cell { nodes, concat })
    };
    for (key, part) in &parts {
        let (nodes, edges) = match part {
            Part::Nodes(nodes) => (nodes.len(), nodes.iter().map(Vec::len).sum()),
            Part::Flat(edges) => (0, edges.len()),
            Part::Concat(nodes) => (nodes.len(), 0),
        };
        // Larger cells could not be drawn, and belong to no space.
        if nodes > MOST_NODES || edges > MOST_EDGES {
            let detail = format!(
                "`{key}` has {nodes} nodes and {edges} edges; a cell has at most {MOST_NODES} nodes and {MOST_EDGES} edges"
            );
            return Err(Flaw::new(key, None, detail));
        }
    }
    let genotype = if recurrent {
        Genotype::Recurrent { recurrent: cell(CellKind::Recurrent, "recurrent")? }
    } else {
        let kind = CellKind::Convolutional;
        Genotype::Convolutional { normal: cell(kind, "normal")?, reduce: cell(kind, "reduce")? }
    };
    genotype.check()?;
    Ok(genotype)
}

/// The nodes of a flat list of edges, which holds as many per node as the published cells of this kind.
///
/// A list that fits the output nodes only with another number of edges per node is an error: a flat list does not say
/// where a node ends, and `derive` can keep another number.
pub(super) fn split(kind: CellKind, name: &str, edges: Vec<Edge>, concat: &[usize]) -> Result<Vec<Vec<Edge>>, Flaw> {
    let (count, kept, first) = (edges.len(), kind.kept_edges(), kind.inputs());
    let remedy = "give its nodes as lists of edges";
    let last = concat.iter().copied().max().unwrap_or(0);
    // Whether the nodes up to the last of the output have `count` edges in all if each keeps at most `k`.
    let fits = |k: usize| (first..=last).take(count + 1).map(|node| k.min(node)).sum::<usize>() == count;
    if !fits(kept)
        && let Some(k) = (1..=count).find(|k| fits(*k))
    {
        let detail = format!(
            "cell `{name}` has {count} edges in one list, which fit its output up to node {last} only with {k} edges \
             per node instead of {kept}; {remedy}"
        );
        return Err(Flaw::new(name, None, detail));
    }
    if !count.is_multiple_of(kept) {
        let detail = format!("cell `{name}` has {count} edges in one list, not {kept} per node; {remedy}");
        return Err(Flaw::new(name, None, detail));
    }
    Ok(edges.chunks(kept).map(<[Edge]>::to_vec).collect())
}
