//! The tables of logits of a space's cells: one row per edge, and the edges into a node compete.

use std::sync::Arc;

use super::tables::{LogitRow, LogitTable, TableRole};
use crate::space::{Candidates, CellSpec, Operation, Space};

impl Space {
    /// The tables of logits, in order.
    pub fn logit_tables(&self) -> Vec<LogitTable> {
        self.cells.iter().map(CellSpec::logit_table).collect()
    }
}

impl CellSpec {
    /// The table of logits.
    pub fn logit_table(&self) -> LogitTable {
        let names = |list: &[Operation]| -> Arc<[String]> { list.iter().map(|it| it.name().to_string()).collect() };
        let edges = self.edges();
        let lists: Vec<Arc<[String]>> = match &self.operations {
            Candidates::Everywhere(list) => vec![names(list); edges.len()],
            Candidates::PerEdge(lists) => lists.iter().map(|list| names(list)).collect(),
        };
        let into = |node: usize| (0..edges.len()).filter(|row| edges[*row].to == node).collect();
        let row = |(edge, candidates): (&crate::space::Edge, Arc<[String]>)| LogitRow {
            label: format!("{}->{}", edge.from, edge.to),
            candidates,
        };
        LogitTable {
            name: self.name.to_string(),
            columns: lists.iter().map(|list| list.len()).max().unwrap_or(0),
            rows: edges.iter().zip(lists).map(row).collect(),
            groups: self.intermediate().map(into).collect(),
            picks: 1,
            kept: self.kept(),
            least: self.least(),
            unselectable: (!self.none_selectable).then_some(Operation::None.name()),
            role: TableRole::Candidates,
        }
    }
}
