//! From α to a genotype: which operations and edges a discrete cell keeps. Knows no network.

use ndarray::{Array2, ArrayView2};

use crate::error::{Error, Result};
use crate::space::{CellGenotype, CellKind, Gene, Genotype, Operation, Space};

/// The softmax of one row of logits: subtract the maximum, exp, sum in column order, divide.
pub fn softmax(row: &[f64]) -> Vec<f64> {
    let maximum = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = row.iter().map(|logit| (logit - maximum).exp()).collect();
    let sum: f64 = exponentials.iter().fold(0.0, |sum, term| sum + term);
    exponentials.into_iter().map(|term| term / sum).collect()
}

/// The mean over the rows of the entropy (nats) of their softmax; 0 for a table without rows.
pub fn entropy(table: ArrayView2<f64>) -> f64 {
    let of_row = |row: Vec<f64>| -> f64 {
        let terms = softmax(&row).into_iter().filter(|weight| *weight > 0.0);
        -terms.map(|weight| weight * weight.ln()).sum::<f64>()
    };
    let rows = table.nrows();
    if rows == 0 {
        return 0.0;
    }
    table.rows().into_iter().map(|row| of_row(row.to_vec())).sum::<f64>() / rows as f64
}

/// The genotype α stands for. `alphas` holds one [edges, operations] table per name of `space.cells()`; each node
/// keeps the `k` edges (default: the space's) whose best operation but `none` weighs most, strongest first, or
/// all its edges if it has fewer. Ties go to the lower column and the lower edge.
pub fn derive(space: &Space, alphas: &[(String, Array2<f64>)], k: Option<usize>) -> Result<Genotype> {
    space.validate()?;
    let kept = k.unwrap_or(space.kept_edges());
    if kept == 0 {
        return Err(Error::config("`k` is 0; a node must keep at least 1 edge"));
    }
    if let Some((name, _)) = alphas.iter().find(|(name, _)| !space.cells().contains(&name.as_str())) {
        return Err(Error::data(crate::error::unknown("α table", name, space.cells())));
    }
    match space.kind {
        CellKind::Convolutional => Ok(Genotype::Convolutional {
            normal: cell(space, table(space, alphas, "normal")?, kept),
            reduce: cell(space, table(space, alphas, "reduce")?, kept),
        }),
        CellKind::Recurrent => {
            Ok(Genotype::Recurrent { recurrent: cell(space, table(space, alphas, "recurrent")?, kept) })
        }
    }
}

/// The table of a name, if it is there once, of the right shape, and its softmax is defined.
fn table<'a>(space: &Space, alphas: &'a [(String, Array2<f64>)], name: &str) -> Result<&'a Array2<f64>> {
    let mut named = alphas.iter().filter(|(given, _)| given == name);
    let (Some((_, table)), None) = (named.next(), named.next()) else {
        return Err(Error::data(format!("α must hold the table `{name}` exactly once")));
    };
    let expected = (space.edges().len(), space.operations.len());
    if table.dim() != expected {
        return Err(Error::data(format!(
            "α table `{name}` has shape {:?}; space `{}` has {} edges and {} operations",
            table.shape(),
            space.name,
            expected.0,
            expected.1
        )));
    }
    // -∞ masks an operation, as long as something is left.
    let defined = |row: &[f64]| {
        row.iter().all(|logit| !logit.is_nan()) && row.iter().copied().fold(f64::NEG_INFINITY, f64::max).is_finite()
    };
    match table.rows().into_iter().position(|row| !defined(&row.to_vec())) {
        Some(row) => Err(Error::data(format!("α table `{name}`, row {row}, holds NaN or an infinite maximum"))),
        None => Ok(table),
    }
}

/// The discrete cell of one table.
fn cell(space: &Space, table: &Array2<f64>, kept: usize) -> CellGenotype {
    let mut genes = Vec::new();
    let edges = space.edges();
    for node in space.intermediate() {
        let mut candidates: Vec<(f64, Gene)> = edges
            .iter()
            .zip(table.rows())
            .filter(|(edge, _)| edge.to == node)
            .filter_map(|(edge, row)| strongest(space, &row.to_vec(), edge.from))
            .collect();
        // The sort is stable: edges of equal strength keep their order.
        candidates.sort_by(|(left, _), (right, _)| right.total_cmp(left));
        genes.extend(candidates.into_iter().take(kept).map(|(_, gene)| gene));
    }
    CellGenotype { genes, concat: space.concat.clone() }
}

/// The heaviest operation but `none` of an edge, the first among equals, and its weight.
fn strongest(space: &Space, row: &[f64], node: usize) -> Option<(f64, Gene)> {
    let mut best: Option<(f64, Gene)> = None;
    for (operation, weight) in space.operations.iter().zip(softmax(row)) {
        let heavier = best.is_none_or(|(heaviest, _)| weight > heaviest);
        if *operation != Operation::None && heavier {
            best = Some((weight, Gene { operation: *operation, node }));
        }
    }
    best
}
