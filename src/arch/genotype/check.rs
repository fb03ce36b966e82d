//! Checks of a genotype: by itself, and against a space.

use super::parts::{Flaw, concat_key};
use super::{Cell, Genotype};
use crate::error::{Error, Result};
use crate::space::{CellKind, Space, repeated};

impl Genotype {
    /// Checks the rules that hold in any space.
    pub(super) fn check(&self) -> Result<(), Flaw> {
        self.cells().into_iter().try_for_each(|(name, cell)| {
            check_edges((self.kind(), self.inputs()), self.dimensions(), name, cell)?;
            check_output(self.inputs(), name, cell)
        })
    }

    /// Checks that this is a genotype of this space. A node may have any number of edges, which depends on the selection.
    pub fn validate(&self, space: &Space) -> Result<()> {
        space.validate()?;
        let names: Vec<&str> = self.cells().into_iter().map(|(name, _)| name).collect();
        if names != space.tables() {
            return Err(Error::genotype(format!(
                "the genotype has the {} cells {} and space `{}` the {} cells {}",
                self.kind().name(),
                names.join(", "),
                space.name,
                space.kind().name(),
                space.tables().join(", ")
            )));
        }
        self.check()?;
        self.cells().into_iter().try_for_each(|(name, cell)| check_fit(space, name, cell))
    }
}

/// Operations must belong to the kind of cell and have one number of dimensions; edges must come from lower nodes.
fn check_edges(
    (kind, inputs): (CellKind, usize),
    dimensions: Option<usize>,
    name: &str,
    cell: &Cell,
) -> Result<(), Flaw> {
    if cell.nodes.is_empty() {
        return Err(Flaw::new(name, None, format!("cell `{name}` has no nodes")));
    }
    let mut entry = 0;
    for (node, edges) in (inputs..).zip(&cell.nodes) {
        for edge in edges {
            let (operation, source) = (edge.operation.name(), edge.source);
            let detail = if !kind.allows(edge.operation) {
                format!("cell `{name}`: operation `{operation}` does not belong in a {} cell", kind.name())
            } else if dimensions.is_some_and(|dimensions| !edge.operation.suits(dimensions)) {
                format!("cell `{name}`: operation `{operation}` is not {}-D, as others are", dimensions.unwrap_or(2))
            } else if source >= node {
                format!(
                    "cell `{name}`: an edge into node {node} comes from node {source}; it must come from a lower one"
                )
            } else {
                entry += 1;
                continue;
            };
            return Err(Flaw::new(name, Some(entry), detail));
        }
    }
    Ok(())
}

/// The output must consist of intermediate nodes, each once.
fn check_output(first: usize, name: &str, cell: &Cell) -> Result<(), Flaw> {
    let key = concat_key(name);
    if cell.concat.is_empty() {
        return Err(Flaw::new(&key, None, format!("cell `{name}` has no output nodes")));
    }
    let last = first + cell.nodes.len() - 1;
    if let Some(entry) = cell.concat.iter().position(|node| !(first..=last).contains(node)) {
        let node = cell.concat[entry];
        let detail = format!("cell `{name}`: output node {node}; the intermediate nodes are {first} to {last}");
        return Err(Flaw::new(&key, Some(entry), detail));
    }
    if let Some(node) = repeated(&cell.concat) {
        let entry = cell.concat.iter().rposition(|other| *other == node);
        return Err(Flaw::new(&key, entry, format!("cell `{name}`: output node {node} occurs twice")));
    }
    Ok(())
}

/// The cell must have the nodes, edges and operations of the space.
fn check_fit(space: &Space, name: &str, cell: &Cell) -> Result<()> {
    let refuse = |detail: String| Err(Error::genotype(format!("cell `{name}`: {detail}")));
    if cell.nodes.len() != space.nodes() {
        return refuse(format!("{} nodes; space `{}` has {}", cell.nodes.len(), space.name, space.nodes()));
    }
    let Some(spec) = space.cell(name) else { return refuse(format!("space `{}` has no such cell", space.name)) };
    let all = spec.edges();
    for (node, edges) in space.intermediate().zip(&cell.nodes) {
        for edge in edges {
            let row = all.iter().position(|other| (other.from, other.to) == (edge.source, node));
            let known = row.map_or(&[][..], |row| spec.operations(row));
            if !known.contains(&edge.operation) {
                let known: Vec<&str> = known.iter().map(|operation| operation.name()).collect();
                return refuse(format!(
                    "edge {}->{node}: operation `{}` is not one of space `{}`: {}",
                    edge.source,
                    edge.operation.name(),
                    space.name,
                    known.join(", ")
                ));
            }
        }
        let sources: Vec<usize> = edges.iter().map(|edge| edge.source).collect();
        if let Some(source) = repeated(&sources) {
            return refuse(format!("two edges into node {node} come from the same node {source}"));
        }
    }
    Ok(())
}
