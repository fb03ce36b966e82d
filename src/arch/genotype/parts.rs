//! The keys of a genotype and their values, as JSON and the published notation hold them.

use super::{Cell, Edge, Genotype};
use crate::error::{Error, unknown};
use crate::space::MOST_NODES;

/// The largest number of edges of a cell; with every edge of the most nodes it has 560.
const MOST_EDGES: usize = 1024;

/// The type of the value of a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Edges,
    Concat,
}

/// A form of genotypes: the names of its cells, what these are, and how the published notation lists their edges.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    keys: &'static [(&'static str, Holds)],
    /// The number of input nodes of a cell.
    pub(super) inputs: usize,
    /// The number of edges into each node in a list of all edges; None: one from every lower node.
    kept: Option<usize>,
}

const PAIR: Form = Form {
    keys: &[
        ("normal", Holds::Edges),
        ("normal_concat", Holds::Concat),
        ("reduce", Holds::Edges),
        ("reduce_concat", Holds::Concat),
    ],
    inputs: 2,
    kept: Some(2),
};
const RECURRENT: Form =
    Form { keys: &[("recurrent", Holds::Edges), ("concat", Holds::Concat)], inputs: 1, kept: Some(1) };
const SINGLE: Form = Form { keys: &[("cell", Holds::Edges), ("cell_concat", Holds::Concat)], inputs: 1, kept: None };
const FORMS: [Form; 3] = [PAIR, RECURRENT, SINGLE];

impl Form {
    /// That of a cell of this name.
    pub(super) fn of_cell(name: &str) -> Form {
        FORMS.into_iter().find(|form| form.holds(name).is_some()).unwrap_or(PAIR)
    }

    fn holds(&self, key: &str) -> Option<Holds> {
        self.keys.iter().find(|(known, _)| *known == key).map(|(_, holds)| *holds)
    }

    fn names(&self) -> Vec<&'static str> {
        self.keys.iter().map(|(key, _)| *key).collect()
    }
}

/// The keys of a genotype, in the order of the published code.
pub(super) fn keys(recurrent: bool) -> Vec<&'static str> {
    if recurrent { RECURRENT.names() } else { PAIR.names() }
}

/// The type of the value of a key; an unknown key gives the text of an error.
pub(super) fn holds(key: &str) -> Result<Holds, String> {
    FORMS.iter().find_map(|form| form.holds(key)).ok_or_else(|| {
        let known: Vec<&str> = FORMS.iter().flat_map(Form::names).collect();
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
    let has_keys = |form: &Form| given.iter().any(|key| form.holds(key).is_some());
    let form = [RECURRENT, SINGLE].into_iter().find(has_keys).unwrap_or(PAIR);
    if let Some(key) = given.iter().find(|key| form.holds(key).is_none()) {
        return Err(Flaw::new(key, None, unknown("key of a genotype", key, &form.names())));
    }
    if let Some(key) = form.names().into_iter().find(|key| !given.contains(key)) {
        return Err(Flaw::new(key, None, format!("the genotype lacks `{key}`")));
    }
    let value = |name: &str| parts.iter().find(|(key, _)| *key == name).map(|(_, part)| part.clone());
    let cell = |name: &str| {
        let concat = match value(&concat_key(name)) {
            Some(Part::Concat(concat)) => concat,
            _ => Vec::new(),
        };
        let nodes = match value(name) {
            Some(Part::Nodes(nodes)) => nodes,
            Some(Part::Flat(edges)) => split(name, edges, &concat)?,
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
    let genotype = match form {
        RECURRENT => Genotype::Recurrent { recurrent: cell("recurrent")? },
        SINGLE => Genotype::Single { cell: cell("cell")? },
        _ => Genotype::Convolutional { normal: cell("normal")?, reduce: cell("reduce")? },
    };
    genotype.check()?;
    Ok(genotype)
}

/// The nodes of a flat list of edges, which holds as many per node as the published cells of this name.
///
/// A list that fits the output nodes only with another number of edges per node is an error: a flat list does not say
/// where a node ends, and `derive` can keep another number.
pub(super) fn split(name: &str, edges: Vec<Edge>, concat: &[usize]) -> Result<Vec<Vec<Edge>>, Flaw> {
    let Form { inputs: first, kept, .. } = Form::of_cell(name);
    let count = edges.len();
    let remedy = "give its nodes as lists of edges";
    let Some(kept) = kept else { return complete(name, edges, first) };
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

/// The nodes of a flat list with an edge from every lower node to each node, in order.
fn complete(name: &str, edges: Vec<Edge>, first: usize) -> Result<Vec<Vec<Edge>>, Flaw> {
    let (count, mut rest, mut nodes) = (edges.len(), edges.into_iter().peekable(), Vec::new());
    while rest.peek().is_some() {
        let node = first + nodes.len();
        let into: Vec<Edge> = rest.by_ref().take(node).collect();
        if !into.iter().map(|edge| edge.source).eq(0..node) {
            let detail = format!(
                "cell `{name}` has {count} edges in one list, which are not those from every lower node to each node; give \
                 its nodes as lists of edges"
            );
            return Err(Flaw::new(name, None, detail));
        }
        nodes.push(into);
    }
    Ok(nodes)
}
