//! The notation of NAS-Bench-201, `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`: for each node the operations on the edges from all
//! lower nodes, in order. The output is the last node.

use super::scanner::Parser;
use super::{Cell, Edge, Genotype};
use crate::error::{Error, Result};
use crate::space::{MOST_NODES, Operation};

impl Genotype {
    /// A genotype from the notation of NAS-Bench-201. An error gives the position of the wrong character.
    pub fn from_nas_bench_201(text: &str) -> Result<Genotype> {
        read(Parser { text: text.chars().collect(), at: 0 })
    }

    /// In the notation of NAS-Bench-201; an error unless the one cell has every edge, and the last node is the output.
    pub fn to_nas_bench_201(&self) -> Result<String> {
        let Genotype::Single { cell } = self else {
            let names: Vec<&str> = self.cells().into_iter().map(|(name, _)| name).collect();
            let detail = format!("the notation of NAS-Bench-201 has one cell; this genotype has {}", names.join(", "));
            return Err(Error::genotype(detail));
        };
        let last = cell.nodes.len();
        if cell.concat != [last] {
            let detail = format!("its output is {:?}; in NAS-Bench-201 it is the last node, [{last}]", cell.concat);
            return Err(Error::genotype(detail));
        }
        let mut nodes = Vec::with_capacity(last);
        for (node, edges) in (1..).zip(&cell.nodes) {
            let mut edges = edges.clone();
            edges.sort_by_key(|edge| edge.source);
            if !edges.iter().map(|edge| edge.source).eq(0..node) {
                let detail = format!(
                    "node {node} has {} edges; in NAS-Bench-201 it has one from each of the nodes 0 to {}, which may \
                     hold `none`",
                    edges.len(),
                    node - 1
                );
                return Err(Error::genotype(detail));
            }
            let edges = edges.iter().map(|edge| format!("{}~{}|", edge.operation.name(), edge.source));
            nodes.push(format!("|{}", edges.collect::<String>()));
        }
        Ok(nodes.join("+"))
    }
}

/// The genotype that follows in a text, behind which there is nothing but quotes.
pub(super) fn read(mut parser: Parser) -> Result<Genotype> {
    let mut nodes: Vec<Vec<Edge>> = Vec::new();
    loop {
        parser.expect('|')?;
        let mut edges = Vec::new();
        while edges.len() <= nodes.len() {
            let operation = parser.name("the name of an operation")?;
            let known = Operation::parse(&operation.text).map_err(|error| parser.wrong(operation.at, &error.detail))?;
            if !known.is_convolutional() {
                let detail = format!("operation `{}` does not belong in a convolutional cell", operation.text);
                return Err(parser.wrong(operation.at, &detail));
            }
            parser.expect('~')?;
            let at = parser.at;
            let source = parser.node()?;
            if source != edges.len() {
                let (node, expected) = (nodes.len() + 1, edges.len());
                let detail =
                    format!("expected the edge from node {expected} into node {node}, found one from {source}");
                return Err(parser.wrong(at, &detail));
            }
            edges.push(Edge { operation: known, source });
            parser.expect('|')?;
        }
        nodes.push(edges);
        if nodes.len() > MOST_NODES {
            return Err(parser.wrong(parser.at, &format!("a cell has at most {MOST_NODES} nodes")));
        }
        if !parser.accept('+') {
            break;
        }
    }
    parser.skip_space();
    while parser.text.get(parser.at).is_some_and(|mark| "'\"`".contains(*mark)) {
        parser.at += 1;
        parser.skip_space();
    }
    if let Some(character) = parser.text.get(parser.at) {
        return Err(parser.wrong(parser.at, &format!("nothing may follow the cell, found `{character}`")));
    }
    let concat = vec![nodes.len()];
    Ok(Genotype::Single { cell: Cell { nodes, concat } })
}
