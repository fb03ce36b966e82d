//! Functions of a table of logits α, with one row per edge and one column per operation.

use ndarray::ArrayView2;

/// The softmax of one row of logits. Terms are added in column order, so that equal rows give equal bits.
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
