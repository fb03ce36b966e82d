//! `derive`: keeps the strongest operation of each edge and the strongest edges into each node.

use ndarray::Array2;

use super::genotype::{Cell, Edge, Genotype};
use super::tables::{LogitTable, softmax};
use crate::error::{Error, Result, unknown};
use crate::space::{CellKind, CellSpec, Operation, Space};

/// The genotype of α. `alphas` holds one [edges, operations] table per name in `space.tables()`. Each node keeps the
/// `k` edges (default: the space's) whose best operation other than `none` has the largest weight, strongest first;
/// a node with fewer edges keeps all. Ties go to the lower column and the lower edge.
pub fn derive(space: &Space, alphas: &[(String, Array2<f64>)], k: Option<usize>) -> Result<Genotype> {
    space.validate()?;
    let kept = k.or(space.kept()).unwrap_or(usize::MAX);
    if kept == 0 {
        return Err(Error::config("`k` is 0; a node must keep at least 1 edge"));
    }
    if let Some((name, _)) = alphas.iter().find(|(name, _)| !space.tables().contains(&name.as_str())) {
        return Err(Error::data(unknown("α table", name, &space.tables())));
    }
    match space.kind() {
        CellKind::Convolutional => Ok(Genotype::Convolutional {
            normal: cell(space, "normal", table(space, alphas, "normal")?, kept),
            reduce: cell(space, "reduce", table(space, alphas, "reduce")?, kept),
        }),
        CellKind::Recurrent => {
            Ok(Genotype::Recurrent { recurrent: cell(space, "recurrent", table(space, alphas, "recurrent")?, kept) })
        }
    }
}

/// The table with this name, if it occurs once, has the right shape, and its softmax is defined.
fn table<'a>(space: &Space, alphas: &'a [(String, Array2<f64>)], name: &str) -> Result<&'a Array2<f64>> {
    let mut named = alphas.iter().filter(|(given, _)| given == name);
    let (Some((_, table)), None) = (named.next(), named.next()) else {
        return Err(Error::data(format!("α must hold the table `{name}` exactly once")));
    };
    let Some(spec) = space.cell(name) else { return Err(Error::data(format!("no table `{name}`"))) };
    let LogitTable { rows, columns, .. } = spec.logit_table();
    let expected = (rows.len(), columns);
    if table.dim() != expected {
        return Err(Error::data(format!(
            "α table `{name}` has shape {:?}; space `{}` has {} edges and {} operations",
            table.shape(),
            space.name,
            expected.0,
            expected.1
        )));
    }
    // -∞ masks an operation, as long as one is left.
    let defined = |row: &[f64]| {
        row.iter().all(|logit| !logit.is_nan()) && row.iter().copied().fold(f64::NEG_INFINITY, f64::max).is_finite()
    };
    match table.rows().into_iter().position(|row| !defined(&row.to_vec())) {
        Some(row) => Err(Error::data(format!("α table `{name}`, row {row}, holds NaN or an infinite maximum"))),
        None => Ok(table),
    }
}

/// The discrete cell of one table.
fn cell(space: &Space, name: &str, table: &Array2<f64>, kept: usize) -> Cell {
    let Some(spec) = space.cell(name) else { return Cell { nodes: Vec::new(), concat: Vec::new() } };
    let edges = spec.edges();
    let into = |node: usize| {
        let mut candidates: Vec<(f64, Edge)> = (0..edges.len())
            .filter(|row| edges[*row].to == node)
            .filter_map(|row| strongest(spec, row, &table.row(row).to_vec(), edges[row].from))
            .collect();
        // The sort is stable: edges of equal strength keep their order.
        candidates.sort_by(|(left, _), (right, _)| right.total_cmp(left));
        candidates.into_iter().take(kept).map(|(_, edge)| edge).collect()
    };
    Cell { nodes: space.intermediate().map(into).collect(), concat: space.concat() }
}

/// The operation of an edge with the largest weight, other than `none` and the first among equals, and its weight.
fn strongest(spec: &CellSpec, row: usize, logits: &[f64], source: usize) -> Option<(f64, Edge)> {
    let mut best: Option<(f64, Edge)> = None;
    let operations = spec.operations(row);
    for (operation, weight) in operations.iter().zip(softmax(&logits[..operations.len()])) {
        let heavier = best.is_none_or(|(heaviest, _)| weight > heaviest);
        if *operation != Operation::None && heavier {
            best = Some((weight, Edge { operation: *operation, source }));
        }
    }
    best
}
