//! Edge normalisation (PC-DARTS) on the host: the weights of the edges into a node are a softmax of logits of their own,
//! and multiply the strengths of the edges' candidates.

use ndarray::Array2;

use super::Tables;
use crate::arch::{LogitTable, TableRole, softmax};

/// Replaces the logits of edges by their weights, and multiplies the rows of the tables that they belong to by them.
/// `found`: arrays by table, in the order of `tables`.
pub fn normalize_edges(tables: &[LogitTable], found: &mut Tables) {
    for (table, (_, logits)) in tables.iter().zip(found.iter_mut()) {
        if table.role == TableRole::EdgeWeights {
            weigh(table, logits);
        }
    }
    for (index, table) in tables.iter().enumerate() {
        let Some(weights) = table.edge_weights_in(tables).map(|at| found[at].1.clone()) else { continue };
        for (mut row, weight) in found[index].1.rows_mut().into_iter().zip(weights) {
            row.mapv_inplace(|strength| strength * weight);
        }
    }
}

/// The softmax of each group of rows.
fn weigh(table: &LogitTable, logits: &mut Array2<f64>) {
    for group in &table.groups {
        let weights = softmax(&group.iter().map(|row| logits[[*row, 0]]).collect::<Vec<_>>());
        group.iter().zip(weights).for_each(|(row, weight)| logits[[*row, 0]] = weight);
    }
}
